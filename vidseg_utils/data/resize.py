"""Smaller pictures and masks: pictures by the mean over each area (antialiased), masks by the nearest pixel.

In numpy and on one thread: many videos are scaled at a time, each by a thread of its own.
"""

import numpy as np


def area_scale(frames: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """(T, 3, H, W) uint8 -> (T, 3, height, width) uint8; each pixel is the rounded mean of the area it covers."""
    old_height, old_width = frames.shape[2:]
    if (old_height, old_width) == (height, width):
        return frames
    if old_height % height == old_width % width == 0:
        rows, columns = old_height // height, old_width // width
        total = np.full((*frames.shape[:2], height, width), rows * columns // 2, dtype=np.uint32)  # for rounding
        for row in range(rows):
            for column in range(columns):
                total += frames[:, :, row::rows, column::columns]
        return (total // (rows * columns)).astype(np.uint8)
    down, across = _shares(old_height, height), _shares(old_width, width)
    return (down @ frames.astype(np.float32) @ across.T + 0.5).astype(np.uint8)


def _shares(old: int, new: int) -> np.ndarray:
    """(new, old) float32: the share of each old pixel in the mean of each new one; rows sum to 1."""
    edges = np.arange(new + 1) * old / new
    pixels = np.arange(old)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(overlap, 0, None) * new / old).astype(np.float32)


def nearest_scale(masks: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """(T, H, W) -> (T, height, width): the value at the centre of each new pixel; labels are never blended."""
    if masks.shape[1:] == (height, width):
        return masks
    rows = (np.arange(height) + 0.5) * masks.shape[1] / height
    columns = (np.arange(width) + 0.5) * masks.shape[2] / width
    return masks[:, rows.astype(int)[:, None], columns.astype(int)]
