"""Forecast masks with a trained SimVP: all at once or as a rollout, in any representation."""

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
    model: Callable[..., Any],
    past: Tensor,
    *,
    ahead: int = FUTURE_FRAMES,
    truth: Tensor | None = None,
    truth_probability: float = 0.0,
) -> Tensor:
    """past: (B, 11, H, W) class ids -> (B, 11, 49 or 1, H, W): all at once, or `ahead` masks at a time, fed back.

    truth: (B, 11, H, W) class ids, fed instead with probability `truth_probability`
    """
    if ahead == FUTURE_FRAMES:
        return model(past)
    how = {"ahead": ahead, "truth": truth, "truth_probability": truth_probability}
    if getattr(model, "representation", None) == "objects":
        return torch.cat([maps_to_logits(maps) for maps in forecast_location_maps(model, past, **how)], dim=1)
    return rollout(model, past, FUTURE_FRAMES, feedback=scores_to_masks, **how)


def forecast_location_maps(
    model: Callable[..., Any],
    past: Tensor,
    *,
    ahead: int = FUTURE_FRAMES,
    truth: Tensor | None = None,
    truth_probability: float = 0.0,
) -> list[LocationMaps]:
    """As `forecast_scores`, for "objects": their location maps, in steps of `ahead` frames up to frame 21.

    Each step is fed the objects' last masks, moved. Masks drawn from the logits would grow from step to step.
    """
    if ahead == FUTURE_FRAMES:
        return [model(past, as_location_maps=True)]
    steps: list[LocationMaps] = []

    def next_masks(window: Tensor) -> Tensor:
        steps.append(model(window, last_frames=ahead, as_location_maps=True))
        return move_masks(steps[-1])

    rollout(next_masks, past, FUTURE_FRAMES, ahead=ahead, truth=truth, truth_probability=truth_probability)
    rest = FUTURE_FRAMES - ahead * (len(steps) - 1)  # the last step may reach beyond frame 21
    return [*steps[:-1], steps[-1]._replace(logits=steps[-1].logits[:, :rest])]


def forecast_last(model: Callable[..., Any], past: Tensor, *, ahead: int = FUTURE_FRAMES) -> Tensor:
    """past: (B, 11, H, W) class ids -> (B, H, W), those of frame 21; logits go through the class filter first."""
    scores = model(past, last_frames=1) if ahead == FUTURE_FRAMES else forecast_scores(model, past, ahead=ahead)
    return last_mask(scores, past)


def last_mask(forecast: Tensor | LocationMaps, past: Tensor) -> Tensor:
    """Class ids (B, H, W) of the last frame, without classes that the past lacks.

    forecast: scores (B, T, 49 or 1, H, W) or location maps
    """
    last = maps_to_logits(forecast, last_frames=1) if isinstance(forecast, LocationMaps) else forecast[:, -1:]
    return scores_to_masks(last if last.shape[2] == 1 else suppress_unseen_classes(last, past))[:, 0]
