"""Autoregression: a model forecasts further than its own frames by reading its own output."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vidseg_utils.checks import check_positive


def rollout(
    model: Callable[[Tensor], Tensor],
    past: Shaped[Tensor, "B T *input"],
    n_frames: int,
    *,
    ahead: int = 1,
    feedback: Callable[[Tensor], Tensor] | None = None,
    truth: Shaped[Tensor, "B _ *input"] | None = None,
    truth_probability: float = 0.0,
) -> Shaped[Tensor, "B {n_frames} *output"]:
    """Forecast `n_frames` by feeding the model its own output, `ahead` frames at a time.

    Each step takes the last `ahead` frames of the model's output as the next ones (SimVP's skip then comes from the
    newest input); with `ahead` = T it takes the whole output. Gradients flow through all steps.

    past: (B, T, C, H, W) for the model's own T; masks of class ids have no axis C
    feedback: turns the output for `ahead` frames into the next input, for example a softmax, or an argmax for a model
        of masks; by default the output is the next input
    truth: the n_frames true inputs, for scheduled sampling: each step feeds them to a clip instead of the model's own
        output with probability `truth_probability` (from torch's global generator)
    returns: the model's output, without `feedback`
    Bengio, Vinyals, Jaitly, Shazeer: "Scheduled Sampling for Sequence Prediction" (2015).
    """
    check_positive(n_frames=n_frames, ahead=ahead)
    if ahead > past.shape[1]:
        raise ValueError(f"ahead is {ahead}, but the model gives only {past.shape[1]} frames at a time")
    if not 0 <= truth_probability <= 1:
        raise ValueError(f"truth_probability must be between 0 and 1, got {truth_probability}")
    if truth_probability and (truth is None or truth.shape[1] < n_frames):
        raise ValueError(f"truth_probability {truth_probability} needs truth of {n_frames} frames")
    window, outputs = past, []
    for start in range(0, n_frames, ahead):
        output = model(window)[:, -ahead:]
        outputs.append(output)
        if start + ahead >= n_frames:
            break
        next_input = feedback(output) if feedback else output
        if truth is not None and truth_probability:
            use_truth = torch.rand(len(past), device=past.device) < truth_probability  # (B,)
            use_truth = use_truth.view(-1, *[1] * (next_input.ndim - 1))
            true_input = truth[:, start : start + ahead].to(next_input.dtype)
            next_input = torch.where(use_truth, true_input, next_input)
        window = torch.cat([window, next_input], dim=1)[:, -past.shape[1] :]
    return torch.cat(outputs, dim=1)[:, :n_frames]


def checkpointed(model: nn.Module) -> Callable[..., Tensor]:
    """The model with activation checkpointing: activations are recomputed in the backward pass instead of stored.

    Training in a rollout needs it: the activations of one step take 6 GiB for 4 clips at the published size, and a
    rollout has 11 steps.
    Chen, Xu, Zhang, Guestrin: "Training Deep Nets with Sublinear Memory Cost" (2016).
    """
    return partial(checkpoint, model, use_reentrant=False)
