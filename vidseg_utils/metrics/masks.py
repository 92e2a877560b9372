"""Scores of masks: the Jaccard index of a whole split, and the recall of moving, still and late objects.

Counts are accumulated over the split and divided once at the end. A mean of per-batch scores is a different number.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float64, Int64, Integer, Shaped
from torch import Tensor

from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX, N_CLASSES
from vidseg_utils.task import PAST_FRAMES

OBJECT_KINDS = ("still", "moving", "late")  # kinds of objects in frame 21, compared with frames 0..10
STILL_IOU = 0.8  # an object is still if its masks in frames 10 and 21 have at least this IoU


def confusion_matrix(
    prediction: Shaped[Tensor, "*N H W"] | Shaped[np.ndarray, "*N H W"],
    target: Shaped[Tensor, "*N H W"] | Shaped[np.ndarray, "*N H W"],
    n_classes: int = N_CLASSES,
    ignore_index: int = IGNORE_INDEX,
) -> Int64[Tensor, "{n_classes} {n_classes}"]:
    """Counts of pixels: row = true class, column = predicted class.

    prediction, target: class ids; pixels whose target is `ignore_index` are left out
    Raises ValueError for different shapes or class ids outside 0..n_classes - 1.
    """
    prediction, target = torch.as_tensor(prediction), torch.as_tensor(target)
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")
    # Most pixels are background in both, and are counted at once.
    shown = ((prediction != BACKGROUND) | (target != BACKGROUND)).flatten().nonzero().squeeze(1)
    n_background = prediction.numel() - len(shown)
    prediction, target = (mask.flatten()[shown].long() for mask in (prediction, target))
    for name, mask in (("prediction", prediction), ("target", target)):
        values = mask[target != ignore_index]
        if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < n_classes:
            wrong = int(values.max()) if values.max() >= n_classes else int(values.min())
            raise ValueError(f"{name} holds class id {wrong}; ids run from 0 to {n_classes - 1}")
    is_judged = target != ignore_index
    pairs = target[is_judged] * n_classes + prediction[is_judged]
    pairs = pairs.cpu() if pairs.device.type == "mps" else pairs  # which cannot count
    counts = torch.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)
    if ignore_index != BACKGROUND:
        counts[BACKGROUND, BACKGROUND] += n_background
    return counts


def iou_per_class(confusion: Int64[Tensor, "K K"]) -> Float64[Tensor, " K"]:
    """IoU in [0, 1] from counts; NaN for a class that is in neither prediction nor truth."""
    counts = confusion.double()
    hits = counts.diagonal()
    return hits / (counts.sum(0) + counts.sum(1) - hits)


def jaccard_from_confusion(confusion: Int64[Tensor, "K K"]) -> float:
    """Macro Jaccard index in [0, 1] of accumulated counts; absent classes are left out of the mean."""
    return float(iou_per_class(confusion).nanmean())


def mean_accuracy(confusion: Int64[Tensor, "K K"]) -> float:
    """Mean recall of the classes in [0, 1]; classes without a true pixel are left out."""
    counts = confusion.double()
    return float((counts.diagonal() / counts.sum(1)).nanmean())


def pixel_accuracy(confusion: Int64[Tensor, "K K"]) -> float:
    """Share of all pixels that are right, in [0, 1]. The published table of the recurrent U-Net calls it mAcc."""
    return float(confusion.diagonal().sum() / confusion.sum())


def object_accuracy(confusion: Int64[Tensor, "K K"]) -> float:
    """Share of the objects' pixels that are right, in [0, 1]; NaN without objects. Class 0 is the background."""
    return float(confusion.diagonal()[1:].sum() / confusion[1:].sum())


def jaccard(
    prediction: Shaped[Tensor, "N H W"] | Shaped[np.ndarray, "N H W"],
    target: Shaped[Tensor, "N H W"] | Shaped[np.ndarray, "N H W"],
    n_classes: int = N_CLASSES,
    ignore_index: int = IGNORE_INDEX,
) -> float:
    """The course's score: the macro Jaccard index in [0, 1] of a whole split, as torchmetrics defines it.

    It is computed from one confusion matrix. A class that is in neither prediction nor target is left out of the mean.
    """
    return jaccard_from_confusion(confusion_matrix(prediction, target, n_classes, ignore_index))


