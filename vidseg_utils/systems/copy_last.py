"""The baseline: the mask of the last past frame is the answer, as if the world stood still."""

from torch import Tensor

from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.systems.workspace import Workspace


class CopyLast(Forecaster):
    """The mask of frame 10 as the answer. It has no segmenter: it is scored on true masks."""

    name = "copy_last"
    accepts_masks = True

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """There is nothing to train."""

    @classmethod
    def load(cls, workspace: Workspace) -> "CopyLast":
        """There is nothing to load."""
        return cls()

    def forecast_masks(self, masks: Tensor) -> Tensor:
        """masks: (B, 11, H, W) -> (B, H, W), the last of them."""
        return masks[:, -1]


class UnetCopyLast(CopyLast):
    """U-Net's mask of frame 10 as the answer: what every learned forecaster has to beat."""

    name = "unet_copy_last"
    run_names = ("unet",)

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net on the labelled frames."""
        SegmenterRecipe(workspace).train()

    @classmethod
    def load(cls, workspace: Workspace) -> "UnetCopyLast":
        """Load U-Net."""
        return cls(segmenter=workspace.load_network("unet"))

    def forecast_frames(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, H, W); only the last frame needs to be segmented."""
        return self.segment(frames[:, -1:])[:, 0]
