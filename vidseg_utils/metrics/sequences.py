"""Scores of segmented videos: accuracy over the sequence, accuracy at each of its frames, and steadiness."""

import torch
from jaxtyping import Bool, Integer
from torch import Tensor

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.metrics.masks import confusion_matrix, jaccard_from_confusion, mean_accuracy, pixel_accuracy


class SequenceScore:
    """Accumulates one confusion matrix for each frame of the sequence, and label flips; `result()` divides once."""

    def __init__(self, n_classes: int = N_CLASSES):
        self.n_classes = n_classes
        self.confusion = torch.zeros(0, n_classes, n_classes, dtype=torch.int64)  # (T, K, K), row = truth
        self.still_pairs = self.flipped_pairs = 0  # of a pixel and the same pixel in the next frame

    def update(
        self,
        prediction: Integer[Tensor, "B T H W"],
        masks: Integer[Tensor, "B T H W"],
        still: Bool[Tensor, "B T-1 H W"],
    ) -> None:
        """Add B sequences of class ids.

        masks: the truth, 255 = no label
        still: where the picture does not change from one frame to the next, see `training.still_pixels`
        Raises ValueError for shapes that do not fit.
        """
        prediction, masks, still = prediction.cpu(), masks.cpu(), still.cpu()
        if prediction.shape != masks.shape or still.shape != masks[:, 1:].shape:
            shapes = [tuple(item.shape) for item in (prediction, masks, still)]
            raise ValueError(f"prediction, masks (B, T, H, W) and still (B, T-1, H, W) don't fit: {shapes}")
        if not len(self.confusion):
            self.confusion = self.confusion.new_zeros(masks.shape[1], self.n_classes, self.n_classes)
        if masks.shape[1] != len(self.confusion):
            raise ValueError(f"sequences of {masks.shape[1]} frames after sequences of {len(self.confusion)}")
        for frame in range(masks.shape[1]):
            self.confusion[frame] += confusion_matrix(prediction[:, frame], masks[:, frame], self.n_classes)
        self.still_pairs += int(still.sum())
        self.flipped_pairs += int((still & (prediction[:, 1:] != prediction[:, :-1])).sum())

    def result(self) -> dict[str, float]:
        """All in [0, 1]: `miou`, `mean_accuracy` (mean recall of the classes), `pixel_accuracy` (the published "mAcc").

        `flip_rate`: share of still pixels whose label changes from one frame to the next; 0 is steadiest.
        Raises ValueError if no labelled pixel was scored.
        """
        total = self.confusion.sum(dim=0)
        if not total.any():
            raise ValueError("no labelled pixels were scored")
        return {
            "miou": jaccard_from_confusion(total),
            "mean_accuracy": mean_accuracy(total),
            "pixel_accuracy": pixel_accuracy(total),
            "flip_rate": self.flipped_pairs / max(self.still_pairs, 1),
        }

    def miou_by_frame(self) -> list[float]:
        """mIoU in [0, 1] at each frame of the sequence, from that frame's matrix; NaN where no frame has a label."""
        return [jaccard_from_confusion(confusion) for confusion in self.confusion]
