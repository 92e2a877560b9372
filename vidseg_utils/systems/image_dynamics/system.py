"""Forecast objects in the image plane: find their regions, roll out possible futures, draw the mask that fits most."""

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from vidseg_utils.metrics import class_shares
from vidseg_utils.models.image_rollout import Futures, Regions
from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.image_dynamics.drawing import decide_boxes, draw_boxes
from vidseg_utils.systems.image_dynamics.identities import unite_classes
from vidseg_utils.systems.image_dynamics.recipe import ImageDynamicsRecipe, cut_window
from vidseg_utils.systems.image_dynamics.regions import measure_regions
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import FUTURE_FRAMES
from vidseg_utils.training.loaders import fixed_seed

FUTURES = 128  # possible futures of a clip, of which the best is chosen


class ImageDynamics(Forecaster):
    """U-Net masks (or true ones) -> regions -> possible futures by a learned law -> the mask of frame 21.

    It knows no camera, no physics and no shapes, and learns from masks alone.
    """

    name = "image_dynamics"
    run_names = ("unet", "image_rollout")
    accepts_masks = True
    gives_probabilities = True

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
        return self.forecast_masks(_united(masks))

    def forecast_masks(self, masks: Tensor) -> Tensor:
        """masks: (B, 11, H, W) class ids, others unknown -> (B, H, W). A clip has the same forecast in any batch."""
        forecasts = []
        for past in masks.to("cpu", torch.uint8).numpy()[:, None]:
            regions, futures = self.roll_out(past, device=masks.device)
            boxes, drawn = decide_boxes(futures, regions.width)
            forecasts.append(draw_boxes(past, regions, boxes.numpy(), drawn.numpy()))
        return torch.from_numpy(np.concatenate(forecasts)).to(masks.device)

    def class_probabilities(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, 49, H, W): the share of the futures that show each class at each pixel."""
        shares = []
        for past in _united(self.segment(frames)).to("cpu", torch.uint8).numpy()[:, None]:
            regions, futures = self.roll_out(past, device=frames.device)
            boxes = futures.position[0, :, -1, :, :4].numpy()  # (K, N, 4)
            visible = futures.visible[0, :, -1].numpy() > 0
            drawn = [draw_boxes(past, regions, boxes[k, None], visible[k, None]) for k in range(FUTURES)]
            shares.append(class_shares(torch.from_numpy(np.concatenate(drawn))[None]))
        return torch.cat(shares).to(frames.device)

    def forecast_every_frame(
        self, masks: np.ndarray, *, horizon: int, segmented: bool, device: torch.device
    ) -> np.ndarray:
        """masks: (T, H, W) class ids of up to 11 frames -> (horizon, H, W), the masks 1, 2, … frames later.

        segmented: whether they are masks that `segment` made; device: that of the network
        """
        past = (unite_classes(masks) if segmented else masks)[None]
        regions, futures = self.roll_out(past, device=device, n_frames=horizon)
        forecasts = []
        for ahead in range(1, horizon + 1):
            until = Futures(futures.position[:, :, :ahead], futures.visible[:, :, :ahead])
            boxes, drawn = decide_boxes(until, regions.width)
            forecasts.append(draw_boxes(past, regions, boxes.numpy(), drawn.numpy())[0])
        return np.stack(forecasts)

    def roll_out(
        self, past: np.ndarray, *, device: torch.device, n_frames: int = FUTURE_FRAMES
    ) -> tuple[Regions, Futures]:
        """past: (1, T, H, W) class ids, T up to 11 -> its regions, and FUTURES possible futures of n_frames frames.

        Both are on the CPU. device: that of the network
        """
        regions = measure_regions(past)
        window, _ = cut_window(regions, past.shape[1] - 1)
        with fixed_seed(self.seed, device):
            given = Regions(*(values.to(device) for values in window))
            futures = self.predictor(given, n_frames=n_frames, n_futures=FUTURES)
        return regions, Futures(*(values.cpu() for values in futures))


def _united(masks: Tensor) -> Tensor:
    """(B, 11, H, W) class ids in which every object has one class."""
    return torch.from_numpy(np.stack([unite_classes(clip) for clip in masks.cpu().numpy()])).to(masks.device)
