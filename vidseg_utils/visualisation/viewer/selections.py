"""Which videos of a split are looked at, and in which order: by class, late arrivals, collisions, worst score."""

import time
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from vidseg_utils.classes import BACKGROUND, N_CLASSES, class_name
from vidseg_utils.data import SplitCache
from vidseg_utils.evaluation.comparison import count_future_collisions
from vidseg_utils.metrics import jaccard
from vidseg_utils.task import PAST_FRAMES


class WorstFirst:
    """The videos of a split by a system's score, the worst first.

    A score may take a second, so videos are scored one by one; those that are not scored yet are left out.
    """

    def __init__(self, truth: np.ndarray, answer: Callable[[int], np.ndarray]):
        """truth: (N, 22, H, W); answer: of a video's index, masks (T, H, W) by the system, the last one of frame 21"""
        self.truth, self.answer = truth, answer
        self.scores: list[float] = []  # of the first videos

    @property
    def missing(self) -> int:
        """How many videos are not scored yet."""
        return len(self.truth) - len(self.scores)

    def score_next(self) -> None:
        """Score one more video."""
        index = len(self.scores)
        self.scores.append(jaccard(self.answer(index)[-1:], np.array(self.truth[index, -1:])))

    def score_for(self, seconds: float) -> None:
        """Score videos until the time is over or all are scored, at least one."""
        end = time.monotonic() + seconds
        while self.missing:
            self.score_next()
            if time.monotonic() >= end:
                break

    def __call__(self) -> list[int]:
        """The indices of the scored videos."""
        return np.argsort(self.scores, kind="stable").tolist()


def worst_first(split: SplitCache, answers: Mapping[str, Callable[[int], np.ndarray]]) -> dict[str, WorstFirst]:
    """By the name of a selection, the order by each system's score; none on a split without masks."""
    truth = split.masks
    return {} if truth is None else {f"worst by {name}": WorstFirst(truth, answer) for name, answer in answers.items()}


def selections_of(split: SplitCache) -> dict[str, Callable[[], list[int]]]:
    """Late arrivals, collisions in the future frames, and each class; computed when they are first chosen."""
    masks = split.masks

    @cache
    def present() -> np.ndarray:
        """(N, 2, 49) bool: whether a video shows a class in its past, and in its future."""
        assert masks is not None
        shown = np.zeros((len(split), 2, N_CLASSES), dtype=bool)
        for row, clip in zip(shown, masks, strict=True):
            for part, frames in zip(row, (clip[:PAST_FRAMES], clip[PAST_FRAMES:]), strict=True):
                part[:] = np.bincount(frames.ravel(), minlength=256)[:N_CLASSES] > 0
        shown[..., BACKGROUND] = False
        return shown

    def collisions() -> list[int]:
        counts = [
            0 if (found := split.annotation(at)) is None else sum(count_future_collisions(found).values())
            for at in range(len(split))
        ]
        return [int(at) for at in np.argsort(-np.array(counts), kind="stable") if counts[at]]

    selections: dict[str, Callable[[], list[int]]] = {}
    if masks is not None:
        selections["late arrivals"] = lambda: np.flatnonzero((present()[:, 1] & ~present()[:, 0]).any(-1)).tolist()
    if split.annotation(0) is not None:
        selections["future collisions, most first"] = cache(collisions)
    if masks is not None:
        for id_ in range(1, N_CLASSES):
            selections[class_name(id_)] = lambda id_=id_: np.flatnonzero(present()[:, :, id_].any(1)).tolist()
    return selections
