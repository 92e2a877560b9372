"""What the cells of a notebook call: `setup` once, `show_source` for a definition, `record` for the metrics."""

import inspect
import math
import os
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import set_seed

from vidseg_utils.checks import check_choice
from vidseg_utils.paths import NOTABLE_DISK_BYTES, describe_disk, notebook_run_folder, read_json, write_json
from vidseg_utils.profiles import Profile, in_colab
from vidseg_utils.running.parameter_values import check_executed
from vidseg_utils.systems import Workspace
from vidseg_utils.training import draw_curves_with, is_evaluation, is_shipped
from vidseg_utils.visualisation import figure_png, training_curves_png, use_style

DRIVE = Path("/content/drive")  # where Colab mounts Google Drive


@dataclass(frozen=True)
class Session:
    """What `setup` returns: the workspace (profile, data set, device) and the run folder of the notebook."""

    workspace: Workspace
    run_folder: Path

    @property
    def profile(self) -> Profile:
        """The profile of the workspace."""
        return self.workspace.profile

    @property
    def device(self) -> torch.device:
        """The device of the workspace."""
        return self.workspace.device


def setup(
    profile: str = "auto",
    *,
    notebook: str,
    run: str = "auto",
    data_root: str = "auto",
    drive: bool = False,
    sizes: Mapping[str, object] | None = None,
    other_sizes: Mapping[str, object] | None = None,
    weights: str = "train",
) -> Session:
    """Choose profile, data set and run folder, set seeds and the style of figures, and print the choice in one line.

    profile: smoke, cpu, cpu_full, colab, gpu, or "auto", see `get_profile`
    notebook: the notebook's file name without .ipynb; run: name of the run folder, "auto" for NOTEBOOK-PROFILE
    data_root: a data set in the course layout, "auto" for the generated one of the profile
    drive: in Colab, keep runs with their weights on Google Drive (it asks for permission); no effect elsewhere
    sizes: single sizes to replace, such as {"unet.epochs": 3}, see `get_profile`
    other_sizes: more of them, from other parameters; those in `sizes` go before them, and None keeps the profile's own
    weights: "train", or "shipped" to load the trained run folders that come with the package (profile "auto" is then
        cpu_full); what the package lacks is trained as ever
    Raises ValueError for an unknown profile, size or weights, for a run that is not a plain folder name, and, in a
    notebook, for a parameter of another type than its parameters cell says.
    """
    _check_parameters(notebook)
    check_choice("weights", weights, ("train", "shipped"))
    if drive and in_colab():
        _keep_runs_on_drive()
    given = {name: value for name, value in {**(other_sizes or {}), **(sizes or {})}.items() if value is not None}
    root = None if data_root == "auto" else data_root
    workspace = Workspace.for_profile(profile, sizes=given, root=root, shipped=weights == "shipped")
    chosen = workspace.profile
    folder = notebook_run_folder(notebook, chosen.name, run)
    if is_evaluation(folder):
        raise ValueError(f"run folder {folder} holds the evaluation of a system; choose another name for RUN")
    folder.mkdir(parents=True, exist_ok=True)
    set_seed(chosen.training_seed)
    use_style()
    draw_curves_with(training_curves_png)
    _show_figures_as_small_png()
    size = f"{chosen.height}x{chosen.width} pixels" + (", shipped weights" if workspace.shipped else "")
    print(f"profile {chosen.name}: {size}, seed {chosen.training_seed}, on {workspace.device.type}; run {folder.name}")
    if data_root == "auto" and chosen.disk_bytes >= NOTABLE_DISK_BYTES:
        print(describe_disk(chosen.disk_bytes, workspace.root))
    return Session(workspace, folder)


def _check_parameters(notebook: str) -> None:
    """Check the parameters of the notebook that calls `setup`; elsewhere there are none."""
    from IPython import get_ipython

    if (shell := get_ipython()) is not None:
        check_executed(shell.history_manager.input_hist_parsed, shell.user_ns, notebook=notebook)


def _keep_runs_on_drive() -> None:
    if not (DRIVE / "MyDrive").is_dir():
        from google.colab import drive  # pyright: ignore[reportMissingImports] (exists only in Colab)

        drive.mount(str(DRIVE))
    os.environ["VIDSEG_RUNS"] = str(DRIVE / "MyDrive" / "vidseg" / "runs")


def _show_figures_as_small_png() -> None:
    """Let the notebook display its figures as PNG of 256 colours, a third of the usual size."""
    from IPython import get_ipython
    from matplotlib.figure import Figure

    if (shell := get_ipython()) is not None:
        shell.run_line_magic("matplotlib", "inline")  # before our format: it registers its own
        shell.display_formatter.formatters["image/png"].for_type(Figure, figure_png)


def record(run_folder: Path | str, metrics: Mapping[str, object]) -> Path:
    """Merge metrics into RUN/metrics.json atomically and return its path; new values replace old ones.

    A damaged file is written anew. The run folders that come with the package stay as they are.

    Numbers may come from Python, NumPy or torch. NaN is written as null, which means "not measured".
    Raises ValueError that names the metric for a value that JSON cannot hold.
    """
    path = Path(run_folder) / "metrics.json"
    try:
        merged = read_json(path) if path.is_file() else {}
    except ValueError as error:
        print(f"{error}; it is written anew")
        merged = {}
    merged |= {name: _to_json(value, name) for name, value in metrics.items()}
    if not is_shipped(run_folder):
        write_json(path, merged)
    return path


def _to_json(value: object, name: str) -> object:
    """The value in types that JSON has; `name`: of the metric, for the error message."""
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _to_json(inner, f"{name}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(inner, f"{name}[{index}]") for index, inner in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        raise ValueError(f"metric {name} is {value}; record a finite number")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"metric {name} is a {type(value).__name__}; record numbers, text, lists or dicts of them")


class SourceCode:
    """The source code of a definition. Jupyter shows it as highlighted Python; `repr` is the code itself."""

    def __init__(self, code: str):
        self.code = code

    def _repr_markdown_(self) -> str:
        fence = "````" if "```" in self.code else "```"
        return f"{fence}python\n{self.code}\n{fence}"

    def __repr__(self) -> str:
        return self.code


def show_source(definition: Callable) -> SourceCode:
    """The source code of a function, class or method, for a cell to show as its last value.

    Raises ValueError for an object without Python source.
    """
    try:
        return SourceCode(textwrap.dedent(inspect.getsource(definition)).rstrip())
    except (TypeError, OSError):
        raise ValueError(f"{definition!r} has no source code to show; give a function, class or method") from None
