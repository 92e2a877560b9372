"""Scores of masks: the Jaccard index of a whole split, and how often moving, still and late objects are found.

Everything is accumulated as counts over the split and divided once at the end: a mean of per-batch scores is another,
wrong number.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX, N_CLASSES

KINDS = ("still", "moving", "late")  # an object of frame 21, held against where it was in frames 0..10
STILL_IOU = 0.8  # an object whose mask in frames 10 and 21 overlaps at least so much has not moved


def confusion_matrix(
    prediction: Tensor, target: Tensor, n_classes: int = N_CLASSES, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Counts of pixels, (K, K) int64: row = true class, column = predicted class.

    prediction, target: (..., H, W) class ids of one shape; target pixels equal to `ignore_index` are left out.
    Raises ValueError for differing shapes or class ids outside 0..K-1.
    """
    prediction, target = torch.as_tensor(prediction).long(), torch.as_tensor(target).long()
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")
    for name, mask in (("prediction", prediction), ("target", target)):
        values = mask[target != ignore_index]
        if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < n_classes:
            wrong = int(values.max()) if values.max() >= n_classes else int(values.min())
            raise ValueError(f"{name} holds class id {wrong}; ids run from 0 to {n_classes - 1}")
    return multiclass_confusion_matrix(
        prediction, target, num_classes=n_classes, ignore_index=ignore_index, validate_args=False
    ).long()


def iou_per_class(confusion: Tensor) -> Tensor:
    """(K, K) counts -> (K,) float64 IoU in [0, 1]; NaN for a class that is in neither prediction nor truth."""
    counts = confusion.double()
    hits = counts.diagonal()
    return hits / (counts.sum(0) + counts.sum(1) - hits)


def jaccard_of(confusion: Tensor) -> float:
    """Macro Jaccard index in [0, 1] of accumulated counts; absent classes are left out of the mean."""
    return float(iou_per_class(confusion).nanmean())


def mean_accuracy(confusion: Tensor) -> float:
    """Mean over the classes of the share of a class's true pixels that were found, in [0, 1]; absent ones left out."""
    counts = confusion.double()
    return float((counts.diagonal() / counts.sum(1)).nanmean())


def pixel_accuracy(confusion: Tensor) -> float:
    """Share of all pixels that are right, in [0, 1]: what the recurrent U-Net's published table calls mAcc."""
    return float(confusion.diagonal().sum() / confusion.sum())


def jaccard(prediction: Tensor, target: Tensor, n_classes: int = N_CLASSES, ignore_index: int = IGNORE_INDEX) -> float:
    """The course's score: macro Jaccard index in [0, 1] of a whole split (torchmetrics' definition), from one matrix.

    prediction, target: (N, H, W) class ids. A class that is in neither is left out of the mean.
    """
    return jaccard_of(confusion_matrix(prediction, target, n_classes, ignore_index))


def reference_masks(masks: Tensor, *, past_frames: int = 11) -> tuple[Tensor, Tensor]:
    """The two reference forecasts of a clip's last frame, made from its true masks: copy-last and oracle.

    masks: (B, T, H, W). Returns two masks (B, H, W). Copy-last, the baseline, is the true mask of the last past frame.
    Oracle, the upper bound, is the true mask of the last frame without the objects that no past frame shows.
    """
    known = torch.zeros(len(masks), 256, dtype=torch.bool, device=masks.device)
    known.scatter_(1, masks[:, :past_frames].flatten(1).long(), True)
    target = masks[:, -1]
    seen = known.gather(1, target.flatten(1).long()).reshape(target.shape)
    return masks[:, past_frames - 1], torch.where(seen, target, torch.full_like(target, BACKGROUND))


class MaskScore:
    """Scores forecasts of the last frame, clip by clip; `result()` divides once at the end."""

    def __init__(self, n_classes: int = N_CLASSES):
        self.n_classes = n_classes
        self.confusion = torch.zeros(n_classes, n_classes, dtype=torch.int64)
        self.found = dict.fromkeys(KINDS, 0)  # pixels of such objects that were predicted rightly
        self.pixels = dict.fromkeys(KINDS, 0)  # pixels of such objects

    def update(self, prediction: Tensor, masks: Tensor, *, past_frames: int = 11) -> None:
        """prediction: (B, H, W) for the last frame; masks: (B, T, H, W), the truth of the whole clip."""
        prediction, masks = prediction.cpu(), masks.cpu()
        target = masks[:, -1]
        self.confusion += confusion_matrix(prediction, target, self.n_classes)
        for clip in range(len(masks)):
            for kind, class_id in object_kinds(masks[clip], past_frames=past_frames):
                area = target[clip] == class_id
                self.pixels[kind] += int(area.sum())
                self.found[kind] += int((prediction[clip][area] == class_id).sum())

    def result(self) -> dict[str, float]:
        """`jaccard` (49 classes), `objects_miou` (without background), `recall_still`, `_moving`, `_late`: [0, 1].

        A recall is missing where the split has no such object.
        """
        iou = iou_per_class(self.confusion)
        scores = {"jaccard": float(iou.nanmean())}
        if not iou[1:].isnan().all():
            scores["objects_miou"] = float(iou[1:].nanmean())
        for kind in KINDS:
            if self.pixels[kind]:
                scores[f"recall_{kind}"] = self.found[kind] / self.pixels[kind]
        return scores


def object_kinds(masks: Tensor, *, past_frames: int = 11) -> Iterable[tuple[str, int]]:
    """(kind, class id) of every object in the last frame of one clip's true masks (T, H, W).

    `late`: in no past frame; `still`: its masks in the last past and the last frame overlap by STILL_IOU;
    else `moving`.
    """
    past, last_past, target = masks[:past_frames], masks[past_frames - 1], masks[-1]
    known = set(past.unique().tolist())
    for class_id in target.unique().tolist():
        if class_id in (BACKGROUND, IGNORE_INDEX):
            continue
        if class_id not in known:
            yield "late", class_id
            continue
        before, after = last_past == class_id, target == class_id
        overlap = int((before & after).sum()) / int((before | after).sum())
        yield ("still" if overlap >= STILL_IOU else "moving"), class_id
