"""What makes a training faster without changing what is learned, chosen by network and device from measurements.

Fused Adam is always used where it exists. `benchmarks/training_step.py` measures the rest.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from vidseg_utils.data.device_batches import fits_on_device
from vidseg_utils.device import fastest_precision
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.loaders import count_samples
from vidseg_utils.training.run_folder import read_config


@dataclass(frozen=True)
class Speedups:
    """What pays for one network on one kind of device."""

    channels_last: bool = True  # memory layout for convolutions; nearly always the faster one
    precision: str | None = None  # None: the fastest that the device has units for
    # torch.compile in trainings that see at least so many samples. It takes about a minute at the start, and another
    # one where a last batch is smaller.
    compile_from: float = math.inf


# By name of the network and type of the device; others get `Speedups()`. Steps a second at 160x240 pixels on an H200,
# with torch 2.11; each change was added to those before it that helped.
SPEEDUPS = {
    # U-Net of 31.0 M, 16 frames: float32 31.3, channels last 45.0, fused Adam 47.6, bf16 73.4, compiled 82.8
    ("unet", "cuda"): Speedups(compile_from=1_500_000),
    # SimVP of 16.0 M, 4 clips: float32 10.1, channels last 9.2, fused Adam 11.9, bf16 15.3, compiled 18.0
    ("simvp", "cuda"): Speedups(channels_last=False, compile_from=50_000),
    # 20.0 M, 4 clips: float32 24.9, channels last 17.6, fused Adam 23.2, bf16 16.8: starting small steps takes the time
    ("mask_simvp", "cuda"): Speedups(channels_last=False, precision="no"),
}


def choose_speedups(
    config: FitConfig,
    *,
    run: Path,
    network: str | None,
    train_data: Dataset,
    device: torch.device,
    n_processes: int = 1,
) -> FitConfig:
    """`config` with a choice for each setting that leaves it open: that of the run if it has begun, else what pays.

    network: a key of `models.MODELS`
    """
    fastest = SPEEDUPS.get((network or "", device.type), Speedups())
    n_samples = config.epochs * count_samples(train_data)
    choices: dict[str, Any] = {
        "precision": lambda: fastest.precision or fastest_precision(device),
        "channels_last": lambda: fastest.channels_last,
        # not tried where BatchNorm waits for other processes
        "compile": lambda: n_samples >= fastest.compile_from and n_processes == 1,
        "data_on_device": lambda: device.type == "cuda" and fits_on_device(train_data, device),
    }
    begun = read_config(run).get("fit")
    begun = {"compile": False, "data_on_device": False, **begun} if isinstance(begun, dict) else {}
    chosen = {}
    for name, choose in choices.items():
        if getattr(config, name) in (None, "auto"):
            known = begun.get(name)
            chosen[name] = choose() if known is None else known
    return replace(config, **chosen)
