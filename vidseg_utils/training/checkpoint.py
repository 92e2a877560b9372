"""Trained models on disk: weights.safetensors, and config.json beside it that says how to build the model.

`train_or_load` is what a notebook calls: it trains once, goes on after an interruption, and loads from then on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from vidseg_utils.models import build_model
from vidseg_utils.paths import write_json
from vidseg_utils.training.config import FitConfig
from vidseg_utils.training.loop import Step, Validate, fit
from vidseg_utils.training.run_folder import CONFIG, WEIGHTS, read_config
from vidseg_utils.training.state import read_weights, write_weights


def save_model(run: Path | str, model: nn.Module, *, name: str, config: dict[str, Any]) -> None:
    """Keep a model that was not trained by `fit`, so that `load_model` builds it again.

    name, config: what `build_model` was given; other settings in config.json stay.
    """
    run = Path(run)
    write_weights(run / WEIGHTS, model)
    write_json(run / CONFIG, {**read_config(run), "model": {"name": name, "config": config}})


def load_model(run: Path | str, device: str | torch.device = "cpu") -> nn.Module:
    """The run's model with its best weights, in eval mode, on `device`.

    Raises ValueError, naming the file and the cure, where one is missing, damaged or does not fit the other.
    """
    run = Path(run)
    if not run.is_dir():
        raise ValueError(f"there is no run folder {run}; train it first")
    try:
        described = read_config(run)["model"]
        name, config = described["name"], dict(described["config"])
    except (KeyError, TypeError, ValueError) as error:
        reason = "" if isinstance(error, KeyError) else f" ({error})"
        raise ValueError(f"{run / CONFIG} does not say which model the run holds{reason}; train it again") from None
    try:
        model = build_model(name, **config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{run / CONFIG} describes a model that cannot be built: {error}") from None
    read_weights(run / WEIGHTS, model)
    return model.to(device).eval()


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
