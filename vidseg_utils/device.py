"""The device of a command or a notebook, and the precision in which it trains fastest."""

import os

import torch


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
