"""Trained models on disk: weights.safetensors, and config.json beside it that says how to build the model.

`train_or_load` is what a notebook calls: it trains once, goes on after an interruption, and loads from then on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from vidseg_utils.training.fit import Step, Validate, fit
from vidseg_utils.training.fit_config import FitConfig


def train_or_load(
    model: nn.Module,
    train_data: Dataset,
    val_data: Dataset,
    *,
    step: Step,
    validate: Validate,
    config: FitConfig,
    run: Path | str,
    description: dict[str, Any],
    on_epoch: Callable[[int], None] | None = None,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """`fit`, or a finished run loaded; returns the model with its best weights, in eval mode, and the history."""
    history = fit(
        model,
        train_data,
        val_data,
        step=step,
        validate=validate,
        config=config,
        run=run,
        description=description,
        on_epoch=on_epoch,
    )
    return model.eval(), history
