"""The models by name: `build_model("unet", base_channels=16)`."""

from torch import nn

from vidseg_utils.checks import check_choice, check_settings
from vidseg_utils.models.autoregression import checkpointed, rollout
from vidseg_utils.models.class_filter import seen_classes, suppress_unseen_classes
from vidseg_utils.models.convlstm import ConvLSTMCell, ConvLSTMReconstructor
from vidseg_utils.models.deeplab import DeepLabV3
from vidseg_utils.models.image_rollout import ImageRollout
from vidseg_utils.models.interaction_network import InteractionNetwork
from vidseg_utils.models.jepa import JEPA, JEPAForecaster, collapse_losses, embedding_std
from vidseg_utils.models.layers import FactoredHead, parameter_count
from vidseg_utils.models.location_maps import (
    LocationMaps,
    location_losses,
    maps_to_logits,
    move_masks,
    object_probabilities,
    pixel_probabilities,
)
from vidseg_utils.models.mask_simvp import MaskSimVP, scores_to_masks
from vidseg_utils.models.object_tokens import ObjectTokens
from vidseg_utils.models.recurrent_unet import RECURRENT_BLOCKS, RECURRENT_CELLS, RECURRENT_SIZES, RecurrentUNet
from vidseg_utils.models.simvp import SimVP
from vidseg_utils.models.streaming import LiveSegmenter, prepare_for_streaming
from vidseg_utils.models.transport import TransportPredictor
from vidseg_utils.models.unet import UNet

MODELS: dict[str, type[nn.Module]] = {
    "convlstm_reconstructor": ConvLSTMReconstructor,
    "deeplabv3": DeepLabV3,
    "image_rollout": ImageRollout,
    "interaction_network": InteractionNetwork,
    "jepa": JEPA,
    "jepa_forecaster": JEPAForecaster,
    "mask_simvp": MaskSimVP,
    "object_tokens": ObjectTokens,
    "recurrent_unet": RecurrentUNet,
    "simvp": SimVP,
    "unet": UNet,
}


def build_model(name: str, **config) -> nn.Module:
    """A new model with random weights from torch's global generator (call `torch.manual_seed` first).

    Raises ValueError for an unknown name (it lists the choices), for a setting that the model does not have, and for
    a value that it cannot be built with.
    """
    check_choice("model", name, MODELS)
    check_settings(f"model {name!r}", MODELS[name], config)
    return MODELS[name](**config)


__all__ = [
    "JEPA",
    "MODELS",
    "RECURRENT_BLOCKS",
    "RECURRENT_CELLS",
    "RECURRENT_SIZES",
    "ConvLSTMCell",
    "ConvLSTMReconstructor",
    "DeepLabV3",
    "FactoredHead",
    "ImageRollout",
    "InteractionNetwork",
    "JEPAForecaster",
    "LiveSegmenter",
    "LocationMaps",
    "MaskSimVP",
    "ObjectTokens",
    "RecurrentUNet",
    "SimVP",
    "TransportPredictor",
    "UNet",
    "build_model",
    "checkpointed",
    "collapse_losses",
    "embedding_std",
    "location_losses",
    "maps_to_logits",
    "move_masks",
    "object_probabilities",
    "parameter_count",
    "pixel_probabilities",
    "prepare_for_streaming",
    "rollout",
    "scores_to_masks",
    "seen_classes",
    "suppress_unseen_classes",
]
