"""The training loop, to be read: `train_one_epoch`, `evaluate`, and `fit`, which calls both and keeps the run folder.

Accelerate does devices, precision, several GPUs and accumulation. Every epoch is seeded by (seed, epoch), so a run
that was killed and is started again ends with the weights of one that was not.
"""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, find_batch_size
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from vidseg_utils.training.fit_config import FitConfig, Schedule, build_optimiser
from vidseg_utils.training.loaders import build_loaders, seed_everything
from vidseg_utils.training.progress import Progress
from vidseg_utils.training.run_folder import WEIGHTS, claim, finish, is_finished, locked, read_history, write_history
from vidseg_utils.training.weights import read_weights

Step = Callable[[nn.Module, Any], torch.Tensor]  # (model, batch) -> scalar loss
Validate = Callable[[nn.Module, DataLoader, torch.device], dict[str, float]]
LOOK_EVERY = 10  # batches between two looks at the loss (on a GPU each look waits for it)


def train_one_epoch(
    model: nn.Module,
    loader: DataLoader,
    *,
    step: Step,
    optimiser: torch.optim.Optimizer,
    schedule: Schedule,
    accelerator: Accelerator,
    clip_norm: float | None = None,
    progress: tqdm | None = None,
) -> float:
    """One pass over `loader`; returns the mean loss of a sample. Raises ValueError when the loss is not finite."""
    model.train()
    total = torch.zeros((), device=accelerator.device)  # stays on the device: reading it would wait for the GPU
    n_samples = 0
    for index, batch in enumerate(loader, start=1):
        with accelerator.accumulate(model):
            loss = step(model, batch)
            accelerator.backward(loss)
            if clip_norm is not None and accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), clip_norm)
            optimiser.step()
            if accelerator.sync_gradients and not accelerator.optimizer_step_was_skipped:
                schedule.after_step()
            optimiser.zero_grad()
        batch_size = find_batch_size(batch)
        total += loss.detach() * batch_size
        n_samples += batch_size
        if index % LOOK_EVERY == 0 or index == len(loader):
            mean = total.item() / n_samples
            if not math.isfinite(mean):
                raise ValueError(
                    f"the loss is {mean} by batch {index}; lower learning_rate, set clip_norm, or look for bad values "
                    "in the data; the epochs before are kept"
                )
            if progress is not None:
                progress.set_postfix_str(f"loss {mean:.4g}", refresh=False)
        if progress is not None:
            progress.update()
    total, n_samples = accelerator.reduce(torch.stack([total, torch.full_like(total, n_samples)]))  # of all processes
    return total.item() / n_samples.item()


