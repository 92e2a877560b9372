"""The training loop: `fit` trains epoch by epoch and writes the run folder.

Accelerate handles devices, precision, several GPUs and gradient accumulation. Every epoch is seeded by (seed, epoch),
so a training that was interrupted and resumed gives the same weights as an uninterrupted one: bit for bit on a CPU, up
to rounding on a GPU, which adds up in an order of its own.
"""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.utils.data import DataLoader, Dataset

from vidseg_utils.data.device_batches import hold_on_device
from vidseg_utils.device import find_device, reusing_memory
from vidseg_utils.run_folders import read_history
from vidseg_utils.training.checkpoints import Checkpoints
from vidseg_utils.training.epoch import Step, Validate, evaluate, train_one_epoch
from vidseg_utils.training.fit_config import FitConfig, Schedule, build_optimiser
from vidseg_utils.training.loaders import build_loaders, count_samples, seed_everything
from vidseg_utils.training.processes import build_accelerator, joined, same_in_all_processes
from vidseg_utils.training.progress import TrainingBar
from vidseg_utils.training.retraining import claim_or_replace, locked_unless_finished
from vidseg_utils.training.run_folder import finish, is_finished, write_history
from vidseg_utils.training.speedups import choose_speedups
from vidseg_utils.training.weights import load_weights

# of the settings that runs of earlier versions lack
EARLIER_SETTINGS = replace(FitConfig(), channels_last=True, compile=False, data_on_device=False)


