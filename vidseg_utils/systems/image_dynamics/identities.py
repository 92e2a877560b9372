"""Repair the masks of a segmenter: it often mistakes an object's shape, so one object has several classes.

Objects of one material and colour are one object, unless some frame shows two of them apart. All its pixels get the
class that most of them have.
"""

import numpy as np
from jaxtyping import Integer, UInt8
from scipy.ndimage import label

from vidseg_utils.classes import BACKGROUND, COLOURS, MATERIALS, N_CLASSES

APART_SHARE = 0.3  # of two objects' areas in a frame: a region that is smaller than this belongs to the larger one


def unite_classes(masks: Integer[np.ndarray, "T H W"]) -> UInt8[np.ndarray, "T H W"]:
    """The class ids of a clip (others unknown) in which an object has one class."""
    united = np.where(masks < N_CLASSES, masks, BACKGROUND).astype(np.uint8)
    n_appearances = len(MATERIALS) * len(COLOURS)
    appearances = np.where(united > BACKGROUND, (united.astype(int) - 1) % n_appearances, -1)
    for appearance in np.unique(appearances[appearances >= 0]):
        shown = appearances == appearance
        if not any(map(_are_two, shown)):
            united[shown] = np.bincount(united[shown]).argmax()
    return united


def _are_two(shown: np.ndarray) -> bool:
    """Whether a frame (H, W) shows two large regions."""
    regions, count = label(shown, structure=np.ones((3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
    if count < 2:
        return False
    *_, second, first = np.sort(np.bincount(regions.ravel())[1:])
    return bool(second >= APART_SHARE * first)
