"""Data loaders and seeds of a fit: the order and augmentation of an epoch do not depend on earlier epochs."""

import random
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler

from vidseg_utils.data import collate
from vidseg_utils.data.device_batches import DeviceBatches
from vidseg_utils.data.parallel import n_cores
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.processes import BatchShares


def seed_everything(*seeds: int) -> None:
    """Seed Python, numpy and torch from one or more whole numbers, such as (seed, epoch)."""
    seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def fixed_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers from a seed; afterwards they go on as before."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def count_samples(data: Dataset) -> int:
    """Number of samples of a map-style data set. Raises ValueError for one without a length."""
    if not isinstance(data, Sized):
        raise ValueError(f"{type(data).__name__} has no length; training needs a map-style data set")
    return len(data)


def build_loaders(
    train_data: Dataset,
    val_data: Dataset,
    config: FitConfig,
    *,
    order: torch.Generator,
    device: torch.device,
    process: int = 0,
    n_processes: int = 1,
) -> tuple[DataLoader, DataLoader]:
    """A loader that shuffles `train_data` by the generator `order`, and one for `val_data` in its own order.

    process, n_processes: the training loader gives this process's share of every batch
    A last training batch of a single sample is dropped, because BatchNorm fails on a single value; so is one of fewer
    samples than processes. Raises ValueError where every batch has fewer.
    """
    n_train = count_samples(train_data)
    batch_size = min(config.batch_size, n_train)
    if batch_size < n_processes:
        raise ValueError(f"{n_processes} processes cannot share batches of {batch_size} samples; start fewer processes")
    left = n_train % config.batch_size
    drop_last = n_train > config.batch_size > 1 and 0 < left < max(2, n_processes)
    shares = BatchShares(
        RandomSampler(range(n_train), generator=order),
        config.batch_size,
        drop_last,
        process=process,
        n_processes=n_processes,
    )
    return (
        DataLoader(train_data, batch_sampler=shares, generator=order, **_loading(train_data, config, device)),
        DataLoader(val_data, batch_size=config.batch_size, **_loading(val_data, config, device)),
    )


def _loading(data: Dataset, config: FitConfig, device: torch.device) -> dict[str, Any]:
    """How a loader reads the data: those on the device need no processes."""
    if isinstance(data, DeviceBatches):
        return {"collate_fn": collate}
    workers = min(config.num_workers, n_cores())
    return {"num_workers": workers, "pin_memory": device.type == "cuda", "collate_fn": collate}