def evaluate(model: nn.Module, loader: DataLoader, *, validate: Validate, device: torch.device) -> dict[str, float]:
    """The metrics of `validate`, in eval mode and without gradients; every module gets its mode back afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            return {name: float(value) for name, value in validate(model, loader, device).items()}
    finally:
        for module, mode in modes.items():
            module.training = mode


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
    on_epoch: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
    """Train `model`, keeping everything in the run folder; go on where it was if it was interrupted.

    train_data, val_data: map-style datasets; batches are collated by `data.datasets.collate`
    step: (model, batch on the device) -> scalar loss
    validate: (model, loader, device) -> metrics; its batches are not yet on the device
    description: goes into config.json, with the settings of the fit; {"model": {"name", "config"}} lets `load_model`
        build the model again
    on_epoch: called with the number of each epoch, from 1, as it begins, such as `ScheduledSampling.on_epoch`
    returns: the history, one dict an epoch; `model`, on the device that it was trained on, then holds the weights of
        the best epoch
    With several processes (`accelerate launch`) each trains on its share, and the first validates for all.
    A finished run is not trained again (nor for more epochs): its weights are loaded and its history is returned.
    Raises ValueError if the folder is in use or belongs to other settings, for empty data, and for a loss or a
    monitored metric that is not finite.
    """
    run = Path(run)
    for name, data in (("training", train_data), ("validation", val_data)):
        if len(data) == 0:
            raise ValueError(f"the {name} data are empty, so there is nothing to fit {run.name} on")
    samples = {"train_samples": len(train_data), "val_samples": len(val_data)}
    accelerator = build_accelerator(config)
    with locked(run) if accelerator.is_main_process else contextlib.nullcontext():
        if accelerator.is_main_process:
            claim(run, {**description, **samples, "fit": asdict(config)}, defaults={"fit": asdict(FitConfig())})
        accelerator.wait_for_everyone()
        if not is_finished(run):
            model.to(accelerator.device)
            if config.channels_last:
                model.to(memory_format=torch.channels_last)
            order = torch.Generator()
            loaders = build_loaders(train_data, val_data, config, order=order, device=accelerator.device)
            try:
                _fit_epochs(model, *loaders, order, step, validate, config, run, accelerator, on_epoch)
            finally:
                accelerator.unwrap_model(model, keep_fp32_wrapper=False)
                vars(model).pop("forward", None)  # autocast was put there: the model gets its class's own back
            if accelerator.is_main_process:
                finish(run)
            accelerator.wait_for_everyone()
        read_weights(run / WEIGHTS, model)
        return read_history(run)


def build_accelerator(config: FitConfig) -> Accelerator:
    """An Accelerator of its own for every fit: the library would keep the precision of the process's first.

    It takes a CUDA GPU where there is one, else the CPU, as `Workspace` does. A GPU older than Ampere (such as a T4)
    has no bf16 and would imitate it, slowly: it gets fp16.
    """
    AcceleratorState._reset_state()
    on_gpu = torch.cuda.is_available()
    imitated = config.precision == "bf16" and on_gpu and torch.cuda.get_device_capability() < (8, 0)
    return Accelerator(
        mixed_precision="fp16" if imitated else config.precision,
        gradient_accumulation_steps=config.accumulation_steps,
        cpu=not on_gpu,
    )


def _fit_epochs(
    bare: nn.Module,
    train_loader: DataLoader,
    val_loader: DataLoader,
    order: torch.Generator,
    step: Step,
    validate: Validate,
    config: FitConfig,
    run: Path,
    accelerator: Accelerator,
    on_epoch: Callable[[int], None] | None,
) -> None:
    """Train for all epochs that the run folder does not hold yet, and write each to it as it ends."""
    model, optimiser, train_loader = accelerator.prepare(bare, build_optimiser(bare, config), train_loader)
    n_batches = len(train_loader)
    n_steps = config.epochs * math.ceil(n_batches / config.accumulation_steps)
    schedule = Schedule(optimiser.optimizer, config, n_steps=n_steps)
    parts = {"optimiser": optimiser, "schedule": schedule}
    if accelerator.scaler is not None:
        parts["scaler"] = accelerator.scaler

    kept = Progress(run, bare, config, parts=parts)
    kept.resume()
    done = len(kept.history)
    with tqdm(
        total=config.epochs * n_batches, initial=done * n_batches, disable=not accelerator.is_main_process
    ) as progress:
        for epoch in range(done + 1, config.epochs + 1):
            progress.set_description(f"{run.name}, epoch {epoch} of {config.epochs}")
            if on_epoch is not None:
                on_epoch(epoch)
            started, learning_rate = time.perf_counter(), optimiser.param_groups[0]["lr"]
            seed_everything(config.seed, epoch, accelerator.process_index)
            order.manual_seed(config.seed * 1_000_003 + epoch)  # the same on every process
            train_loss = train_one_epoch(
                model,
                train_loader,
                step=step,
                optimiser=optimiser,
                schedule=schedule,
                accelerator=accelerator,
                clip_norm=config.clip_norm,
                progress=progress,
            )
            metrics = evaluate(bare, val_loader, validate=validate, device=accelerator.device)
            (metrics,) = broadcast_object_list([metrics])  # every process goes by those of the first
            value = _monitored(metrics, bare, config, epoch)
            schedule.after_epoch(value)
            seconds = round(time.perf_counter() - started, 3)
            metrics = {name: metric if math.isfinite(metric) else None for name, metric in metrics.items()}
            row = {"epoch": epoch, "train_loss": train_loss, **metrics}
            kept.add({**row, "learning_rate": learning_rate, "seconds": seconds}, write=accelerator.is_main_process)
            progress.set_postfix_str(f"loss {train_loss:.4g}, {config.monitor} {value:.4g}")
    if accelerator.is_main_process:
        write_history(run, kept.history)  # once more, for a run that was killed just before


def _monitored(metrics: dict[str, float], model: nn.Module, config: FitConfig, epoch: int) -> float:
    """The metric that chooses the best epoch. Raises ValueError if there is none or training went astray."""
    if config.monitor not in metrics:
        raise ValueError(f"monitor {config.monitor!r} is none of the validation metrics; choose from {sorted(metrics)}")
    value = metrics[config.monitor]
    if not math.isfinite(value) or not all(tensor.isfinite().all() for tensor in model.state_dict().values()):
        raise ValueError(
            f"after epoch {epoch} the weights or the validation {config.monitor} ({value}) are not finite; "
            "lower learning_rate or set clip_norm; the epochs before are kept"
        )
    return value
