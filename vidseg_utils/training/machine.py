"""The machine on which a run was made, for its config.json: seconds a video say little without it."""

import platform
from functools import cache
from pathlib import Path

import torch

from vidseg_utils.data.parallel import n_cores


@cache
def describe_machine() -> str:
    """Processor, cores, GPU, operating system and the version of torch."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.is_file() else []
    processor = names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{processor}, {n_cores()} cores{gpu}, {platform.system()}, torch {torch.__version__}"
