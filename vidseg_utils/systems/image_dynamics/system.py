"""Forecast objects in the image plane: find their regions, roll out possible futures, draw the mask that fits most."""

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from vidseg_utils.models.image_rollout import Regions
from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.image_dynamics.drawing import decide_boxes, draw_boxes
from vidseg_utils.systems.image_dynamics.identities import unite_classes
from vidseg_utils.systems.image_dynamics.recipe import ImageDynamicsRecipe
from vidseg_utils.systems.image_dynamics.regions import measure_regions
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import FUTURE_FRAMES

FUTURES = 32  # possible futures of a clip


class ImageDynamics(Forecaster):
    """U-Net masks (or true ones) -> regions -> possible futures by a learned law -> the mask of frame 21.

    It knows no camera, no physics and no shapes, and learns from masks alone.
    """

    name = "image_dynamics"
    run_names = ("unet", "image_rollout")
    accepts_masks = True

    def __init__(self, predictor: nn.Module, *, segmenter: nn.Module | None = None, seed: int = 0):
        super().__init__(segmenter=segmenter)
        self.predictor = predictor
        self.seed = seed

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net, segment the videos, then train the rollout on these masks and on true ones."""
        SegmenterRecipe(workspace).train()
        ImageDynamicsRecipe(workspace).train()

    @classmethod
    def load(cls, workspace: Workspace) -> Self:
        """Load both networks."""
        segmenter, predictor = map(workspace.load_network, cls.run_names)
        return cls(predictor, segmenter=segmenter, seed=workspace.profile.training_seed)

    def identity(self) -> dict[str, Any]:
        """Also the number and the seed of the futures."""
        return {**super().identity(), "futures": FUTURES, "seed": self.seed}

    def forecast_segmented(self, masks: Tensor) -> Tensor:
        """masks: (B, 11, H, W) class ids that `segment` made -> (B, H, W). An object gets one class first."""
        united = np.stack([unite_classes(clip) for clip in masks.cpu().numpy()])
        return self.forecast_masks(torch.from_numpy(united).to(masks.device))

    def forecast_masks(self, masks: Tensor) -> Tensor:
        """masks: (B, 11, H, W) class ids, others unknown -> (B, H, W). A clip has the same forecast in any batch."""
        past = masks.to("cpu", torch.uint8).numpy()
        forecasts = [self._forecast_clip(clip[None], masks.device) for clip in past]
        return torch.from_numpy(np.concatenate(forecasts)).to(masks.device)

    def _forecast_clip(self, past: np.ndarray, device: torch.device) -> np.ndarray:
        regions = measure_regions(past)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            given = Regions(*(values.to(device) for values in regions))
            futures = self.predictor(given, n_frames=FUTURE_FRAMES, n_futures=FUTURES)
        boxes, drawn = decide_boxes(futures, regions.width.to(device))
        return draw_boxes(past, regions, boxes.cpu().numpy(), drawn.cpu().numpy())
