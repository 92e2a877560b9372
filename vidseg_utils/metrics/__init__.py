"""Scores of masks, of frames and of segmented sequences, from counts that are accumulated over a whole split."""

from vidseg_utils.metrics.frames import FrameScore
from vidseg_utils.metrics.masks import (
    OBJECT_KINDS,
    MaskScore,
    confusion_matrix,
    iou_per_class,
    jaccard,
    jaccard_from_confusion,
    mean_accuracy,
    object_accuracy,
    object_kinds,
    pixel_accuracy,
    reference_masks,
)
from vidseg_utils.metrics.probabilities import (
    Reliability,
    ReliabilityCurve,
    choose_classes,
    class_shares,
    drawing_threshold,
    score_futures,
)
from vidseg_utils.metrics.sequences import SequenceScore

__all__ = [
    "OBJECT_KINDS",
    "FrameScore",
    "MaskScore",
    "Reliability",
    "ReliabilityCurve",
    "SequenceScore",
    "choose_classes",
    "class_shares",
    "confusion_matrix",
    "drawing_threshold",
    "iou_per_class",
    "jaccard",
    "jaccard_from_confusion",
    "mean_accuracy",
    "object_accuracy",
    "object_kinds",
    "pixel_accuracy",
    "reference_masks",
    "score_futures",
]
