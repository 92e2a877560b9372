"""The loaders of a fit, and its seeding: the order and augmentation of an epoch depend on nothing before it."""

import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vidseg_utils.data.datasets import collate
from vidseg_utils.data.parallel import n_cores
from vidseg_utils.training.fit_config import FitConfig


def seed_everything(*seeds: int) -> None:
    """Seed Python, numpy and torch from any number of whole numbers, such as (seed, epoch)."""
    seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def build_loaders(
    train_data: Dataset, val_data: Dataset, config: FitConfig, *, order: torch.Generator, device: torch.device
) -> tuple[DataLoader, DataLoader]:
    """A shuffled loader over `train_data`, in the order that `order` gives, and one over `val_data` in its own order.

    A last training batch of a single sample is left out where there are others: BatchNorm over one value fails.
    """
    shared = {
        "batch_size": config.batch_size,
        "num_workers": min(config.num_workers, n_cores()),
        "pin_memory": device.type == "cuda",
        "collate_fn": collate,
    }
    lonely = len(train_data) > config.batch_size > 1 and len(train_data) % config.batch_size == 1
    return (
        DataLoader(train_data, shuffle=True, generator=order, drop_last=lonely, **shared),
        DataLoader(val_data, **shared),
    )
