"""The same without a camera: every object's last mask goes on through the picture, as fast as its middle did.

What the exact camera gives is the difference: no place on the floor, so no speed in units, no collisions, no outline.
"""

import numpy as np

from vidseg_utils.classes import N_CLASSES

SIGHTINGS = 4  # the last ones of an object, which its speed is taken from


def extrapolate_masks(past: np.ndarray, *, ahead: int = 11) -> np.ndarray:
    """past: (B, T, H, W) class ids, others unknown -> (B, H, W) uint8, `ahead` frames after the last.

    Every class moves in a straight line; what is lower in the picture is nearer and hides the rest.
    """
    return np.stack([_carry(clip, ahead) for clip in past])


def _carry(clip: np.ndarray, ahead: int) -> np.ndarray:
    frames, height, width = clip.shape
    answer = np.zeros((height, width), dtype=np.uint8)
    moved = []
    for class_id in np.unique(clip):
        seen = np.flatnonzero((clip == class_id).any(axis=(1, 2)))[-SIGHTINGS:]
        if not 0 < class_id < N_CLASSES or len(seen) < 2:
            continue
        pixels = [np.argwhere(clip[frame] == class_id) for frame in seen]
        speed = np.polyfit(seen, [places.mean(axis=0) for places in pixels], 1)[0]  # rows and columns a frame
        there = pixels[-1] + np.round(speed * (frames - 1 + ahead - seen[-1])).astype(int)
        moved.append((there[:, 0].max(), class_id, there[((there >= 0) & (there < (height, width))).all(axis=1)]))
    for _, class_id, there in sorted(moved, key=lambda entry: entry[0]):
        answer[there[:, 0], there[:, 1]] = class_id
    return answer
