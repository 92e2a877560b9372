"""Bounding boxes of regions, and whether one object can fill a box."""

import numpy as np
from jaxtyping import Bool, Float, Integer

from vidseg_utils.world.camera import FOCAL_LENGTH, MIN_DEPTH, project, unproject

MAX_EXTENT = 0.64  # world units: no object looks wider or higher
EXTENT_MARGIN_PX = 2  # added to MAX_EXTENT in pixels


def unite_boxes(
    first: Integer[np.ndarray, "*batch 4"], second: Integer[np.ndarray, " 4"]
) -> Integer[np.ndarray, "*batch 4"]:
    """The boxes around `second` and each of `first`."""
    union = np.minimum(first, second)
    union[..., 1::2] = np.maximum(first, second)[..., 1::2]
    return union


def fit_an_object(boxes: Integer[np.ndarray, "R 4"], size: tuple[int, int]) -> Bool[np.ndarray, " R"]:
    """Whether one object can fill each box of an image of that height and width."""
    extent = np.maximum(boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2])
    return extent <= MAX_EXTENT * pixels_per_unit(boxes, size) + EXTENT_MARGIN_PX


def pixels_per_unit(boxes: Integer[np.ndarray, "R 4"], size: tuple[int, int]) -> Float[np.ndarray, " R"]:
    """Pixels of a world unit across the line of sight, on the ground that is seen at the bottom of each box."""
    height, width = size
    bottom = np.stack([boxes[:, 2:].mean(axis=1), boxes[:, 1]], axis=1)
    ground = np.pad(unproject(bottom, height=height, width=width), ((0, 0), (0, 1)))
    return FOCAL_LENGTH * height / np.maximum(project(ground)[:, 2], MIN_DEPTH)
