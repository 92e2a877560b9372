"""Scores of masks, of frames and of segmented sequences, from counts that are accumulated over a whole split."""

from vidseg_utils.metrics.frames import FrameScore
from vidseg_utils.metrics.masks import (
    MaskScore,
    confusion_matrix,
    iou_per_class,
    jaccard,
    jaccard_of,
    object_kinds,
    reference_masks,
)
from vidseg_utils.metrics.sequences import SequenceScore

__all__ = [
    "FrameScore",
    "MaskScore",
    "SequenceScore",
    "confusion_matrix",
    "iou_per_class",
    "jaccard",
    "jaccard_of",
    "object_kinds",
    "reference_masks",
]