def reference_masks(
    masks: Integer[Tensor, "B T H W"], *, past_frames: int = PAST_FRAMES
) -> tuple[Integer[Tensor, "B H W"], Integer[Tensor, "B H W"]]:
    """The two reference forecasts of a clip's last frame, made from its true masks: copy-last and oracle.

    Copy-last, the baseline, is the true mask of the last past frame. Oracle, the upper bound, is the true mask of the
    last frame without the objects that no past frame shows. Pixels without a label are background in both.
    """
    past = masks[:, :past_frames].flatten(1)
    shown = torch.stack([torch.bincount(clip, minlength=IGNORE_INDEX + 1) > 0 for clip in past])  # by value of the mask
    target = masks[:, -1]
    seen = shown.gather(1, target.flatten(1).long()).reshape(target.shape)
    copy_last, oracle = masks[:, past_frames - 1], target.where(seen, BACKGROUND)
    return copy_last.where(copy_last != IGNORE_INDEX, BACKGROUND), oracle.where(oracle != IGNORE_INDEX, BACKGROUND)


class MaskScore:
    """Scores forecasts of the last frame, clip by clip; `result()` divides once at the end."""

    def __init__(self, n_classes: int = N_CLASSES):
        self.n_classes = n_classes
        self.confusion = torch.zeros(n_classes, n_classes, dtype=torch.int64)
        self.found: dict[str, int] = dict.fromkeys(OBJECT_KINDS, 0)  # correctly predicted pixels of such objects
        self.pixels: dict[str, int] = dict.fromkeys(OBJECT_KINDS, 0)  # all pixels of such objects
        self.object_ious: list[float] = []  # of each object of each clip's last frame

    def update(
        self,
        prediction: Integer[Tensor, "B H W"],
        masks: Integer[Tensor, "B T H W"],
        *,
        past_frames: int = PAST_FRAMES,
    ) -> None:
        """Add B clips. prediction: class ids of the last frame; masks: the truth of the whole clip.

        Raises ValueError for shapes that differ and for ids outside of the classes.
        """
        prediction, masks = prediction.cpu(), masks.cpu()
        target = masks[:, -1]
        self.confusion += confusion_matrix(prediction, target, self.n_classes)
        for clip in range(len(masks)):
            for kind, class_id in object_kinds(masks[clip], past_frames=past_frames):
                area = target[clip] == class_id
                forecast = (prediction[clip] == class_id) & (target[clip] != IGNORE_INDEX)
                found, pixels = int((forecast & area).sum()), int(area.sum())
                self.pixels[kind] += pixels
                self.found[kind] += found
                self.object_ious.append(found / (pixels + int(forecast.sum()) - found))

    def result(self) -> dict[str, float]:
        """`jaccard` (all classes), `objects_miou`, `recall_still`, `_moving`, `_late`: [0, 1].

        `objects_miou` is the mean IoU of the objects that the last frames hold. For a few clips, whose objects have few
        classes, it says more than the Jaccard index: a stray pixel of a class that no clip holds does not count as a
        class with an IoU of 0.
        A score is missing where the split has no such object.
        """
        scores = {"jaccard": jaccard_from_confusion(self.confusion)}
        if self.object_ious:
            scores["objects_miou"] = float(np.mean(self.object_ious))
        for kind in OBJECT_KINDS:
            if self.pixels[kind]:
                scores[f"recall_{kind}"] = self.found[kind] / self.pixels[kind]
        return scores


def object_kinds(masks: Integer[Tensor, "T H W"], *, past_frames: int = PAST_FRAMES) -> Iterator[tuple[str, int]]:
    """Yields (kind, class id) of every object in the last frame of one clip's true masks; see OBJECT_KINDS.

    `late`: in no past frame; `still`: its masks in the last past and the last frame have an IoU of at least STILL_IOU;
    else `moving`.
    """
    past, last_past, target = masks[:past_frames], masks[past_frames - 1], masks[-1]
    seen_ids = set(torch.bincount(past.flatten()).nonzero().flatten().tolist())
    for class_id in target.unique().tolist():
        if class_id in (BACKGROUND, IGNORE_INDEX):
            continue
        if class_id not in seen_ids:
            yield "late", class_id
            continue
        before, after = last_past == class_id, target == class_id
        iou = int((before & after).sum()) / int((before | after).sum())
        yield ("still" if iou >= STILL_IOU else "moving"), class_id
