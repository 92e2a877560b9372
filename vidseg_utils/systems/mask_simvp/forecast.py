"""Forecast masks with a SimVP on masks: all frames at once or in a rollout, in any representation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vidseg_utils.models import (
    LocationMaps,
    maps_to_logits,
    move_masks,
    rollout,
    scores_to_masks,
    suppress_unseen_classes,
)
from vidseg_utils.task import FUTURE_FRAMES


def forecast_scores(
    model: Callable[..., Tensor],
    past: Tensor,
    *,
    ahead: int = FUTURE_FRAMES,
    truth: Tensor | None = None,
    truth_probability: float = 0.0,
) -> Tensor:
    """Forecast frames 11..21 as the output of the model.

    past: (B, 11, H, W) class ids
    ahead: frames per step of a rollout, whose masks are the next input; 11: all at once
    truth: (B, 11, H, W) class ids, the next input with probability `truth_probability` (scheduled sampling)
    returns: (B, 11, 49, H, W) logits, or (B, 11, 1, H, W) class numbers
    """
    if ahead == FUTURE_FRAMES:
        return model(past)
    settings: dict[str, Any] = {"ahead": ahead, "truth": truth, "truth_probability": truth_probability}
    if getattr(model, "representation", None) == "objects":
        return torch.cat([maps_to_logits(maps) for maps in forecast_location_maps(model, past, **settings)], dim=1)
    return rollout(model, past, FUTURE_FRAMES, feedback=scores_to_masks, **settings)


def forecast_location_maps(
    model: Callable[..., Any],
    past: Tensor,
    *,
    ahead: int = FUTURE_FRAMES,
    truth: Tensor | None = None,
    truth_probability: float = 0.0,
) -> list[LocationMaps]:
    """Like `forecast_scores` for the representation "objects", but returns the location maps of each rollout step.

    The input of the next step is each object's last mask, moved. Masks drawn from the logits would grow at each step.
    """
    if ahead == FUTURE_FRAMES:
        return [model(past, as_location_maps=True)]
    steps: list[LocationMaps] = []

    def next_masks(window: Tensor) -> Tensor:
        steps.append(model(window, last_frames=ahead, as_location_maps=True))
        return move_masks(steps[-1])

    rollout(next_masks, past, FUTURE_FRAMES, ahead=ahead, truth=truth, truth_probability=truth_probability)
    n_last = FUTURE_FRAMES - ahead * (len(steps) - 1)  # the last step may extend beyond frame 21
    return [*steps[:-1], steps[-1]._replace(logits=steps[-1].logits[:, :n_last])]


def forecast_last(model: Callable[..., Tensor], past: Tensor, *, ahead: int = FUTURE_FRAMES) -> Tensor:
    """past: (B, 11, H, W) class ids -> (B, H, W), the class ids of frame 21, without classes that the past lacks."""
    return scores_to_masks(forecast_last_scores(model, past, ahead=ahead)[:, None])[:, 0]


def forecast_last_scores(model: Callable[..., Tensor], past: Tensor, *, ahead: int = FUTURE_FRAMES) -> Tensor:
    """past: (B, 11, H, W) class ids -> logits (B, 49, H, W) of frame 21, or class numbers (B, 1, H, W)."""
    scores = model(past, last_frames=1) if ahead == FUTURE_FRAMES else forecast_scores(model, past, ahead=ahead)
    return _last_scores(scores, past)


def last_mask(forecast: Tensor | LocationMaps, past: Tensor) -> Tensor:
    """Class ids (B, H, W) of the last frame of a forecast, without classes that the past lacks.

    forecast: (B, T, 49 or 1, H, W) or location maps; class numbers (1 channel) are not filtered
    """
    return scores_to_masks(_last_scores(forecast, past)[:, None])[:, 0]


def _last_scores(forecast: Tensor | LocationMaps, past: Tensor) -> Tensor:
    last = maps_to_logits(forecast, last_frames=1) if isinstance(forecast, LocationMaps) else forecast[:, -1:]
    return (last if last.shape[2] == 1 else suppress_unseen_classes(last, past))[:, 0]
