"""The final system of the stages: segment the past, forecast a mask, suppress new objects in it."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.semi_supervised.forecaster import class_logits
from vidseg_utils.systems.semi_supervised.stages import STAGES, Stages
from vidseg_utils.systems.simvp_unet import SimVPSizes
from vidseg_utils.systems.suppression.rules import known_classes, suppress_new_objects
from vidseg_utils.systems.workspace import Workspace

Suppression = Callable[[np.ndarray, np.ndarray], np.ndarray]  # masks (B, H, W), known (B, 49) -> masks


class SemiSupervisedSimVP(Forecaster):
    """SimVP with a segmentation decoder, self- and semi-supervised, with the published rules against new objects."""

    name = "semi_supervised_simvp"
    run_names = ("simvp", "semi_segmentation", "semi_pseudo_labels", "semi_cleaning")
    gives_probabilities = True

    def __init__(
        self,
        forecaster: nn.Module,
        segmenter: nn.Module,
        *,
        residual: bool = False,
        suppression: Suppression | None = suppress_new_objects,
    ):
        super().__init__(segmenter=segmenter)
        self.forecaster = forecaster
        self.residual = residual
        self.suppression = suppression

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train all stages."""
        for stage in STAGES:
            Stages(workspace).train(stage)

    @classmethod
    def load(cls, workspace: Workspace) -> Self:
        """Load the segmenter and the forecaster of the last stage."""
        return cls.from_stages(Stages(workspace))

    @classmethod
    def from_stages(cls, stages: Stages) -> Self:
        """The system of trained stages, some of which may be skipped."""
        forecaster = stages.workspace.load_network(stages.forecaster_folder())
        suppression = None if "suppression" in stages.skip else suppress_new_objects
        residual = SimVPSizes.for_profile(stages.workspace.profile).residual
        return cls(forecaster, stages.load_segmenter(), residual=residual, suppression=suppression)

    def identity(self) -> dict[str, Any]:
        """Also what is added to the logits, and the suppression."""
        return {**super().identity(), "residual": self.residual, "suppresses": self.suppression is not None}

    def forecast_frames(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, H, W)."""
        past_masks = self.segment(frames)
        mask = self._logits(frames, past_masks[:, -1]).argmax(dim=1)
        if self.suppression is None:
            return mask
        known = known_classes(past_masks.cpu().numpy())
        return torch.from_numpy(self.suppression(mask.cpu().numpy(), known)).to(frames.device)

    def class_probabilities(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, 49, H, W), before the suppression."""
        return self._logits(frames, self.segment(frames[:, -1:])[:, 0]).softmax(dim=1)

    def _logits(self, frames: Tensor, last_mask: Tensor) -> Tensor:
        return class_logits(self.forecaster, frames, last_mask, residual=self.residual)
