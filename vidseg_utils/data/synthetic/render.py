"""Pictures and masks of a trajectory, ray cast through CLEVRER's camera.

A mask's pixel is the class in the ray through its centre, unblended. A frame is antialiased: four rays a pixel.
"""

import functools

import numpy as np
import torch

from vidseg_utils.classes import PALETTE
from vidseg_utils.data.annotation import Trajectory
from vidseg_utils.data.camera import unproject
from vidseg_utils.data.synthetic.casting import cast_masks

__all__ = ["cast_masks", "render_masks", "render_video"]


def render_masks(
    trajectory: Trajectory, *, height: int = 160, width: int = 240, device: torch.device | str = "cpu"
) -> np.ndarray:
    """(T, H, W) uint8 class ids of every frame of the trajectory; the nearest object wins."""
    return cast_masks(
        trajectory.class_ids, trajectory.positions, trajectory.rotations, height=height, width=width, device=device
    )


@functools.lru_cache(maxsize=8)
def _floor(height: int, width: int) -> np.ndarray:
    """(3, H, W) uint8 empty floor."""
    y, x = np.mgrid[:height, :width] + 0.5
    far = unproject(np.stack([x, y], -1), height=height, width=width)[..., 0]
    grey = np.clip(137 + 4 * far, 90, 145)
    return np.stack([grey, grey, 0.97 * grey]).astype(np.uint8)


def render_video(
    trajectory: Trajectory,
    *,
    height: int = 160,
    width: int = 240,
    noise_seed: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """(T, 3, H, W) uint8 frames and (T, H, W) uint8 masks; `noise_seed` adds mild sensor noise of that seed."""
    masks = render_masks(trajectory, height=height, width=width, device=device)
    fine = render_masks(trajectory, height=2 * height, width=2 * width, device=device)
    fine = fine.reshape(len(masks), height, 2, width, 2)
    frames = np.broadcast_to(_floor(height, width), (len(masks), 3, height, width)).astype(np.float32)
    for id_ in trajectory.class_ids.tolist():
        share = (fine == id_).mean(axis=(2, 4), dtype=np.float32)[:, None]
        frames += share * (PALETTE[id_].astype(np.float32)[:, None, None] - frames)
    if noise_seed is not None:
        frames += np.random.default_rng(noise_seed).normal(0, 1.0, frames.shape)
    return np.clip(np.round(frames), 0, 255).astype(np.uint8), masks
