"""One notebook over a sweep of parameters: what a sweep file means, and what its runs brought.

A sweep is a YAML file in notebooks/sweeps:

    question: Do more epochs help?              # what it is for, in a line
    notebook: "03"                              # number, name or path
    parameters: {SEED: 1}                       # the same in every run
    grid: {EPOCHS: [5, 10], LOSS: [mse, l1]}    # every combination; or `runs: [{EPOCHS: 5}, {EPOCHS: 10}]`
    slurm: {timeout_min: 240, gpus_per_node: 1} # for submitit's executor, read only with `--executor slurm`
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from vidseg_utils.paths import read_json
from vidseg_utils.profiles import get_profile
from vidseg_utils.running.run_folder import run_folder
from vidseg_utils.running.source import checked_parameters, find_notebooks

_KEYS = ("question", "notebook", "parameters", "grid", "runs", "slurm")


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep: a notebook, its profile and parameters, and the name of the run folder."""

    notebook: Path
    profile: str
    parameters: dict[str, object]
    run: str

    @property
    def folder(self) -> Path:
        """The run folder."""
        return run_folder(self.notebook.stem, self.profile, self.run)

    def is_finished(self) -> bool:
        """Whether it ran to its end. Raises ValueError if the folder is that of other parameters."""
        path = self.folder / "parameters.json"
        if not path.is_file():
            return False
        wanted = {"notebook": self.notebook.stem, "profile": self.profile, "parameters": self.parameters}
        if read_json(path) != wanted:
            raise ValueError(f"{self.folder} was made with other parameters; delete it, or rename the sweep file")
        return True


def read_sweep_file(path: Path | str) -> dict:
    """Read a sweep file. Raises ValueError that names it and what is wrong with its keys."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no sweep file {path}; notebooks/sweeps has some")
    try:
        sweep = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(sweep, dict) or "notebook" not in sweep or ("grid" in sweep) == ("runs" in sweep):
        raise ValueError(f"{path}: a sweep has `notebook:` and either `grid:` or `runs:`")
    if unknown := sorted(set(sweep) - set(_KEYS)):
        raise ValueError(f"{path}: unknown key {unknown[0]!r}; choose from {list(_KEYS)}")
    if not isinstance(sweep.setdefault("question", path.stem), str):
        raise ValueError(f"{path}: `question:` is a line of text")
    for key in ("parameters", "slurm"):
        if not isinstance(sweep.setdefault(key, {}), dict):
            raise ValueError(f"{path}: `{key}:` gives names and values")
    return sweep


def plan_sweep(path: Path | str, *, profile: str = "auto") -> list[SweepRun]:
    """The runs of a sweep file, in order, whether finished or not.

    Run folders are named after the file, the profile and what varies, such as simvp_epochs-cpu-EPOCHS=5.
    Raises ValueError that names the file and what is wrong with it.
    """
    path, profile, sweep = Path(path), get_profile(profile).name, read_sweep_file(path)
    number = sweep["notebook"]
    (notebook,) = find_notebooks([f"{number:02d}" if isinstance(number, int) else str(number)])
    runs = []
    for varied in _combinations(sweep, path):
        try:
            values = checked_parameters(notebook, sweep["parameters"] | varied)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        name = "-".join([path.stem, profile, *(f"{key}={values[key]}" for key in varied)])
        runs.append(SweepRun(notebook, profile, values, name.replace("/", "_").replace(" ", "")))
    if len({run.run for run in runs}) != len(runs):
        raise ValueError(f"{path}: two of its runs are the same")
    return runs


def _combinations(sweep: Mapping, path: Path) -> list[dict[str, object]]:
    if "runs" in sweep:
        rows = sweep["runs"]
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{path}: `runs:` is a list of names and values")
        return rows
    grid = sweep["grid"]
    if not isinstance(grid, dict) or not grid or not all(isinstance(v, list) and v for v in grid.values()):
        raise ValueError(f"{path}: `grid:` gives each parameter a list of values")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def read_sweep(path: Path | str, *, profile: str = "auto") -> list[dict]:
    """Rows of the sweep's finished runs, in the file's order: `run`, every parameter, and every metric recorded."""
    rows = []
    for run in plan_sweep(path, profile=profile):
        metrics = run.folder / "metrics.json"
        if run.is_finished() and metrics.is_file():
            rows.append({"run": run.run, **run.parameters, **read_json(metrics)})
    return rows
