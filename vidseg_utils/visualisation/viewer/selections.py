"""Which videos of a split are looked at, and in which order: by class, late arrivals, collisions, worst score."""

from collections.abc import Callable, Mapping
from functools import cache, partial

import numpy as np

from vidseg_utils.classes import BACKGROUND, N_CLASSES, class_name
from vidseg_utils.data import SplitCache
from vidseg_utils.evaluation.comparison import count_future_collisions
from vidseg_utils.metrics import jaccard
from vidseg_utils.task import PAST_FRAMES


def worst_first(split: SplitCache, answers: Mapping[str, Callable[[int], np.ndarray]]) -> dict[str, Callable]:
    """By the name of a selection, functions that order all videos by a system's score, the worst first."""
    truth = split.masks
    if truth is None:
        return {}

    def order(name: str) -> list[int]:
        scores = [jaccard(answers[name](at)[-1:], np.array(truth[at, -1:])) for at in range(len(split))]
        return np.argsort(scores, kind="stable").tolist()

    return {f"worst by {name}": cache(partial(order, name)) for name in answers}


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
