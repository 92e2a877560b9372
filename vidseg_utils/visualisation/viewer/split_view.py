"""`browse` shows the videos of a split in the viewer, `compare` what several systems forecast for them."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from vidseg_utils.data import Clip, SplitCache, nearest_scale
from vidseg_utils.evaluation import Evaluation
from vidseg_utils.metrics import jaccard
from vidseg_utils.systems import Forecaster, forecast_clip
from vidseg_utils.systems.object_dynamics import Outlook
from vidseg_utils.task import CLIP_FRAMES
from vidseg_utils.visualisation.overlays import plot_error_map, show_overlay
from vidseg_utils.visualisation.style import closed_figure_png
from vidseg_utils.visualisation.viewer.clip_view import filmstrip_png, panel_rows
from vidseg_utils.visualisation.viewer.gallery import Gallery
from vidseg_utils.visualisation.viewer.packing import NO_MASK, TRUTH, pack_clip
from vidseg_utils.visualisation.viewer.plan import pack_plan
from vidseg_utils.visualisation.viewer.selections import selections_of, worst_first

Forecasts = Forecaster | Evaluation | np.ndarray


def browse(
    split: SplitCache,
    *,
    forecasts: Mapping[str, Evaluation | np.ndarray] | None = None,
    index: int = 0,
    frame: int = 0,
    opacity: float = 0.5,
) -> Gallery:
    """The videos of a split in the viewer: next, previous, a number; by class, late arrivals, collisions, worst score.

    forecasts: by the system's name, masks (N, H, W) of frame 21 of all videos, or the evaluation that has them
    index: of the video that is shown first; frame, opacity: see `view`
    Raises ValueError for an index outside the split or forecasts of other videos.
    """
    _check_index(split, index)
    masks = split.masks
    answers = {name: _masks_of(name, split, given) for name, given in (forecasts or {}).items()}

    def clip_masks(at: int) -> dict[str, np.ndarray]:
        truth = {} if masks is None else {TRUTH: masks[at]}
        return truth | {name: answer(at) for name, answer in answers.items()}

    def clip(at: int) -> dict[str, Any]:
        return pack_clip(split.frames[at], clip_masks(at), title=_title(split, at), trajectory=split.annotation(at))

    def still(at: int) -> bytes:
        versions, named = {"frames": split.frames[at]}, clip_masks(at)
        panels = [{"title": name, "images": "frames", "mask": name} for name in named]
        return filmstrip_png(panel_rows(versions, named, panels or [{"title": "", "images": "frames", "mask": None}]))

    return Gallery(
        split.numbers,
        clip,
        selections=selections_of(split) | worst_first(split, answers),
        still=still,
        index=index,
        options={"frame": frame, "opacity": opacity},
    )


def compare(
    systems: Mapping[str, Forecasts],
    split: SplitCache,
    *,
    evaluations: Mapping[str, Evaluation] | None = None,
    index: int = 0,
    errors: bool = False,
) -> Gallery:
    """What several systems forecast for the videos of a labelled split, side by side and in step with the truth.

    systems: by name, a system, which forecasts a video when it is looked at, or an evaluation or its masks (N, H, W)
    A system's panel shows its masks of the given frames, and of the future frames those that it forecasts. A system
    that forecasts objects also shows them from above, with their true paths.
    evaluations: of those systems, by which the videos can be sorted at once; else sorting forecasts the whole split,
        shows how far it is, and keeps what it has when it is stopped
    index: of the video that is shown first; errors: show errors at first, not masks
    Raises ValueError for a split without masks, an index outside it, or masks of other videos.
    """
    _check_index(split, index)
    if split.masks is None:
        raise ValueError("forecasts cannot be compared on a split without masks; choose train or val")
    truth = split.masks
    forecasts = {
        name: cache(partial(_forecast, given, split))
        for name, given in systems.items()
        if isinstance(given, Forecaster)
    }
    answers = {name: _masks_of(name, split, forecasts.get(name, given)) for name, given in systems.items()}
    known = {name: _masks_of(name, split, found) for name, found in (evaluations or {}).items() if name in systems}

    def score(at: int, name: str) -> str:
        return f"Jaccard {jaccard(answers[name](at)[-1:], np.array(truth[at, -1:])):.3f}"

    def clip(at: int) -> dict[str, Any]:
        panels = [{"title": name, "mask": name, "note": score(at, name)} for name in answers]
        masks = {TRUTH: truth[at]} | {name: answer(at) for name, answer in answers.items()}
        outlooks = {name: forecast(at)[1] for name, forecast in forecasts.items()}
        trajectory = split.annotation(at)
        return pack_clip(
            split.frames[at],
            masks,
            panels=[{"title": TRUTH, "mask": TRUTH}, *panels],
            title=_title(split, at),
            trajectory=trajectory,
            plans=[pack_plan(name, outlook, trajectory) for name, outlook in outlooks.items() if outlook],
        )

    def still(at: int) -> bytes:
        figure, axes = plt.subplots(1, 1 + len(answers), figsize=(9, 1.9), squeeze=False)
        last = CLIP_FRAMES - 1
        show_overlay(axes[0, 0], split.frames[at, last], truth[at, last], title=f"frame {last}, {TRUTH}")
        for ax, (name, answer) in zip(axes[0, 1:], answers.items(), strict=True):
            plot_error_map(ax, answer(at)[-1], truth[at, last], title=f"{name}\n{score(at, name)}", legend=False)
        return closed_figure_png(figure)

    return Gallery(
        split.numbers,
        clip,
        selections=worst_first(split, answers | known) | selections_of(split),
        still=still,
        index=index,
        options={"frame": CLIP_FRAMES - 1, "show": "errors" if errors else "masks"},
    )


def _check_index(split: SplitCache, index: int) -> None:
    if not 0 <= index < len(split):
        raise ValueError(f"index {index} is not in 0..{len(split) - 1}, the videos of the split")


def _title(split: SplitCache, index: int) -> str:
    return f"video {split.numbers[index]} of {split.split}"


def _masks_of(name: str, split: SplitCache, given: Any) -> Callable[[int], np.ndarray]:
    """A function of a video's index that returns a system's masks (T, H, W), NO_MASK where it has none.

    given: an evaluation, masks of frame 21, or a function as `_forecast`
    """
    if callable(given):
        forecast: Callable[[int], Any] = given
        return lambda index: forecast(index)[0]
    if isinstance(given, Evaluation) and not np.array_equal(given.numbers, split.numbers):
        raise ValueError(f"the evaluation of {name!r} is of other videos than the split {split.split!r}")
    masks = given.predictions if isinstance(given, Evaluation) else np.asarray(given)
    if len(masks) != len(split):
        raise ValueError(f"{name!r} has {len(masks)} masks; the split has {len(split)} videos")
    return lambda index: np.array(masks[index])[None]


def _forecast(system: Forecaster, split: SplitCache, index: int) -> tuple[np.ndarray, Outlook | None]:
    """(22, H, W): the system's own masks of the given frames, then its forecasts; and the objects if it has some."""
    height, width = split.frames.shape[-2:]
    frames, masks = np.array(split.frames[index]), None if split.masks is None else np.array(split.masks[index])
    clip = Clip(_title(split, index), frames, masks)
    forecast = forecast_clip(system, clip, size=(height, width))
    unknown = np.full((height, width), NO_MASK, dtype=np.uint8)
    ahead = [unknown if mask is None else nearest_scale(mask, height=height, width=width) for mask in forecast.masks]
    past = nearest_scale(forecast.past_masks, height=height, width=width)
    return np.concatenate([past, np.stack(ahead)]).astype(np.uint8), forecast.outlook
