"""Scale frames down by the mean over each area (antialiased), and masks by the nearest pixel.

It uses numpy on one thread, because many videos are scaled at a time, each in its own thread.
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
    small = _means(_means(frames, width).swapaxes(2, 3), height).swapaxes(2, 3)
    return np.ascontiguousarray(small + 0.5).astype(np.uint8)


def _means(values: np.ndarray, size: int) -> np.ndarray:
    """(…, old) -> (…, size) float64: means over equal intervals of the last axis, whose edges may cut pixels.

    The sum up to an edge is the sum of the pixels before it plus its share of the pixel that it cuts.
    """
    old = values.shape[-1]
    edges = np.arange(size + 1) * old / size
    cut = np.minimum(edges.astype(int), old - 1)  # the pixel that each edge cuts
    up_to_edge = np.cumsum(values, axis=-1, dtype=np.float64)[..., cut] - (cut + 1 - edges) * values[..., cut]
    return np.diff(up_to_edge) * size / old


def nearest_scale(masks: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """(..., H, W) -> (..., height, width): the value at the centre of each new pixel; labels are never blended."""
    if masks.shape[-2:] == (height, width):
        return masks
    rows = (np.arange(height) + 0.5) * masks.shape[-2] / height
    columns = (np.arange(width) + 0.5) * masks.shape[-1] / width
    return masks[..., rows.astype(int)[:, None], columns.astype(int)]
