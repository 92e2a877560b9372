"""Masks from probabilities of the classes: which pixels to call an object, and whether the probabilities are true.

The score of several possible futures of anything is here too.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Integer, Shaped
from torch import Tensor

from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX, N_CLASSES

N_BINS = 10  # equal intervals of the probability
MIN_PROBABILITY = 0.05  # most pixels are certainly background and say nothing about a forecast


def drawing_threshold(score: float) -> float:
    """The probability from which on a pixel should be called an object, where the Jaccard index is about `score`.

    A pixel that is right with probability p adds p to the expected intersection and 1 - p to the expected union. That
    raises an index of J if p is more than J / (1 + J).
    """
    return score / (1 + score)


def choose_classes(probabilities: Float[Tensor, "B K H W"], *, score: float) -> Integer[Tensor, "B H W"]:
    """The mask with the largest expected Jaccard index: each pixel's most probable object, or background.

    probabilities: of the classes, in [0, 1]; class 0 is the background
    score: about the index that will be reached, in [0, 1]; see `drawing_threshold`
    """
    probability, index = probabilities[:, BACKGROUND + 1 :].max(dim=1)
    return (index + BACKGROUND + 1).where(probability >= drawing_threshold(score), BACKGROUND)


def class_shares(masks: Integer[Tensor, "B K H W"]) -> Float[Tensor, "B 49 H W"]:
    """Probabilities of the classes: the share of K possible masks that show each class at each pixel."""
    clips, possible, height, width = masks.shape
    counts = torch.zeros(clips, N_CLASSES, height, width, device=masks.device)
    counts.scatter_add_(1, masks.long(), torch.ones((), device=masks.device).expand(masks.shape))
    return counts / possible


class ReliabilityCurve(NamedTuple):
    """Of the forecasts in each interval of the probability: how probable they were, and how often they came true."""

    probability: Float64[Tensor, " N"]  # mean of the interval's forecasts; NaN where there are none
    frequency: Float64[Tensor, " N"]
    count: Float64[Tensor, " N"]

    @property
    def error(self) -> float:
        """Mean distance of probability and frequency over all forecasts (expected calibration error); NaN for none."""
        shares = self.count / self.count.sum()
        return float((shares * (self.probability - self.frequency).abs()).nansum()) if self.count.any() else torch.nan


class Reliability:
    """Counts how often forecasts of an object's class come true, clip by clip; `result()` divides once at the end.

    A forecast is a pixel and an object's class with at least MIN_PROBABILITY.
    """

    def __init__(self, n_bins: int = N_BINS):
        self.n_bins = n_bins
        self.sums = torch.zeros(3, n_bins, dtype=torch.float64)  # of probabilities, of those that came true, of all

    def update(self, probabilities: Float[Tensor, "B K H W"], target: Shaped[Tensor, "B H W"]) -> None:
        """Add B clips. target: true class ids of the last frame; pixels of 255 are left out."""
        target = target.to(probabilities.device).long()
        chosen = (probabilities >= MIN_PROBABILITY) & (target != IGNORE_INDEX)[:, None]
        chosen[:, BACKGROUND] = False
        clip, class_id, row, column = chosen.nonzero(as_tuple=True)
        probability = probabilities[clip, class_id, row, column].double().cpu()
        came_true = (target[clip, row, column] == class_id).double().cpu()
        interval = (probability * self.n_bins).long().clamp(max=self.n_bins - 1)
        for total, values in zip(self.sums, (probability, came_true, torch.ones_like(probability)), strict=True):
            total.index_add_(0, interval, values)

    def result(self) -> ReliabilityCurve:
        """The curve of all clips so far."""
        probability, came_true, count = self.sums
        return ReliabilityCurve(probability / count, came_true / count, count)


def score_futures(
    futures: Float[Tensor, "B K *rest"],
    truth: Float[Tensor, "B *rest"],
    distance: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Mean distance of K futures from the truth, less half of their mean distance from each other: small is good.

    It is best if the futures scatter as the truth does (the energy score: Gneiting and Raftery, 2007), for the
    Euclidean distance and for log(1 + its square).
    distance: of (B, K, …) from (B, K or 1, …), as (B, K, …); its mean over the futures is returned
    """
    shifts = range(1, futures.shape[1] // 2 + 1)  # all pairs of different futures, each once
    pairs = (distance(futures, futures.roll(shift, dims=1)).mean(dim=1) for shift in shifts)
    scatter = sum(pairs, torch.zeros(()))
    return distance(futures, truth[:, None]).mean(dim=1) - scatter / (2 * max(1, len(shifts)))
