"""Forecasters whose segmenter is the recurrent U-Net instead of U-Net.

It segments a frame with the memory of all earlier frames, so ambiguous pixels are decided better and labels flicker
less.
"""

from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn

from vidseg_utils.systems.copy_last import CopyLast
from vidseg_utils.systems.object_dynamics import ObjectDynamics
from vidseg_utils.systems.object_dynamics.training import load_constants, train_physics
from vidseg_utils.systems.recurrent_unet.recipe import RecurrentUNetRecipe
from vidseg_utils.systems.workspace import Workspace


class ClipSegmenter(nn.Module):
    """A recurrent U-Net with the interface of a segmenter of single frames: the batch is one clip, frame by frame."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> Tensor:
        """frames: (T, 3, H, W), one clip from its first frame -> (T, K, H, W) logits."""
        return self.model(frames[None])[0][0]


def load_clip_segmenter(workspace: Workspace) -> ClipSegmenter:
    """The trained network of the run "recurrent_unet", as a segmenter of forecasters."""
    return ClipSegmenter(workspace.load_network("recurrent_unet")).eval()


class RecurrentCopyLast(CopyLast):
    """The recurrent U-Net's mask of frame 10, segmented after frames 0..9, as the forecast."""

    name = "recurrent_copy_last"
    run_names = ("recurrent_unet",)
    gives_probabilities = True

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train the recurrent U-Net on single labelled frames, then on sequences."""
        recipe = RecurrentUNetRecipe(workspace)
        frame_recipe = recipe.for_single_frames()
        frame_recipe.train()
        replace(recipe, start_from=workspace.run_folder(frame_recipe.run_name).name).train()

    @classmethod
    def load(cls, workspace: Workspace) -> Self:
        """Load the recurrent U-Net."""
        return cls(segmenter=load_clip_segmenter(workspace))

    def class_probabilities(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, 49, H, W), those of the last frame after all before it."""
        segmenter = self.require_segmenter()
        return torch.stack([segmenter(clip)[-1] for clip in frames.unbind(0)]).softmax(dim=1)


class RecurrentObjectDynamics(ObjectDynamics):
    """Object dynamics on the masks of the recurrent U-Net."""

    name = "recurrent_object_dynamics"
    run_names = ("recurrent_unet", "rigid_body_physics")

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train the recurrent U-Net, then fit the constants of the physics."""
        RecurrentCopyLast.train(workspace)
        train_physics(workspace)

    @classmethod
    def load(cls, workspace: Workspace) -> Self:
        """Load the recurrent U-Net and the constants."""
        segmenter = load_clip_segmenter(workspace)
        return cls(load_constants(workspace), segmenter=segmenter, seed=workspace.profile.training_seed)