def fit(
    model: nn.Module,
    train_data: Dataset,
    val_data: Dataset,
    *,
    step: Step,
    validate: Validate,
    config: FitConfig,
    run: Path | str,
    description: dict[str, Any],
    device: torch.device | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
    """Train `model` and write the run folder. An interrupted training resumes; a finished one is loaded. If another
    process trains in the folder, this one waits, and then loads what that one has trained.

    train_data, val_data: map-style data sets; `data.datasets.collate` builds the batches
    step: (model, batch on the device) -> scalar loss
    validate: (model, loader, device) -> metrics; the loader's batches need not be on the device yet
    description: written to config.json beside the settings of the fit; `load_model` builds the model from its entry
        {"model": {"name", "config"}}; "trained_on" is the identity of the training data
    device: of the training; None: a GPU if there is one. With several processes each has its own, see `processes`.
    on_epoch: called at the start of each epoch with its number, from 1
    returns: the history, one dict per epoch. `model` then holds the weights of the best epoch, on the device of the
        training.
    With several processes (`accelerate launch`) each trains on its share of every batch, and the first one validates
    and writes for all.
    Raises ValueError if the folder belongs to other data or settings, for empty data, and for a loss or a
    monitored metric that is not finite.
    """
    run, device = Path(run), device or find_device()
    samples = {"train_samples": count_samples(train_data), "val_samples": count_samples(val_data)}
    for key, name in (("train_samples", "training"), ("val_samples", "validation")):
        if samples[key] == 0:
            raise ValueError(f"the {name} data are empty: {run.name} cannot be fitted")
    network = description.get("model", {}).get("name")
    config = same_in_all_processes(
        lambda n: choose_speedups(
            config, run=run, network=network, train_data=train_data, device=device, n_processes=n
        ),
        device,
    )
    accelerator = build_accelerator(config, device)
    with locked_unless_finished(run) if accelerator.is_main_process else contextlib.nullcontext():
        if accelerator.is_main_process:
            settings = {**description, **samples, "fit": asdict(config)}
            claim_or_replace(run, settings, defaults={"fit": asdict(EARLIER_SETTINGS)})
        accelerator.wait_for_everyone()
        model.to(accelerator.device)
        if not is_finished(run):
            if config.channels_last:
                model.to(memory_format=torch.channels_last)
            if config.data_on_device:
                train_data, val_data = (hold_on_device(data, accelerator.device) for data in (train_data, val_data))
            order = torch.Generator()
            loaders = build_loaders(
                train_data,
                val_data,
                config,
                order=order,
                device=accelerator.device,
                process=accelerator.process_index,
                n_processes=accelerator.num_processes,
            )
            try:
                with joined(model, accelerator), reusing_memory(accelerator.device):
                    best = _fit_epochs(model, *loaders, order, step, validate, config, run, accelerator, on_epoch)
            finally:
                accelerator.unwrap_model(model, keep_fp32_wrapper=False)
                vars(model).pop("forward", None)  # the autocast wrapper; the class's own method is left
            if accelerator.is_main_process:
                finish(run, sha256=best, n_processes=accelerator.num_processes)
            accelerator.wait_for_everyone()
        load_weights(run, model)
        return read_history(run)


def _fit_epochs(
    model: nn.Module,
    train_loader: DataLoader,
    val_loader: DataLoader,
    order: torch.Generator,
    step: Step,
    validate: Validate,
    config: FitConfig,
    run: Path,
    accelerator: Accelerator,
    on_epoch: Callable[[int], None] | None,
) -> str:
    """Train the epochs that the run folder does not hold yet, and write each one to it.

    returns: the checksum of the best weights
    """
    # only autocast: `processes` shares the work
    network: Any = accelerator.prepare_model(model, evaluation_mode=True)
    if config.compile:
        network = torch.compile(network)
    optimiser = inner_optimiser = build_optimiser(model, config)
    if accelerator.scaler is not None:  # elsewhere Accelerate's only costs time: each step looks for a package on disk
        optimiser = accelerator.prepare_optimizer(inner_optimiser)
    train_loader = prepare_data_loader(
        train_loader,
        accelerator.device,
        num_processes=1,  # the loader has the share of this process already
        process_index=0,
        put_on_device=True,
        non_blocking=accelerator.device.type == "cuda",
    )
    n_batches = len(train_loader)
    n_steps = config.epochs * math.ceil(n_batches / config.accumulation_steps)
    schedule = Schedule(inner_optimiser, config, n_steps=n_steps)
    stateful = {"optimiser": optimiser, "schedule": schedule}
    if accelerator.scaler is not None:
        stateful["scaler"] = accelerator.scaler

    checkpoints = Checkpoints(run, model, config, stateful=stateful)
    checkpoints.resume(write=accelerator.is_main_process)
    done = len(checkpoints.history)
    with TrainingBar(
        run.name, config, checkpoints.history, n_batches=n_batches, show=accelerator.is_main_process
    ) as progress:
        for epoch in range(done + 1, config.epochs + 1):
            progress.start_epoch(epoch)
            if on_epoch is not None:
                on_epoch(epoch)
            started, learning_rate = time.perf_counter(), optimiser.param_groups[0]["lr"]
            seed_everything(config.seed, epoch, accelerator.process_index)
            order.manual_seed(config.seed * 1_000_003 + epoch)  # the same on every process
            train_loss = train_one_epoch(
                network,
                train_loader,
                step=step,
                optimiser=optimiser,
                schedule=schedule,
                accelerator=accelerator,
                clip_norm=config.clip_norm,
                progress=progress,
            )
            progress.start_validation(train_loss)
            metrics = {}
            if accelerator.is_main_process:
                metrics = evaluate(model, val_loader, validate=validate, device=accelerator.device)
            (metrics,) = broadcast_object_list([metrics])  # every process uses those of the first
            value = _monitored_metric(metrics, model, config, epoch)
            schedule.after_epoch(value)
            seconds = round(time.perf_counter() - started, 3)
            metrics = {name: metric if math.isfinite(metric) else None for name, metric in metrics.items()}
            row = {"epoch": epoch, "train_loss": train_loss, **metrics, "learning_rate": learning_rate}
            checkpoints.add({**row, "seconds": seconds}, write=accelerator.is_main_process)
            progress.end_epoch(train_loss, value)
        progress.end_training()
    if accelerator.is_main_process:
        write_history(run, checkpoints.history)  # again, in case an earlier process was killed before it did
    return checkpoints.best_sha256


def _monitored_metric(metrics: dict[str, float], model: nn.Module, config: FitConfig, epoch: int) -> float:
    """The metric that chooses the best epoch. Raises ValueError if it is missing, or it or a weight is not finite."""
    if config.monitor not in metrics:
        raise ValueError(f"unknown monitor {config.monitor!r}; choose from the validation metrics {sorted(metrics)}")
    value = metrics[config.monitor]
    if not math.isfinite(value) or not all(tensor.isfinite().all() for tensor in model.state_dict().values()):
        raise ValueError(
            f"after epoch {epoch} the weights or the validation {config.monitor} ({value}) are not finite; "
            "lower learning_rate or set clip_norm; earlier epochs are kept"
        )
    return value
