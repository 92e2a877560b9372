"""Forecast masks with a trained SimVP: all at once or as a rollout, in any representation."""

import torch
from torch import Tensor, nn

from vidseg_utils.models import rollout
from vidseg_utils.models.location_maps import Places, moved, paint
from vidseg_utils.models.mask_simvp import decide, only_seen
from vidseg_utils.task import FUTURE_FRAMES


def forecast_scores(
    model: nn.Module,
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
        return torch.cat([paint(places) for places in forecast_places(model, past, **how)], dim=1)
    return rollout(model, past, FUTURE_FRAMES, feedback=decide, **how)


def forecast_places(
    model: nn.Module,
    past: Tensor,
    *,
    ahead: int = FUTURE_FRAMES,
    truth: Tensor | None = None,
    truth_probability: float = 0.0,
) -> list[Places]:
    """As `forecast_scores`, for "objects": where they will be, in steps of `ahead` frames up to frame 21.

    What is fed back is each object's last mask, moved: painted chances would grow from step to step.
    """
    if ahead == FUTURE_FRAMES:
        return [model(past, as_places=True)]
    steps: list[Places] = []

    def next_masks(window: Tensor) -> Tensor:
        steps.append(model(window, last=ahead, as_places=True))
        return moved(steps[-1])

    rollout(next_masks, past, FUTURE_FRAMES, ahead=ahead, truth=truth, truth_probability=truth_probability)
    rest = FUTURE_FRAMES - ahead * (len(steps) - 1)  # the last step may reach beyond frame 21
    return [*steps[:-1], steps[-1]._replace(logits=steps[-1].logits[:, :rest])]


def forecast_last(model: nn.Module, past: Tensor, *, ahead: int = FUTURE_FRAMES) -> Tensor:
    """past: (B, 11, H, W) class ids -> (B, H, W), those of frame 21; logits go through the class filter first."""
    return last_mask(model(past, last=1) if ahead == FUTURE_FRAMES else forecast_scores(model, past, ahead=ahead), past)


def last_mask(forecast: Tensor | Places, past: Tensor) -> Tensor:
    """Scores (B, T, 49 or 1, H, W) or places -> the class ids (B, H, W) of the last frame, none that the past lacks."""
    last = paint(forecast, last=1) if isinstance(forecast, Places) else forecast[:, -1:]
    return decide(last if last.shape[2] == 1 else only_seen(last, past))[:, 0]
