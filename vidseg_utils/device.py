"""The device of a command or a notebook: one check for all of them."""

import torch


def find_device(name: str | None = None) -> torch.device:
    """The device of that name; None: a CUDA GPU if there is one, else the CPU.

    Raises ValueError, with the choices of this machine, for an unknown name and for a GPU that is not there.
    """
    choices = ["cpu"]
    if torch.cuda.is_available():
        choices += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if name is None:
        name = "cuda" if "cuda" in choices else "cpu"
    if torch.backends.mps.is_available():
        choices.append("mps")
    if name not in choices:
        raise ValueError(f"there is no device {name!r} here; choose from {choices}")
    return torch.device(name)
