"""What the cells of a notebook call: set up once, show a definition from the package, record the metrics."""

import inspect
import math
import os
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import set_seed

from vidseg_utils.paths import read_json, write_json
from vidseg_utils.profiles import Profile, get_profile
from vidseg_utils.running.run_folder import run_folder
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.visualisation.style import figure_png, use_style

DRIVE = Path("/content/drive/MyDrive/vidseg")  # where data and runs lie if Google Drive is asked for


@dataclass(frozen=True)
class Session:
    """What `setup` settled: the profile's sizes, the data root and the device (in `workspace`), and the run folder."""

    workspace: Workspace
    run_folder: Path

    @property
    def profile(self) -> Profile:
        """Every size."""
        return self.workspace.profile

    @property
    def device(self) -> torch.device:
        """Where tensors live."""
        return self.workspace.device


def setup(
    profile: str = "auto",
    *,
    notebook: str,
    run: str = "auto",
    data_root: str = "auto",
    drive: bool = False,
    sizes: Mapping[str, object] | None = None,
) -> Session:
    """Settle a notebook's profile, data, seeds, run folder and look, and print them in one line.

    profile: smoke, cpu, cpu_full, gpu, or "auto" for $VIDSEG_PROFILE (cpu where that is not set)
    notebook: the notebook's stem, such as "02_unet_segmentation"; run: the run folder's name, "auto" for the usual one
    data_root: a data set in the course layout, "auto" for the profile's own generated one
    drive: in Colab, keep data and runs on Google Drive, which asks for leave; elsewhere without effect
    sizes: single sizes to replace, such as {"unet.epochs": 3}, see `get_profile`; None keeps the profile's own
    Raises ValueError for an unknown profile or size, or a run that is no folder name.
    """
    if drive and "google.colab" in sys.modules:
        _mount_drive()
    chosen = get_profile(profile, {name: value for name, value in (sizes or {}).items() if value is not None})
    workspace = Workspace.of(chosen, root=None if data_root == "auto" else data_root)
    folder = run_folder(notebook, chosen.name, run)
    folder.mkdir(parents=True, exist_ok=True)
    set_seed(chosen.seed)
    use_style()
    _small_pictures()
    size = f"{chosen.height}x{chosen.width} pixels"
    print(f"profile {chosen.name}: {size}, seed {chosen.seed}, on {workspace.device.type}; run {folder.name}")
    return Session(workspace, folder)


def _mount_drive() -> None:
    from google.colab import drive

    drive.mount("/content/drive")
    os.environ["VIDSEG_HOME"] = str(DRIVE)


def _small_pictures() -> None:
    """Have the notebook save its figures as PNG of 256 colours, a third of the usual size."""
    from IPython import get_ipython
    from matplotlib.figure import Figure

    if (shell := get_ipython()) is not None:
        shell.run_line_magic("matplotlib", "inline")  # now, or its first figure would bring its own format along
        shell.display_formatter.formatters["image/png"].for_type(Figure, figure_png)


def record(run_folder: Path | str, metrics: Mapping[str, object]) -> Path:
    """Merge metrics into RUN/metrics.json atomically and return its path; new values replace old ones.

    Numbers may be Python's, NumPy's or torch's; NaN is written as null, "not measured".
    Raises ValueError for a value that JSON cannot hold, naming it.
    """
    path = Path(run_folder) / "metrics.json"
    merged = read_json(path) if path.is_file() else {}
    merged |= {name: _plain(value, name) for name, value in metrics.items()}
    write_json(path, merged)
    return path


def _plain(value: object, name: str) -> object:
    """value as JSON takes it; `name` says where it stands."""
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, f"{name}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, f"{name}[{place}]") for place, inner in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        raise ValueError(f"metric {name} is {value}; record a finite number")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"metric {name} is a {type(value).__name__}; record numbers, text, lists or dicts of them")


class Source:
    """The source text of a definition, shown as highlighted Python; its plain form is the text itself."""

    def __init__(self, code: str):
        self.code = code

    def _repr_markdown_(self) -> str:
        fence = "````" if "```" in self.code else "```"
        return f"{fence}python\n{self.code}\n{fence}"

    def __repr__(self) -> str:
        return self.code


def show_source(thing: object) -> Source:
    """The definition of a function, class or method of the package, to stand as a cell's last value.

    Raises ValueError for something that was not written in Python.
    """
    try:
        return Source(textwrap.dedent(inspect.getsource(thing)).rstrip())
    except (TypeError, OSError):
        raise ValueError(f"{thing!r} has no source to show; give a function, class or method") from None
