"""Smaller pictures and masks: pictures by the mean over each area (antialiased), masks by the nearest pixel."""

import numpy as np
import torch
from torch.nn.functional import interpolate


def area_scale(frames: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """(T, 3, H, W) uint8 -> (T, 3, height, width) uint8; each pixel is the rounded mean of the area it covers."""
    if frames.shape[2:] == (height, width):
        return frames
    small = interpolate(torch.from_numpy(frames).float(), size=(height, width), mode="area")
    return small.add_(0.5).to(torch.uint8).numpy()


def nearest_scale(masks: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """(T, H, W) -> (T, height, width): the value at the centre of each new pixel; labels are never blended."""
    if masks.shape[1:] == (height, width):
        return masks
    rows = (np.arange(height) + 0.5) * masks.shape[1] / height
    columns = (np.arange(width) + 0.5) * masks.shape[2] / width
    return masks[:, rows.astype(int)[:, None], columns.astype(int)]
