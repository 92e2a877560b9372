"""The losses, by name: `build_loss("cross_entropy", last_frame_weight=4)`.

Losses on masks take logits (B, K, H, W) with target (B, H, W), or a video's (B, T, K, H, W) with (B, T, H, W). Target
pixels of 255, or of any id that is no class (the real masks hold some), don't count.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from vidseg_utils.checks import check_choice, check_settings
from vidseg_utils.classes import IGNORE_INDEX

STILL_CHANGE = 0.1  # of a colour channel in [0, 1], between two frames


class CrossEntropy(nn.Module):
    """Mean over the pixels that count, each weighted by its class and its frame: sum(weight * loss) / sum(weight).

    class_weights: one weight a class, such as 0.6 for the background and 1 for the rest
    last_frame_weight: the last frame of a video counts so many times as much as any other (published: 2 to 4)
    Zero where no pixel counts.
    """

    def __init__(self, class_weights: Sequence[float] | None = None, last_frame_weight: float = 1.0):
        super().__init__()
        self.last_frame_weight = _checked_frame_weight(last_frame_weight)
        self.class_weights = None
        if class_weights is not None:
            self.class_weights = torch.as_tensor(class_weights, dtype=torch.float32)
            if self.class_weights.ndim != 1 or (self.class_weights < 0).any() or not self.class_weights.any():
                raise ValueError(f"class_weights must be one number of at least 0 a class, got {class_weights}")

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """logits: (B, [T,] K, H, W), target: (B, [T,] H, W) class ids -> scalar."""
        frames_shape = target.shape
        logits, target = _pixels(logits, target)  # (N, K), (N,)
        per_pixel = functional.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="none")  # (N,)
        weights = (target != IGNORE_INDEX).to(per_pixel.dtype)  # (N,)
        if self.class_weights is not None:
            if len(self.class_weights) != logits.shape[1]:
                raise ValueError(f"{len(self.class_weights)} class_weights for {logits.shape[1]} classes")
            of_class = self.class_weights.to(per_pixel)
            weights = weights * of_class[target.clamp(max=logits.shape[1] - 1)]
        if len(frames_shape) == 4 and self.last_frame_weight != 1:
            of_frame = _frame_weights(frames_shape[1], self.last_frame_weight).to(per_pixel)
            weights = weights * of_frame.view(1, -1, 1, 1).expand(frames_shape).flatten()
        return (weights * per_pixel).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


class Dice(nn.Module):
    """1 - 2 |A and B| / (|A| + |B|) with probabilities for sets, averaged over the classes that the target holds.

    Milletari, Navab, Ahmadi: "V-Net" (2016).
    """

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """logits: (B, [T,] K, H, W), target: (B, [T,] H, W) class ids -> scalar in [0, 1]."""
        both, sizes, present = _overlap(*_pixels(logits, target))
        return _mean_loss(2 * both[present] / sizes[present])


class Jaccard(nn.Module):
    """1 - |A and B| / |A or B| with probabilities for sets, averaged over the classes that the target holds.

    Rahman, Wang: "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation" (2016).
    """

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """logits: (B, [T,] K, H, W), target: (B, [T,] H, W) class ids -> scalar in [0, 1]."""
        both, sizes, present = _overlap(*_pixels(logits, target))
        return _mean_loss(both[present] / (sizes - both)[present])


class MeanSquaredError(nn.Module):
    """Mean over all values; in videos the last frame counts `last_frame_weight` times as much as any other."""

    def __init__(self, last_frame_weight: float = 1.0):
        super().__init__()
        self.last_frame_weight = _checked_frame_weight(last_frame_weight)

    def forward(self, forecast: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """forecast, target: (B, [T,] C, H, W), the same shape -> scalar. Raises ValueError for different shapes."""
        if forecast.shape != target.shape:
            raise ValueError(f"forecast {tuple(forecast.shape)} and target {tuple(target.shape)} differ in shape")
        if forecast.ndim < 5 or self.last_frame_weight == 1:
            return functional.mse_loss(forecast, target)
        return mean_of_frames((forecast - target).square().mean(dim=(0, 2, 3, 4)), self.last_frame_weight)


def mean_of_frames(per_frame: torch.Tensor, last_frame_weight: float) -> torch.Tensor:
    """per_frame: (T,) -> their mean, in which the last frame counts `last_frame_weight` times as much as any other."""
    of_frame = _frame_weights(len(per_frame), last_frame_weight).to(per_frame)
    return (of_frame * per_frame).sum() / of_frame.sum()


def temporal_consistency(logits: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """How much the classes' probabilities change where the picture does not: mean squared change of a still pixel.

    logits: (B, T, K, H, W) of frames: (B, T, C, H, W) float in [0, 1] -> scalar in [0, 2]; 0 where nothing is still.
    It needs no labels.
    """
    still = still_pixels(frames)  # (B, T-1, H, W)
    change = logits.softmax(dim=2).diff(dim=1).square().sum(dim=2)  # (B, T-1, H, W)
    return (change * still).sum() / still.sum().clamp(min=1)


def still_pixels(frames: torch.Tensor) -> torch.Tensor:
    """Where a picture stays what it was in the frame before.

    frames: (B, T, C, H, W) float in [0, 1] -> (B, T-1, H, W) bool: the mean over 5x5 pixels, in which a sensor's noise
    falls to a fifth, changes by less than STILL_CHANGE in every channel.
    """
    smooth = functional.avg_pool2d(frames.flatten(0, 1), 5, stride=1, padding=2, count_include_pad=False)
    return (smooth.unflatten(0, frames.shape[:2]).diff(dim=1).abs() < STILL_CHANGE).all(dim=2)


LOSSES: dict[str, type[nn.Module]] = {
    "cross_entropy": CrossEntropy,
    "dice": Dice,
    "jaccard": Jaccard,
    "mse": MeanSquaredError,
}


def build_loss(name: str, **options) -> nn.Module:
    """The loss of that name. Raises ValueError for an unknown name or option, with the choices."""
    check_choice("loss", name, LOSSES)
    # nn.Module's own signature, (*args, **kwargs), is that of the losses without options
    has_options = LOSSES[name].__init__ is not nn.Module.__init__
    check_settings(f"loss {name!r}", LOSSES[name] if has_options else lambda: None, options)
    return LOSSES[name](**options)


def _pixels(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(…, K, H, W) and (…, H, W) -> (N, K) float32 and (N,) int64, where ids that are no class become 255."""
    if logits.ndim not in (4, 5) or logits.shape[:-3] + logits.shape[-2:] != target.shape:
        raise ValueError(
            f"logits (B, [T,] K, H, W) and target (B, [T,] H, W) don't fit: "
            f"{tuple(logits.shape)} and {tuple(target.shape)}"
        )
    if target.is_floating_point():
        raise ValueError(f"target must hold class ids as whole numbers, got {target.dtype}")
    n_classes = logits.shape[-3]
    target = target.flatten().long()
    target = target.masked_fill((target < 0) | (target >= n_classes), IGNORE_INDEX)
    return logits.movedim(-3, -1).reshape(-1, n_classes).float(), target


def _overlap(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(N, K) and (N,) -> for each class the common part, the sum of both sizes, and whether the target holds it."""
    n_classes = logits.shape[1]
    counts = (target != IGNORE_INDEX)[:, None]  # (N, 1)
    probabilities = logits.softmax(dim=1) * counts
    truth = functional.one_hot(target.clamp(max=n_classes - 1), n_classes) * counts  # (N, K)
    of_class = truth.sum(dim=0)
    return (probabilities * truth).sum(dim=0), probabilities.sum(dim=0) + of_class, of_class > 0


def _mean_loss(scores: torch.Tensor) -> torch.Tensor:
    """1 - mean of the classes' scores; 0 where there is no class."""
    return (1 - scores).sum() / max(len(scores), 1)


def _frame_weights(n_frames: int, last: float) -> torch.Tensor:
    weights = torch.ones(n_frames)
    weights[-1] = last
    return weights


def _checked_frame_weight(weight: float) -> float:
    if not 0 < weight < float("inf"):
        raise ValueError(f"last_frame_weight must be a positive number, got {weight}")
    return weight
