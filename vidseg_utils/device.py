"""The device of a command or a notebook, and the precision and the handling of memory with which it is fastest."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch

# of glibc's mallopt(3); the usual values are those that glibc has after its first large tensors
TRIM_THRESHOLD, USUAL_TRIM_THRESHOLD, NEVER_TRIM = -1, 64 << 20, 2**31 - 1  # bytes
MAX_MAPPINGS, USUAL_MAX_MAPPINGS = -4, 65536

_reusing = 0  # how many blocks of `reusing_memory` are entered


def find_device(name: str | None = None) -> torch.device:
    """The device of that name; None: a CUDA GPU if there is one, else the CPU. Processes that `accelerate launch`
    started each have their own GPU.

    Raises ValueError, with the choices of this machine, for an unknown name and for a GPU that is not there.
    """
    choices = ["cpu"]
    if torch.cuda.is_available():
        choices += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if name is None:
        own = f"cuda:{os.environ.get('LOCAL_RANK', '')}"
        name = own if own in choices else "cuda" if "cuda" in choices else "cpu"
    if torch.backends.mps.is_available():
        choices.append("mps")
    if name not in choices:
        raise ValueError(f"there is no device {name!r} here; choose from {choices}")
    return torch.device(name)


def fastest_precision(device: torch.device) -> str:
    """The precision of a training on that device: "bf16", "fp16" or "no" (float32), for `FitConfig.precision`.

    bf16 where the processor or the GPU has units for it: on a CPU with them a step of U-Net takes 0.55 times as long.
    A GPU older than Ampere (such as a T4) emulates bf16 slowly, so it gets fp16.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    if device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return "bf16"
    return "no"


def numbers_on(device: torch.device, numbers: Sequence[int], dtype: torch.dtype = torch.long) -> torch.Tensor:
    """The numbers as a tensor on the device. `torch.tensor(numbers, device=…)` would wait for a GPU's earlier work."""
    return torch.tensor(numbers, dtype=dtype, pin_memory=device.type == "cuda").to(device, non_blocking=True)


@contextlib.contextmanager
def reusing_memory(device: torch.device | None = None) -> Iterator[None]:
    """In the block, the memory of freed tensors on the CPU is used again instead of going back to the system.

    The system clears every large new tensor, page by page, which takes longer than most operations on it: a training
    step of U-Net takes 0.8 of the time with reused memory. At the end all free memory is given back.
    device: of the work; nothing happens for a GPU, or without glibc
    """
    global _reusing
    libc: Any = None if sys.platform != "linux" or (device and device.type != "cpu") else ctypes.CDLL(None)
    if not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):  # the latter is missing in other C libraries
        yield
        return
    _reusing += 1
    libc.mallopt(MAX_MAPPINGS, 0)
    libc.mallopt(TRIM_THRESHOLD, NEVER_TRIM)
    try:
        yield
    finally:
        _reusing -= 1
        if not _reusing:
            libc.mallopt(MAX_MAPPINGS, USUAL_MAX_MAPPINGS)
            libc.mallopt(TRIM_THRESHOLD, USUAL_TRIM_THRESHOLD)
            libc.malloc_trim(0)
