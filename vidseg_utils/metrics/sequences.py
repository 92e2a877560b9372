"""Scores of segmented videos: how right, how right at which place of the sequence, and how steady."""

import torch
from torch import Tensor

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.metrics.masks import confusion_matrix, jaccard_of, mean_accuracy, pixel_accuracy


class SequenceScore:
    """Accumulates one confusion matrix a place in the sequence, and flips; `result()` divides once at the end."""

    def __init__(self, n_classes: int = N_CLASSES):
        self.n_classes = n_classes
        self.confusion = torch.zeros(0, n_classes, n_classes, dtype=torch.int64)  # (T, K, K), row = truth
        self.still = self.flipped = 0  # pairs of a pixel and the same in the next frame

    def update(self, prediction: Tensor, masks: Tensor, still: Tensor) -> None:
        """prediction, masks: (B, T, H, W) class ids, 255 = no label; still: (B, T-1, H, W) bool, see `still_pixels`.

        Raises ValueError for shapes that don't fit.
        """
        prediction, masks, still = prediction.cpu(), masks.cpu(), still.cpu()
        if prediction.shape != masks.shape or still.shape != masks[:, 1:].shape:
            shapes = [tuple(item.shape) for item in (prediction, masks, still)]
            raise ValueError(f"prediction, masks (B, T, H, W) and still (B, T-1, H, W) don't fit: {shapes}")
        if not len(self.confusion):
            self.confusion = self.confusion.new_zeros(masks.shape[1], self.n_classes, self.n_classes)
        if masks.shape[1] != len(self.confusion):
            raise ValueError(f"sequences of {masks.shape[1]} frames after sequences of {len(self.confusion)}")
        for place in range(masks.shape[1]):
            self.confusion[place] += confusion_matrix(prediction[:, place], masks[:, place], self.n_classes)
        self.still += int(still.sum())
        self.flipped += int((still & (prediction[:, 1:] != prediction[:, :-1])).sum())

    def result(self) -> dict[str, float]:
        """All in [0, 1]: `miou`, `mean_accuracy` (mean recall of the classes), `pixel_accuracy` (the published "mAcc").

        `flip_rate`: share of the still pixels whose label changes from one frame to the next; 0 is steadiest.
        """
        total = self.confusion.sum(dim=0)
        if not total.any():
            raise ValueError("no labelled pixels were scored")
        return {
            "miou": jaccard_of(total),
            "mean_accuracy": mean_accuracy(total),
            "pixel_accuracy": pixel_accuracy(total),
            "flip_rate": self.flipped / max(self.still, 1),
        }

    def miou_by_place(self) -> list[float]:
        """mIoU in [0, 1] at each place of the sequence, from that place's matrix; NaN where no frame has a label."""
        return [jaccard_of(confusion) for confusion in self.confusion]
