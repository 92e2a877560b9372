"""Systems that forecast the mask of frame 21, and the recipes that train their networks.

`build_system("object_dynamics")` loads a trained system; `SimVPRecipe(workspace).train()` trains one network. The names
of object dynamics, step by step, are in `vidseg_utils.systems.object_dynamics`.
"""

from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.clip_forecast import ClipForecast, forecast_clip, segment_frames
from vidseg_utils.systems.convlstm_unet import ConvLSTMRecipe, ConvLSTMUnet, without_reconstructor
from vidseg_utils.systems.copy_last import CopyLast, UnetCopyLast
from vidseg_utils.systems.image_dynamics.recipe import ImageDynamicsRecipe
from vidseg_utils.systems.image_dynamics.system import ImageDynamics
from vidseg_utils.systems.jepa.recipe import JEPADecoderRecipe, JEPARecipe, score_embeddings
from vidseg_utils.systems.jepa.system import JEPASystem
from vidseg_utils.systems.mask_simvp.forecast import forecast_scores
from vidseg_utils.systems.mask_simvp.recipe import MaskSimVPRecipe
from vidseg_utils.systems.mask_simvp.system import (
    UnetMaskSimVP,
    UnetMaskSimVPCrossEntropy,
    UnetMaskSimVPMSE,
    UnetMaskSimVPRollout,
)
from vidseg_utils.systems.object_dynamics import LearnedObjectDynamics, ObjectDynamics
from vidseg_utils.systems.pseudo_labels import label_split
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.systems.recurrent_unet.recipe import RecurrentUNetRecipe, score_sequences
from vidseg_utils.systems.recurrent_unet.system import RecurrentCopyLast, RecurrentObjectDynamics
from vidseg_utils.systems.registry import SYSTEMS, build_system, system_class
from vidseg_utils.systems.semi_supervised.forecaster import class_logits, fresh_forecaster
from vidseg_utils.systems.semi_supervised.stages import STAGES, Stages
from vidseg_utils.systems.semi_supervised.system import SemiSupervisedSimVP
from vidseg_utils.systems.simvp_unet import (
    CopyLastFrame,
    Rollout,
    SimVPRecipe,
    SimVPRolloutUnet,
    SimVPSizes,
    SimVPUnet,
    score_frames,
)
from vidseg_utils.systems.suppression.rules import (
    RULE_TREE,
    known_classes,
    scaled_small_px,
    suppress_new_objects,
)
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe, segmentation_confusion
from vidseg_utils.systems.workspace import Workspace

__all__ = [  # noqa: RUF022 - grouped by use
    # by name
    "SYSTEMS",
    "build_system",
    "system_class",
    "Workspace",
    # the forecast of one clip
    "ClipForecast",
    "forecast_clip",
    "segment_frames",
    # what a system and a recipe are
    "Forecaster",
    "Recipe",
    # systems
    "CopyLast",
    "UnetCopyLast",
    "SimVPUnet",
    "SimVPRolloutUnet",
    "UnetMaskSimVP",
    "UnetMaskSimVPCrossEntropy",
    "UnetMaskSimVPMSE",
    "UnetMaskSimVPRollout",
    "ImageDynamics",
    "ConvLSTMUnet",
    "SemiSupervisedSimVP",
    "JEPASystem",
    "ObjectDynamics",
    "LearnedObjectDynamics",
    "RecurrentCopyLast",
    "RecurrentObjectDynamics",
    # recipes
    "SegmenterRecipe",
    "SimVPRecipe",
    "SimVPSizes",
    "MaskSimVPRecipe",
    "ImageDynamicsRecipe",
    "ConvLSTMRecipe",
    "JEPARecipe",
    "JEPADecoderRecipe",
    "RecurrentUNetRecipe",
    # predicting and scoring frames, masks and sequences
    "CopyLastFrame",
    "Rollout",
    "score_embeddings",
    "score_frames",
    "segmentation_confusion",
    "score_sequences",
    "forecast_scores",
    "label_split",
    "without_reconstructor",
    # semi-supervised SimVP and new-object suppression
    "STAGES",
    "Stages",
    "class_logits",
    "fresh_forecaster",
    "RULE_TREE",
    "scaled_small_px",
    "known_classes",
    "suppress_new_objects",
]
