"""One epoch: `train_one_epoch` trains on all batches of a loader, `evaluate` computes the metrics of a validation."""

import math
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import find_batch_size
from torch import nn
from torch.utils.data import DataLoader

from vidseg_utils.training.fit_config import Schedule
from vidseg_utils.training.processes import average_gradients, share_weight
from vidseg_utils.training.progress import TrainingBar

Step = Callable[[nn.Module, Any], torch.Tensor]  # (model, batch) -> scalar loss
Validate = Callable[[nn.Module, DataLoader, torch.device], dict[str, float]]
LOSS_CHECK_BATCHES = 10  # the loss is read after every tenth batch: each reading waits for the GPU


def train_one_epoch(
    model: nn.Module,
    loader: DataLoader,
    *,
    step: Step,
    optimiser: torch.optim.Optimizer,
    schedule: Schedule,
    accelerator: Accelerator,
    clip_norm: float | None = None,
    progress: TrainingBar | None = None,
) -> float:
    """Train on all batches of `loader`; returns the mean loss per sample. Raises ValueError if it is not finite."""
    model.train()
    total = torch.zeros((), device=accelerator.device)  # on the device: reading it would wait for the GPU
    n_samples = 0
    for index, batch in enumerate(loader, start=1):
        with accelerator.accumulate(model):
            loss = step(model, batch)
            batch_size = find_batch_size(batch)
            accelerator.backward(loss * share_weight(batch_size, accelerator))
            if accelerator.sync_gradients:
                average_gradients(model, accelerator)
                if clip_norm is not None:
                    accelerator.clip_grad_norm_(model.parameters(), clip_norm)
                optimiser.step()
                if not accelerator.optimizer_step_was_skipped:
                    schedule.after_step()
                optimiser.zero_grad()
        total += loss.detach() * batch_size
        n_samples += batch_size
        if index % LOSS_CHECK_BATCHES == 0 or index == len(loader):
            mean = total.item() / n_samples
            if not math.isfinite(mean):
                raise ValueError(
                    f"the loss is {mean} at batch {index}; lower learning_rate, set clip_norm, or look for bad values "
                    "in the data; earlier epochs are kept"
                )
            if progress is not None:
                progress.show_loss(mean)
        if progress is not None:
            progress.update()
    all_processes = accelerator.reduce(torch.stack([total, torch.full_like(total, n_samples)]))
    return all_processes[0].item() / all_processes[1].item()


def evaluate(model: nn.Module, loader: DataLoader, *, validate: Validate, device: torch.device) -> dict[str, float]:
    """The metrics of `validate`, computed in eval mode and without gradients; afterwards every mode is restored."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            return {name: float(value) for name, value in validate(model, loader, device).items()}
    finally:
        for module, mode in modes.items():
            module.training = mode
