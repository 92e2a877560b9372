"""How a model is trained: `FitConfig`, and the optimiser and the schedule that it names."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import lr_scheduler

from vidseg_utils.checks import check_choice, check_positive

OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULERS = ("plateau", "onecycle", "cosine", "none")


@dataclass(frozen=True)
class FitConfig:
    """Everything that decides what `fit` does, apart from model and data. Raises ValueError for what makes no sense."""

    epochs: int = 10
    batch_size: int = 16  # samples a step and process, in training and validation
    learning_rate: float = 1e-3  # at the start; the highest for "onecycle"
    weight_decay: float = 0.0  # Adam adds it to the gradient, AdamW shrinks the weights
    optimiser: str = "adam"  # or "adamw"
    scheduler: str = "plateau"  # by the monitored metric; "onecycle" and "cosine" (to 0) move every step; or "none"
    plateau_patience: int = 2  # epochs without a better metric before the learning rate falls
    plateau_factor: float = 0.1  # what it is then multiplied by
    precision: str = "no"  # float32; "bf16" or "fp16" (on a GPU) run the model in autocast, see `build_accelerator`
    clip_norm: float | None = None  # largest norm of the gradient of all weights together; None never clips
    accumulation_steps: int = 1  # batches whose gradients are averaged before one step
    seed: int = 0  # decides order, augmentation and dropout of every epoch
    num_workers: int = 0  # processes that load batches, at most one a core; 0 loads in the main one
    monitor: str = "loss"  # key of the validation metrics that chooses the best epoch
    mode: str = "min"  # "min" or "max": which values of it are good
    channels_last: bool = True  # memory layout of convolutions; nearly always the faster one

    def __post_init__(self):
        check_positive(epochs=self.epochs, batch_size=self.batch_size, accumulation_steps=self.accumulation_steps)
        check_choice("optimiser", self.optimiser, OPTIMISERS)
        check_choice("scheduler", self.scheduler, SCHEDULERS)
        check_choice("precision", self.precision, ("no", "bf16", "fp16"))
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
    """The optimiser over all weights of `model` that learn."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not weights:
        raise ValueError("the model has no weights to learn (none has requires_grad)")
    return OPTIMISERS[config.optimiser](
        weights,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=all(weight.device.type in ("cpu", "cuda") for weight in weights) or None,
    )


class Schedule:
    """A torch scheduler, moved at the right time: after every step of the optimiser, or after every epoch."""

    def __init__(self, optimiser: torch.optim.Optimizer, config: FitConfig, *, n_steps: int):
        self.scheduler: Any = None
        self.kind = config.scheduler
        if self.kind == "onecycle":
            rise = max(0.1, min(0.3, 2 / n_steps))  # a tenth of the steps; the library needs more than one of them
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
        """Call after every step of the optimiser."""
        if self.kind in ("onecycle", "cosine"):
            self.scheduler.step()

    def after_epoch(self, metric: float) -> None:
        """Call after every epoch with the monitored metric."""
        if self.kind == "plateau":
            self.scheduler.step(metric)

    def state_dict(self) -> dict[str, Any]:
        """What must be kept to go on later."""
        return self.scheduler.state_dict() if self.scheduler else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a kept state."""
        if self.scheduler:
            self.scheduler.load_state_dict(state)


def truth_probability(epoch: int, epochs: int) -> float:
    """Scheduled sampling: how often a rollout in training is fed the truth instead of its own output.

    Always in epoch 1, then linearly less, and never in the last epoch (Bengio et al., 2015).
    """
    return 1 - (epoch - 1) / max(1, epochs - 1)
