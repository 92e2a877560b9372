"""Sweeps: one notebook executed with many parameters. This file plans the runs and reads their results.

A sweep is a YAML file in notebooks/sweeps:

    question: Do more epochs help?              # one line: what the sweep is to answer
    notebook: "03"                              # number, name or path
    parameters: {SEED: 1}                       # the same in every run
    grid: {EPOCHS: [5, 10], LOSS: [mse, l1]}    # every combination; or `runs: [{EPOCHS: 5}, {EPOCHS: 10}]`
    slurm: {timeout_min: 240, gpus_per_node: 1} # settings for submitit, used only with `--executor slurm`
"""

import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

from vidseg_utils.paths import read_json
from vidseg_utils.profiles import get_profile
from vidseg_utils.running.notebook_file import checked_values, find_notebooks, known_parameters, notebooks_dir
from vidseg_utils.running.parameter_values import MAX_YAML_BYTES, read_yaml, with_plain_scalars
from vidseg_utils.running.run_record import NotebookRun

_KEYS = ("question", "notebook", "parameters", "grid", "runs", "slurm")
MAX_RUNS = 10_000
MAX_VALUE_CHARACTERS, MAX_NAME_BYTES = 40, 150  # in the name of a run folder; file systems allow 255 bytes


def find_sweep(name: Path | str) -> Path:
    """The sweep file of that path; a name such as "simvp_epochs_and_loss" is one of notebooks/sweeps.

    Raises ValueError with the choices if there is none.
    """
    sweeps = notebooks_dir() / "sweeps"
    for path in (Path(name), sweeps / f"{name}.yaml"):
        if path.is_file():
            return path
    choices = sorted(path.stem for path in sweeps.glob("*.yaml"))
    raise ValueError(f"there is no sweep file {name}; give the path of one, or choose from {choices}")


def read_sweep_file(path: Path | str) -> dict:
    """Read a sweep file and add the defaults of missing keys. Raises ValueError that names the file and the fault."""
    path = find_sweep(path)
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes; {MAX_YAML_BYTES:,} are the most")
        sweep = read_yaml(path.read_text(encoding="utf-8"), scalars_as_text=True)
    except ValueError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(sweep, dict) or "notebook" not in sweep or ("grid" in sweep) == ("runs" in sweep):
        raise ValueError(f"{path}: a sweep needs `notebook:` and either `grid:` or `runs:`")
    if unknown := sorted(set(sweep) - set(_KEYS)):
        raise ValueError(f"{path}: unknown key {unknown[0]!r}; choose from {list(_KEYS)}")
    sweep["question"] = with_plain_scalars(sweep.get("question", path.stem))
    if not isinstance(sweep["question"], str):
        raise ValueError(f"{path}: `question:` must be a line of text")
    for key in ("parameters", "slurm"):
        if not isinstance(sweep.setdefault(key, {}), dict):
            raise ValueError(f"{path}: `{key}:` must map names to values")
    sweep["slurm"] = with_plain_scalars(sweep["slurm"])
    return sweep


def plan_sweep(path: Path | str, *, profile: str = "auto") -> list[NotebookRun]:
    """The runs of a sweep file, in order, finished or not.

    A run folder is named after the file, the profile and the parameters that vary: simvp_epochs-cpu-EPOCHS=5.
    Raises ValueError that names the file and the fault.
    """
    path, profile, sweep = find_sweep(path), get_profile(profile).name, read_sweep_file(path)
    try:
        (notebook,) = find_notebooks([str(sweep["notebook"])])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    known, runs = known_parameters(notebook), []
    for varied in _combinations(sweep, path):
        try:
            values = checked_values(known, sweep["parameters"] | varied, notebook=notebook.stem)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        parts = [f"{key}={_short_text(values[key])}" for key in varied]
        runs.append(NotebookRun(notebook, profile, values, _short_name(path.stem.replace(" ", ""), profile, parts)))
    if len({run.name for run in runs}) != len(runs):
        raise ValueError(f"{path}: two of its runs are the same")
    return runs


def _short_text(value: object) -> str:
    """A value in the name of a folder: as it is, or shortened and with a hash if it is long or has other characters."""
    text = value if isinstance(value, str) else str(value).replace(" ", "")
    if len(text) <= MAX_VALUE_CHARACTERS and re.fullmatch(r"[\w.,;+=@%^~\[\]-]*", text, re.ASCII):
        return text
    readable = re.sub(r"[^\w.,+=@-]+", "_", text, flags=re.ASCII)[:MAX_VALUE_CHARACTERS].strip("_")
    return f"{readable}-{_hash(json.dumps(value, sort_keys=True))}"


def _short_name(stem: str, profile: str, parts: list[str]) -> str:
    name = "-".join([stem, profile, *parts])
    if len(os.fsencode(name)) <= MAX_NAME_BYTES:
        return name
    return f"{name.encode()[: MAX_NAME_BYTES - 9].decode(errors='ignore')}-{_hash(name)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _combinations(sweep: Mapping, path: Path) -> list[dict[str, object]]:
    """The parameters that vary, one dict a run."""
    if "runs" in sweep:
        rows = sweep["runs"]
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{path}: `runs:` must be a list that maps names to values")
        _check_count(len(rows), path)
        return rows
    grid = sweep["grid"]
    if not isinstance(grid, dict) or not grid or not all(isinstance(v, list) and v for v in grid.values()):
        raise ValueError(f"{path}: `grid:` must give each parameter a list of values")
    _check_count(math.prod(map(len, grid.values())), path)
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _check_count(n_runs: int, path: Path) -> None:
    if n_runs > MAX_RUNS:
        raise ValueError(f"{path} describes {n_runs:,} runs; {MAX_RUNS:,} are the most: split it, or leave values out")


def read_sweep(path: Path | str, *, profile: str = "auto") -> list[dict]:
    """One row a finished run of the sweep, in the file's order: `run`, every parameter, and every recorded metric."""
    rows = []
    for run in plan_sweep(path, profile=profile):
        metrics = run.folder / "metrics.json"
        if run.is_finished() and metrics.is_file():
            rows.append({"run": run.name, **run.parameters, **read_json(metrics)})
    return rows
