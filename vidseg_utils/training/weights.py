"""Trained models on disk: weights.safetensors, and config.json with the name and settings of the model."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from vidseg_utils.models import build_model
from vidseg_utils.paths import atomic_write, write_json
from vidseg_utils.run_folders import CONFIG
from vidseg_utils.training.run_folder import (
    WEIGHTS,
    describe_other_classes,
    file_sha256,
    note_run,
    read_config,
    trained_file,
)

HARMLESS_BYTES = 1 << 28  # a model of this size is built, and then compared with its file tensor by tensor
MAX_SETTING = 10_000  # of a model, such as a number of channels or layers; the largest that is used is 512


def write_weights(path: Path, model: nn.Module) -> None:
    """Write the weights (and BatchNorm statistics) of `model` atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary)


def read_weights(path: Path, model: nn.Module, *, cure: str = "delete it and train again") -> None:
    """Load a file's weights into `model`. Raises ValueError if the file is missing, damaged or of another model.

    Values that are not finite count as damage.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: the run has no trained weights yet; train it first")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); {cure}") from None
    own = model.state_dict()
    wrong = [f"{name} is missing" for name in own.keys() - tensors.keys()]
    wrong += [f"{name} is unknown" for name in tensors.keys() - own.keys()]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own.keys() & tensors.keys()
        if own[name].shape != tensors[name].shape
    ]
    if wrong:
        raise ValueError(
            f"{path} does not fit this {type(model).__name__}: {min(wrong)} ({len(wrong)} such tensors of {len(own)}); "
            "build the model with the settings that it was trained with"
        )
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        raise ValueError(f"{path} is damaged: {min(bad)} holds values that are not finite; {cure}")
    model.load_state_dict(tensors)


def load_weights(run: Path, model: nn.Module) -> None:
    """Load the weights of a finished run, of any frame size, into `model`. Raises what `load_model` raises."""
    read_weights(trained_file(run, WEIGHTS), model, cure="delete the run and train again")
    note_run(model, run)


def save_model(run: Path | str, model: nn.Module, *, name: str, config: dict[str, Any]) -> None:
    """Save a model that was not trained by `fit` as a finished run, so that `load_model` can load it.

    name, config: the arguments of `build_model`; other entries of config.json are kept.
    """
    run = Path(run)
    write_weights(run / WEIGHTS, model)
    state = {"finished": True, "sha256": file_sha256(run / WEIGHTS)}
    write_json(run / CONFIG, {**read_config(run), "model": {"name": name, "config": config}, **state})


def load_model(
    run: Path | str,
    device: str | torch.device = "cpu",
    *,
    size: tuple[int, int] | None = None,
    classes: Sequence[str] | None = None,
) -> nn.Module:
    """The model of a finished run with its best weights, in eval mode, on `device`.

    size, classes: height and width of the frames, and names of the classes, of the training; None accepts any
    Raises ValueError, naming the file and the cure, if the run is not finished, if a file is missing or damaged, if the
    two do not match, and for another size or other classes.
    """
    run = Path(run)
    if not run.is_dir():
        raise ValueError(f"there is no run folder {run}; train it first")
    try:
        found = read_config(run)
        described = found["model"]
        name, config = described["name"], dict(described["config"])
    except (KeyError, TypeError, ValueError) as error:
        reason = "" if isinstance(error, KeyError) else f" ({error})"
        raise ValueError(f"{run / CONFIG} does not say which model the run holds{reason}; train it again") from None
    try:
        _check_size(name, config, run / WEIGHTS)
        model = build_model(name, **config)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{run / CONFIG} describes a model that cannot be built: {reason}; train it again") from None
    if size is not None and found.get("size", list(size)) != list(size):
        trained, asked = ("x".join(map(str, pair)) for pair in (found["size"], size))
        raise ValueError(
            f"run folder {run} was trained on frames of {trained} pixels, not {asked}; use the profile or sizes "
            f"(height, width) of the training, or train at {asked} in another folder of runs (--runs)"
        )
    if classes is not None and (other := describe_other_classes(run, classes)):
        raise ValueError(f"{other}; choose another run, or delete it and train again")
    load_weights(run, model)
    return model.to(device).eval()


def _check_size(name: str, config: dict[str, Any], weights: Path) -> None:
    """Raise ValueError if the described model is larger than its file of weights, before it takes any memory."""
    if not weights.is_file():
        return  # `read_weights` says so
    if (largest := _largest_number(config)) > MAX_SETTING:
        raise ValueError(f"a setting is {largest}; at most {MAX_SETTING} is possible")
    with torch.device("meta"):
        tensors = build_model(name, **config).state_dict().values()
    model_bytes, file_bytes = sum(t.numel() * t.element_size() for t in tensors), weights.stat().st_size
    if model_bytes > max(file_bytes, HARMLESS_BYTES):
        raise ValueError(f"it needs {model_bytes} bytes of weights and {weights.name} has {file_bytes}")


def _largest_number(config: Any) -> float:
    """The largest whole number in nested lists and dicts; 0 if there is none."""
    values = config.values() if isinstance(config, dict) else config if isinstance(config, list | tuple) else ()
    return max([config if isinstance(config, int) else 0, *map(_largest_number, values)])


def weights_hash(model: nn.Module) -> str:
    """16 hexadecimal digits that identify the model's weights, to mark files made with them."""
    digest = hashlib.sha256(type(model).__name__.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
