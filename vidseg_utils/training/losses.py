"""The losses, by name: `build_loss("cross_entropy", last_frame_weight=4)`.

Losses on masks take logits (B, K, H, W) with target (B, H, W), or a video's (B, T, K, H, W) with (B, T, H, W). Target
pixels with 255, or with any other id that is not a class (the real masks contain some), are ignored.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.checks import check_choice, check_settings
from vidseg_utils.classes import IGNORE_INDEX

STILL_CHANGE = 0.1  # a still pixel changes by less than this from frame to frame, in each colour channel in [0, 1]
SMOOTHING = 5  # side of the window that still pixels are averaged over, in pixels


class CrossEntropyLoss(nn.Module):
    """Mean over the pixels that are not ignored, weighted by class and frame: sum(weight * loss) / sum(weight).

    class_weights: one weight for each class, for example 0.6 for the background and 1 for the others
    last_frame_weight: weight of a video's last frame, relative to the other frames (published: 2 to 4)
    The loss is 0 where all pixels are ignored.
    """

    def __init__(self, class_weights: Sequence[float] | None = None, last_frame_weight: float = 1.0):
        super().__init__()
        self.last_frame_weight = _checked_frame_weight(last_frame_weight)
        self.class_weights = None
        if class_weights is not None:
            self.class_weights = torch.as_tensor(class_weights, dtype=torch.float32)
            if self.class_weights.ndim != 1 or (self.class_weights < 0).any() or not self.class_weights.any():
                raise ValueError(f"class_weights must be one number of at least 0 a class, got {class_weights}")

    def forward(self, logits: Float[Tensor, "B *T K H W"], target: Integer[Tensor, "B *T H W"]) -> Float[Tensor, ""]:
        """The loss. target: class ids."""
        frames_shape = target.shape
        logits, target = _pixels(logits, target)  # (N, K), (N,)
        per_pixel = F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="none")  # (N,)
        weights = (target != IGNORE_INDEX).to(per_pixel.dtype)  # (N,)
        if self.class_weights is not None:
            if len(self.class_weights) != logits.shape[1]:
                raise ValueError(f"{len(self.class_weights)} class_weights for {logits.shape[1]} classes")
            self.class_weights = self.class_weights.to(per_pixel)  # once: a copy to a GPU waits for its earlier work
            weights = weights * self.class_weights[target.clamp(max=logits.shape[1] - 1)]
        if len(frames_shape) == 4 and self.last_frame_weight != 1:
            frame_weights = _frame_weights(frames_shape[1], self.last_frame_weight, like=per_pixel)
            weights = weights * frame_weights.view(1, -1, 1, 1).expand(frames_shape).flatten()
        return (weights * per_pixel).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


class DiceLoss(nn.Module):
    """1 - 2 |A and B| / (|A| + |B|), with probabilities as soft sets, averaged over the classes in the target.

    Milletari, Navab, Ahmadi: "V-Net" (2016).
    """

    def forward(self, logits: Float[Tensor, "B *T K H W"], target: Integer[Tensor, "B *T H W"]) -> Float[Tensor, ""]:
        """The loss, in [0, 1]. target: class ids."""
        common, sizes, present = _overlap(*_pixels(logits, target))
        return _mean_loss(2 * common[present] / sizes[present])


class JaccardLoss(nn.Module):
    """1 - |A and B| / |A or B|, with probabilities as soft sets, averaged over the classes in the target.

    Rahman, Wang: "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation" (2016).
    """

    def forward(self, logits: Float[Tensor, "B *T K H W"], target: Integer[Tensor, "B *T H W"]) -> Float[Tensor, ""]:
        """The loss, in [0, 1]. target: class ids."""
        common, sizes, present = _overlap(*_pixels(logits, target))
        return _mean_loss(common[present] / (sizes - common)[present])


class MeanSquaredErrorLoss(nn.Module):
    """Mean over all values; in videos the last frame has weight `last_frame_weight` relative to the other frames."""

    def __init__(self, last_frame_weight: float = 1.0):
        super().__init__()
        self.last_frame_weight = _checked_frame_weight(last_frame_weight)

    def forward(self, forecast: Float[Tensor, "B *T C H W"], target: Float[Tensor, "B *T C H W"]) -> Float[Tensor, ""]:
        """The loss. Raises ValueError for different shapes."""
        if forecast.shape != target.shape:
            raise ValueError(f"forecast {tuple(forecast.shape)} and target {tuple(target.shape)} differ in shape")
        if forecast.ndim < 5 or self.last_frame_weight == 1:
            return F.mse_loss(forecast, target)
        return weighted_frame_mean((forecast - target).square().mean(dim=(0, 2, 3, 4)), self.last_frame_weight)


def weighted_frame_mean(per_frame: Float[Tensor, " T"], last_frame_weight: float) -> Float[Tensor, ""]:
    """Mean over the frames; the last one has weight `last_frame_weight` relative to the others."""
    weights = _frame_weights(len(per_frame), last_frame_weight, like=per_frame)
    return (weights * per_frame).sum() / weights.sum()


def temporal_consistency(logits: Float[Tensor, "B T K H W"], frames: Float[Tensor, "B T C H W"]) -> Float[Tensor, ""]:
    """Mean squared change of the class probabilities of still pixels from frame to frame. It needs no labels.

    frames: in [0, 1]
    returns: in [0, 2]; 0 where no pixel is still
    """
    still = still_pixels(frames)  # (B, T-1, H, W)
    change = logits.softmax(dim=2).diff(dim=1).square().sum(dim=2)  # (B, T-1, H, W)
    return (change * still).sum() / still.sum().clamp(min=1)


def still_pixels(frames: Float[Tensor, "B T C H W"]) -> Bool[Tensor, "B T-1 H W"]:
    """Where a picture does not change from one frame to the next.

    frames: in [0, 1]
    A pixel is still if the mean over 5x5 pixels changes by less than STILL_CHANGE in every channel. The mean reduces
    the standard deviation of sensor noise to a fifth.
    """
    smooth = F.avg_pool2d(frames.flatten(0, 1), SMOOTHING, stride=1, padding=SMOOTHING // 2, count_include_pad=False)
    return (smooth.unflatten(0, frames.shape[:2]).diff(dim=1).abs() < STILL_CHANGE).all(dim=2)


LOSSES: dict[str, type[nn.Module]] = {
    "cross_entropy": CrossEntropyLoss,
    "dice": DiceLoss,
    "jaccard": JaccardLoss,
    "mse": MeanSquaredErrorLoss,
}


def build_loss(name: str, **options) -> nn.Module:
    """Build a loss by name. Raises ValueError for an unknown name or option, with the choices."""
    check_choice("loss", name, LOSSES)
    # a loss without options has nn.Module's own signature, (*args, **kwargs)
    has_options = LOSSES[name].__init__ is not nn.Module.__init__
    check_settings(f"loss {name!r}", LOSSES[name] if has_options else lambda: None, options)
    return LOSSES[name](**options)


def _pixels(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(…, K, H, W) and (…, H, W) -> (N, K) float32 and (N,) int64, where ids that are not a class become 255."""
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


def _overlap(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, K), (N,) -> for each class: size of the intersection, sum of both sizes, whether the target contains it."""
    n_classes = logits.shape[1]
    valid = (target != IGNORE_INDEX)[:, None]  # (N, 1)
    probabilities = logits.softmax(dim=1) * valid
    truth = F.one_hot(target.clamp(max=n_classes - 1), n_classes) * valid  # (N, K)
    true_sizes = truth.sum(dim=0)
    return (probabilities * truth).sum(dim=0), probabilities.sum(dim=0) + true_sizes, true_sizes > 0


def _mean_loss(scores: Tensor) -> Tensor:
    """1 - mean of the classes' scores; 0 where the target contains no class."""
    return (1 - scores).sum() / max(len(scores), 1)


def _frame_weights(n_frames: int, last: float, *, like: Tensor) -> Tensor:
    weights = like.new_ones(n_frames)
    weights[-1] = last
    return weights


def _checked_frame_weight(weight: float) -> float:
    if not 0 < weight < float("inf"):
        raise ValueError(f"last_frame_weight must be a positive number, got {weight}")
    return weight
