"""Settings of a training: `FitConfig`, and the optimiser and the learning-rate schedule that it selects."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.optim import lr_scheduler

from vidseg_utils.checks import check_choice, check_positive

OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULERS = ("plateau", "onecycle", "cosine", "none")


@dataclass(frozen=True)
class FitConfig:
    """All settings of `fit` apart from model and data. Raises ValueError for an impossible value."""

    epochs: int = 10
    batch_size: int = 16  # samples of all processes together, in training and validation
    learning_rate: float = 1e-3  # the initial one; for "onecycle" the highest one
    weight_decay: float = 0.0  # "adam" adds it to the gradient, "adamw" shrinks the weights
    optimiser: str = "adam"  # or "adamw"
    scheduler: str = "plateau"  # after each epoch; "onecycle" and "cosine" (down to 0) after each step; or "none"
    plateau_patience: int = 2  # epochs without a better monitored metric before the learning rate falls
    plateau_factor: float = 0.1  # the learning rate is then multiplied by this
    # "no" is float32; "bf16" and "fp16" (GPU only) use autocast; "auto" is the fastest of them on this device, or that
    # of the run folder if its training has begun
    precision: str = "no"
    clip_norm: float | None = None  # largest norm of the whole gradient; None: no clipping
    accumulation_steps: int = 1  # batches whose gradients are averaged for one step
    seed: int = 0  # of the order, the augmentation and the dropout of every epoch
    num_workers: int = 0  # loader processes, at most one per core; 0 loads in the main process
    monitor: str = "loss"  # the validation metric that chooses the best epoch
    mode: Literal["min", "max"] = "min"  # whether a small or a large value of it is good
    # None: what pays for this network and device, see `speedups`
    channels_last: bool | None = None  # memory layout for convolutions
    compile: bool | None = None  # torch.compile
    data_on_device: bool | None = None  # the training data are on the GPU, and augmented there

    def __post_init__(self):
        check_positive(epochs=self.epochs, batch_size=self.batch_size, accumulation_steps=self.accumulation_steps)
        check_choice("optimiser", self.optimiser, OPTIMISERS)
        check_choice("scheduler", self.scheduler, SCHEDULERS)
        check_choice("precision", self.precision, ("auto", "no", "bf16", "fp16"))
        check_choice("mode", self.mode, ("min", "max"))
        for name in ("learning_rate", "plateau_factor", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number, got {value}")
        for name in ("weight_decay", "plateau_patience", "seed", "num_workers"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")

    def is_better(self, value: float, other: float) -> bool:
        """Whether `value` of the monitored metric is better than `other`."""
        return value > other if self.mode == "max" else value < other


def build_optimiser(model: torch.nn.Module, config: FitConfig) -> torch.optim.Optimizer:
    """The optimiser for all trainable weights of `model`."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not weights:
        raise ValueError("the model has no weights to learn: none of them has requires_grad")
    return OPTIMISERS[config.optimiser](
        weights,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=all(weight.device.type in ("cpu", "cuda") for weight in weights) or None,
    )


class Schedule:
    """The learning-rate schedule: a torch scheduler that advances after every optimiser step or after every epoch."""

    def __init__(self, optimiser: torch.optim.Optimizer, config: FitConfig, *, n_steps: int):
        self.scheduler: Any = None
        self.kind = config.scheduler
        if self.kind == "onecycle":
            rise = max(0.1, min(0.3, 2 / n_steps))  # a tenth of the steps, but at least two of them, as torch requires
            self.scheduler = lr_scheduler.OneCycleLR(
                optimiser, max_lr=config.learning_rate, total_steps=n_steps, pct_start=rise
            )
        elif self.kind == "cosine":
            self.scheduler = lr_scheduler.CosineAnnealingLR(optimiser, T_max=n_steps)
        elif self.kind == "plateau":
            self.scheduler = lr_scheduler.ReduceLROnPlateau(
                optimiser, mode=config.mode, patience=config.plateau_patience, factor=config.plateau_factor
            )

    def after_step(self) -> None:
        """Advance a schedule that counts optimiser steps."""
        if self.kind in ("onecycle", "cosine"):
            self.scheduler.step()

    def after_epoch(self, metric: float) -> None:
        """Advance a schedule that counts epochs. metric: the monitored one."""
        if self.kind == "plateau":
            self.scheduler.step(metric)

    def state_dict(self) -> dict[str, Any]:
        """State for `load_state_dict`."""
        return self.scheduler.state_dict() if self.scheduler else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state."""
        if self.scheduler:
            self.scheduler.load_state_dict(state)


def truth_probability(epoch: int, epochs: int) -> float:
    """Scheduled sampling: probability that a training rollout gets the true frame instead of its own output.

    It falls linearly from 1 in epoch 1 to 0 in the last epoch (Bengio et al., 2015).
    """
    return 1 - (epoch - 1) / max(1, epochs - 1)
