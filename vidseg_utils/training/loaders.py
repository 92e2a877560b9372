"""Data loaders and seeds of a fit: the order and augmentation of an epoch do not depend on earlier epochs."""

import random
from collections.abc import Sized

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vidseg_utils.data import collate
from vidseg_utils.data.parallel import n_cores
from vidseg_utils.training.fit_config import FitConfig


def seed_everything(*seeds: int) -> None:
    """Seed Python, numpy and torch from one or more whole numbers, such as (seed, epoch)."""
    seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def count_samples(data: Dataset) -> int:
    """Number of samples of a map-style data set. Raises ValueError for one without a length."""
    if not isinstance(data, Sized):
        raise ValueError(f"{type(data).__name__} has no length; training needs a map-style data set")
    return len(data)


def build_loaders(
    train_data: Dataset, val_data: Dataset, config: FitConfig, *, order: torch.Generator, device: torch.device
) -> tuple[DataLoader, DataLoader]:
    """A loader that shuffles `train_data` by the generator `order`, and one for `val_data` in its own order.

    A last training batch of a single sample is dropped, because BatchNorm fails on a single value.
    """
    shared = {
        "batch_size": config.batch_size,
        "num_workers": min(config.num_workers, n_cores()),
        "pin_memory": device.type == "cuda",
        "collate_fn": collate,
    }
    n_train = count_samples(train_data)
    single_sample_left = n_train > config.batch_size > 1 and n_train % config.batch_size == 1
    return (
        DataLoader(train_data, shuffle=True, generator=order, drop_last=single_sample_left, **shared),
        DataLoader(val_data, **shared),
    )
