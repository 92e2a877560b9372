"""Forecast masks instead of frames: U-Net segments the past frames, SimVP forecasts the future masks."""

from typing import Any, ClassVar, Self

from torch import Tensor, nn

from vidseg_utils.models import object_probabilities
from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.mask_simvp.forecast import forecast_last, forecast_last_scores
from vidseg_utils.systems.mask_simvp.recipe import MaskSimVPRecipe
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import FUTURE_FRAMES


class UnetMaskSimVP(Forecaster):
    """SimVP forecasts the mask of frame 21 from U-Net's masks or true masks, each object separately."""

    name = "mask_simvp"
    run_names = ("unet", "mask_objects")
    accepts_masks = True
    gives_probabilities = True
    options: ClassVar[dict[str, Any]] = {"representation": "objects"}  # for `MaskSimVPRecipe`

    def __init__(self, predictor: nn.Module, *, segmenter: nn.Module | None = None):
        super().__init__(segmenter=segmenter)
        self.predictor = predictor

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net, segment the past and the unlabelled videos, then train SimVP on these masks."""
        SegmenterRecipe(workspace).train()
        MaskSimVPRecipe(workspace, **cls.options).train()

    @classmethod
    def load(cls, workspace: Workspace) -> Self:
        """Load both networks."""
        segmenter, predictor = map(workspace.load_network, cls.run_names)
        return cls(predictor, segmenter=segmenter)

    def forecast_masks(self, masks: Tensor) -> Tensor:
        """masks: (B, 11, H, W) -> (B, H, W)."""
        return forecast_last(self.predictor, masks, ahead=self.options.get("ahead", FUTURE_FRAMES))

    def class_probabilities(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, 49, H, W)."""
        ahead = self.options.get("ahead", FUTURE_FRAMES)
        logits = forecast_last_scores(self.predictor, self.segment(frames), ahead=ahead)
        by_object = self.options["representation"] == "objects"
        return object_probabilities(logits) if by_object else logits.softmax(dim=1)


class UnetMaskSimVPCrossEntropy(UnetMaskSimVP):
    """SimVP on 49 one-hot channels with cross-entropy, as published, and with the class filter."""

    name = "mask_simvp_cross_entropy"
    run_names = ("unet", "mask_one_hot")
    options: ClassVar[dict[str, Any]] = {"representation": "one_hot", "unlabeled": False}


class UnetMaskSimVPMSE(UnetMaskSimVP):
    """SimVP on the class id as a number with MSE, as published: a poor choice, kept for comparison."""

    name = "mask_simvp_mse"
    run_names = ("unet", "mask_number")
    gives_probabilities = False  # a number between two classes is no probability
    options: ClassVar[dict[str, Any]] = {"representation": "number", "unlabeled": False, "last_frame_weight": 1.0}


class UnetMaskSimVPRollout(UnetMaskSimVP):
    """SimVP forecasts one mask per step in a rollout of eleven steps, trained with scheduled sampling."""

    name = "mask_simvp_rollout"
    run_names = ("unet", "mask_objects_rollout")
    options: ClassVar[dict[str, Any]] = {"representation": "objects", "ahead": 1}
