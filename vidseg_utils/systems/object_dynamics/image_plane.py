"""A forecast without the camera: every object's last mask moves on through the image at the speed of its centroid.

It knows neither positions on the ground nor speeds in world units, collisions or outlines. The difference between its
score and that of object dynamics shows how much the exact camera helps.
"""

import numpy as np
from jaxtyping import Integer, UInt8

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.task import FUTURE_FRAMES

SPEED_FRAMES = 4  # an object's speed is measured over the last frames that show it, this many


def extrapolate_masks(
    past: Integer[np.ndarray, "B T H W"], *, horizon_frames: int = FUTURE_FRAMES
) -> UInt8[np.ndarray, "B H W"]:
    """Masks `horizon_frames` after the last of `past` (class ids; others unknown).

    Every object moves in a straight line. An object that reaches lower in the image is nearer and hides the others.
    """
    return np.stack([_extrapolate(clip, horizon_frames) for clip in past])


def _extrapolate(clip: np.ndarray, horizon_frames: int) -> np.ndarray:
    frames, height, width = clip.shape
    mask = np.zeros((height, width), dtype=np.uint8)
    moved = []
    for class_id in np.unique(clip):
        seen = np.flatnonzero((clip == class_id).any(axis=(1, 2)))[-SPEED_FRAMES:]
        if not 0 < class_id < N_CLASSES or len(seen) < 2:
            continue
        pixels = [np.argwhere(clip[frame] == class_id) for frame in seen]
        speed = np.polyfit(seen, [in_frame.mean(axis=0) for in_frame in pixels], 1)[0]  # rows and columns a frame
        target = pixels[-1] + np.round(speed * (frames - 1 + horizon_frames - seen[-1])).astype(int)
        lowest_row = target[:, 0].max()
        moved.append((lowest_row, class_id, target[((target >= 0) & (target < (height, width))).all(axis=1)]))
    for _, class_id, target in sorted(moved, key=lambda entry: entry[0]):
        mask[target[:, 0], target[:, 1]] = class_id
    return mask
