"""Forecast masks instead of frames: U-Net names the classes of the past, SimVP moves them into the future."""

from typing import ClassVar

from torch import Tensor, nn

from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.mask_simvp.recipe import forecast_last, train_mask_simvp
from vidseg_utils.systems.unet_segmenter import train_segmenter
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import PAST_FRAMES
from vidseg_utils.training.weights import load_model


class UnetMaskSimVP(Forecaster):
    """U-Net masks (or true ones) -> SimVP, one object at a time -> the mask of frame 21."""

    name = "mask_simvp"
    parts = ("unet", "mask_objects")
    accepts_masks = True
    recipe: ClassVar[dict[str, object]] = {"representation": "objects"}  # what `train_mask_simvp` is given

    def __init__(self, predictor: nn.Module, *, segmenter: nn.Module | None = None):
        super().__init__(segmenter=segmenter)
        self.predictor = predictor

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net, let it name the past and the unlabelled videos, then train SimVP on its masks."""
        train_segmenter(workspace)
        train_mask_simvp(workspace, run=workspace.run(cls.parts[1]), **cls.recipe)

    @classmethod
    def load(cls, workspace: Workspace) -> "UnetMaskSimVP":
        """Load both networks."""
        segmenter, predictor = (load_model(workspace.run(part), device=workspace.device) for part in cls.parts)
        return cls(predictor, segmenter=segmenter)

    def forecast_masks(self, masks: Tensor) -> Tensor:
        """masks: (B, 11, H, W) -> (B, H, W)."""
        return forecast_last(self.predictor, masks, ahead=self.recipe.get("ahead", PAST_FRAMES))


class UnetMaskSimVPCrossEntropy(UnetMaskSimVP):
    """SimVP on 49 one-hot channels with cross-entropy, as published; and the class filter."""

    name = "mask_simvp_cross_entropy"
    parts = ("unet", "mask_one_hot")
    recipe: ClassVar[dict[str, object]] = {"representation": "one_hot", "unlabeled": False}


class UnetMaskSimVPMSE(UnetMaskSimVP):
    """SimVP on the class id as a number with MSE, as published: it shows what goes wrong."""

    name = "mask_simvp_mse"
    parts = ("unet", "mask_number")
    recipe: ClassVar[dict[str, object]] = {"representation": "number", "unlabeled": False, "last_frame_weight": 1.0}


class UnetMaskSimVPRollout(UnetMaskSimVP):
    """The next mask only, fed back eleven times (autoregressive), trained with scheduled sampling."""

    name = "mask_simvp_rollout"
    parts = ("unet", "mask_objects_rollout")
    recipe: ClassVar[dict[str, object]] = {"representation": "objects", "ahead": 1}
