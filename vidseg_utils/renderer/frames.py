"""Frames of a video: objects, shadows and ground, ray cast through CLEVRER's camera, and the camera's noise."""

import numpy as np
from jaxtyping import UInt8

from vidseg_utils.renderer.ground import build_ground
from vidseg_utils.renderer.masks import render_masks
from vidseg_utils.renderer.scene import build_scene, check_objects
from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.world.label_offset import EXACT_LABELS, LabelOffset
from vidseg_utils.world.trajectory import Trajectory

NOISE_LEVELS = 0.8  # standard deviation of the sensor noise that all channels share, of 255
CHANNEL_NOISE_SHARE = 0.4  # standard deviation of each channel's own noise, relative to NOISE_LEVELS
MAX_NOISE_SHIFT_PX = 16  # by which the noise pattern moves from frame to frame


def render_video(
    trajectory: Trajectory,
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    noise_seed: int | None = None,
    label_offset: LabelOffset = EXACT_LABELS,
) -> tuple[UInt8[np.ndarray, "T 3 H W"], UInt8[np.ndarray, "T H W"]]:
    """Frames (sRGB) and masks (class ids). `noise_seed` adds mild sensor noise of that seed to the frames.
    `label_offset` says how the masks lie against the objects, in pixels of a mask of 160 x 240.

    Raises ValueError for class ids that are no objects and for arrays that do not fit.
    """
    from vidseg_utils.renderer.kernels.frames import draw_frames  # here, because it loads numba

    masks = render_masks(trajectory, height=height, width=width, offset=label_offset)
    objects = check_objects(trajectory.class_ids, trajectory.positions, trajectory.rotations)
    frames = np.empty((len(masks), 3, height, width), np.uint8)
    draw_frames(frames, build_scene(objects, height=height, width=width), build_ground(height, width))
    return frames if noise_seed is None else add_noise(frames, noise_seed), masks


def add_noise(frames: UInt8[np.ndarray, "T 3 H W"], seed: int) -> UInt8[np.ndarray, "T 3 H W"]:
    """Add one noise pattern to every frame of a video, shifted at random from frame to frame."""
    rng = np.random.default_rng(seed)
    height, width = frames.shape[-2:]
    size = (height + MAX_NOISE_SHIFT_PX, width + MAX_NOISE_SHIFT_PX)
    pattern = NOISE_LEVELS * rng.standard_normal(size, dtype=np.float32)
    channel_noise = CHANNEL_NOISE_SHARE * NOISE_LEVELS * rng.standard_normal((3, *size), dtype=np.float32)
    pattern = np.round(pattern + channel_noise).astype(np.int16)
    noisy = frames.astype(np.int16)
    for frame, (y, x) in zip(noisy, rng.integers(0, MAX_NOISE_SHIFT_PX + 1, (len(frames), 2)), strict=True):
        frame += pattern[:, y : y + height, x : x + width]
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)
