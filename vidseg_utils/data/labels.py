"""Whether the labels of a split can be learned from and scored: judged pixels, and objects, exist at all."""

from collections.abc import Sequence

import numpy as np

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data.cache import SplitCache
from vidseg_utils.data.datasets import labelled_masks


def check_labels(cache: SplitCache, *, frames: Sequence[int]) -> None:
    """Raise ValueError that says what is wrong unless a pixel of these frames is judged and some frame has an object.

    It stops at the first video that has both, so sound labels cost the reading of one video.
    frames: indices of the frames that are learned from or scored
    """
    masks, path, n_videos = labelled_masks(cache), cache.root / cache.split, len(cache)
    judged = objects = False
    for video in masks:
        judged = judged or bool((video[list(frames)] < N_CLASSES).any())
        objects = objects or has_object(video)
        if judged and objects:
            return
    cure = f"`vidseg data check {cache.root}` names the files"
    if not judged:
        which = f"frame {frames[0]}" if len(frames) == 1 else f"{len(frames)} of {masks.shape[1]} frames"
        raise ValueError(
            f"{path}: the masks have no label in {which} of any of its {n_videos} videos: every pixel is 255 or above "
            f"{N_CLASSES - 1}, which is ignored, so nothing can be learned or scored; correct the masks; {cure}"
        )
    raise ValueError(
        f"{path}: the masks hold no object in any of its {n_videos} videos, only background (0) and ignored pixels "
        f"(255); objects need class ids 1 to {N_CLASSES - 1}, not 255 as in binary masks; {cure}"
    )


def has_object(masks: np.ndarray) -> bool:
    """Whether some pixel of these uint8 masks has the class id of an object, 1 to 48."""
    return bool(((masks > 0) & (masks < N_CLASSES)).any())
