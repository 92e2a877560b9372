"""Forecasters that see the past through the recurrent U-Net in place of U-Net.

It sees a clip from its first frame on, so what one frame leaves in doubt the others settle, and labels flicker less.
"""

from dataclasses import replace

from torch import Tensor, nn

from vidseg_utils.systems.copy_last import CopyLast
from vidseg_utils.systems.object_dynamics import ObjectDynamics
from vidseg_utils.systems.object_dynamics.system import load_constants, train_physics
from vidseg_utils.systems.recurrent_unet.recipe import RecurrentUNetRecipe
from vidseg_utils.systems.workspace import Workspace


class ClipSegmenter(nn.Module):
    """A recurrent U-Net in place of a network for single frames: a clip's frames, in order, are its batch."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> Tensor:
        """frames: (T, 3, H, W), one clip from its first frame on -> (T, K, H, W) logits."""
        return self.model(frames[None])[0][0]


def load_clip_segmenter(workspace: Workspace) -> ClipSegmenter:
    """The trained run "recurrent_unet" as a segmenter of forecasters."""
    return ClipSegmenter(workspace.load_network("recurrent_unet")).eval()


class RecurrentCopyLast(CopyLast):
    """The recurrent U-Net's mask of frame 10, seen after the ten before it, as the answer."""

    name = "recurrent_copy_last"
    run_names = ("recurrent_unet",)

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train the recurrent U-Net on the labelled clips, first on their frames alone."""
        recipe = RecurrentUNetRecipe(workspace)
        on_frames = recipe.on_frames()
        on_frames.train()
        replace(recipe, start_from=workspace.run_folder(on_frames.run_name).name).train()

    @classmethod
    def load(cls, workspace: Workspace) -> "RecurrentCopyLast":
        """Load the recurrent U-Net."""
        return cls(segmenter=load_clip_segmenter(workspace))


class RecurrentObjectDynamics(ObjectDynamics):
    """Object dynamics that reads its objects off the recurrent U-Net's masks."""

    name = "recurrent_object_dynamics"
    run_names = ("recurrent_unet", "rigid_body_physics")

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train the recurrent U-Net, then fit the constants."""
        RecurrentCopyLast.train(workspace)
        train_physics(workspace)

    @classmethod
    def load(cls, workspace: Workspace) -> "RecurrentObjectDynamics":
        """Load both."""
        segmenter = load_clip_segmenter(workspace)
        return cls(load_constants(workspace), segmenter=segmenter, seed=workspace.profile.seed)
