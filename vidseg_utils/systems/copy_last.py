"""Copy-last, the baseline: the forecast is the mask of the last past frame, as if nothing moved."""

from typing import Self

from torch import Tensor

from vidseg_utils.classes import BACKGROUND, N_CLASSES
from vidseg_utils.systems.base import Forecaster, FrameForecaster
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.systems.workspace import Workspace


class CopyLast(Forecaster):
    """The true mask of frame 10 as the forecast; it has no segmenter, so it is scored on true masks only."""

    name = "copy_last"
    accepts_masks = True

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """There is nothing to train."""

    @classmethod
    def load(cls, workspace: Workspace) -> Self:
        """There is nothing to load."""
        return cls()

    def forecast_masks(self, masks: Tensor) -> Tensor:
        """masks: (B, 11, H, W) -> (B, H, W), the last of them; pixels without a label count as background."""
        last = masks[:, -1]
        return last.where(last < N_CLASSES, BACKGROUND)


class UnetCopyLast(FrameForecaster, CopyLast):
    """U-Net's mask of frame 10 as the forecast: the score that every learned forecaster must beat."""

    name = "unet_copy_last"
    run_names = ("unet",)

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net on the labelled frames."""
        SegmenterRecipe(workspace).train()

    @classmethod
    def load(cls, workspace: Workspace) -> Self:
        """Load U-Net."""
        return cls(segmenter=workspace.load_network("unet"))

    def forecast_frame(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, 3, H, W), the last of them."""
        return frames[:, -1]
