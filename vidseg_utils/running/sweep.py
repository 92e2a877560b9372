"""Sweeps: notebooks executed with many parameters. This file reads a sweep file and plans its runs.

question: Do more epochs help?              # one line: what the sweep is to answer
notebook: "03"                              # number, name or path; or a list of them
parameters: {SEED: 1}                       # the same in every run
grid: {EPOCHS: [5, 10], LOSS: [mse, l1]}    # every combination; or `runs: [{EPOCHS: 5}, {EPOCHS: 10}]`
seeds: [0, 1, 2]                            # every run with each of these seeds
highest: jaccard                            # the metric that decides; or `lowest: mse_last`
slurm: {timeout_min: 240, gpus_per_node: 1} # settings for submitit, used only with `--executor slurm`
"""

import glob
import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from vidseg_utils.paths import runs_dir
from vidseg_utils.profiles import get_profile
from vidseg_utils.running.notebook_file import (
    check_names,
    checked_values,
    find_notebooks,
    known_parameters,
    notebooks_dir,
)
from vidseg_utils.running.parameter_values import MAX_YAML_BYTES, read_yaml, with_plain_scalars
from vidseg_utils.running.run_record import NotebookRun

_KEYS = ("question", "notebook", "parameters", "grid", "runs", "seeds", "highest", "lowest", "slurm")
MAX_RUNS = 10_000
MAX_VALUE_CHARACTERS, MAX_NAME_BYTES = 40, 100  # in the name of a run folder
SEED, SIZES, TRAINING_SEED = "SEED", "SIZES", "training_seed"  # parameters of a notebook, and a size of the profile


@dataclass(frozen=True)
class SweepRun(NotebookRun):
    """A run of a sweep."""

    varied: dict[str, object] = field(default_factory=dict)  # what tells it from others: notebook and parameters
    seed: int | None = None

    @property
    def setting(self) -> str:
        """What tells it from the runs of the sweep that do not only have another seed."""
        return ", ".join(f"{key}={value}" for key, value in self.varied.items()) or self.notebook.stem


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
    sweep = sweep if isinstance(sweep, dict) else {}
    keys = set(sweep)
    if "notebook" not in keys or not {"grid", "runs", "seeds"} & keys or {"grid", "runs"} <= keys:
        raise ValueError(f"{path}: a sweep needs `notebook:` and either `grid:` or `runs:`, or only `seeds:`")
    if unknown := sorted(set(sweep) - set(_KEYS)):
        raise ValueError(f"{path}: unknown key {unknown[0]!r}; choose from {list(_KEYS)}")
    sweep["question"] = with_plain_scalars(sweep.get("question", path.stem))
    if not isinstance(sweep["question"], str):
        raise ValueError(f"{path}: `question:` must be a line of text")
    for key in ("parameters", "slurm"):
        if not isinstance(sweep.setdefault(key, {}), dict):
            raise ValueError(f"{path}: `{key}:` must map names to values")
    sweep["slurm"] = with_plain_scalars(sweep["slurm"])
    if not isinstance(sweep["notebook"], list):
        sweep["notebook"] = [sweep["notebook"]]
    has_seeds = "seeds" in sweep
    seeds = with_plain_scalars(sweep.get("seeds", [0]))
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
        raise ValueError(f"{path}: `seeds:` must be a list of whole numbers, such as [0, 1, 2]")
    sweep["seeds"] = seeds if has_seeds else [None]
    scores = [sweep[key] for key in ("highest", "lowest") if key in sweep]
    if len(scores) > 1 or not all(isinstance(score, str) for score in scores):
        raise ValueError(f"{path}: give the name of one metric, as `highest:` or as `lowest:`")
    return sweep


def plan_sweep(path: Path | str, *, profile: str = "auto") -> list[SweepRun]:
    """The runs of a sweep file, in order, finished or not.

    A run folder is named after the file, the profile and the parameters that vary, with a hash of the notebook and of
    all parameters: simvp_epochs-cpu-EPOCHS=5-0123abcd.
    Raises ValueError that names the file and the fault.
    """
    path, profile, sweep = find_sweep(path), get_profile(profile).name, read_sweep_file(path)
    stem = path.stem.replace(" ", "")
    runs, existing = [], {folder.name for folder in runs_dir().glob(f"{glob.escape(stem)}-*")}
    try:
        notebooks = [_find_notebook(str(name), path) for name in sweep["notebook"]]
        combinations = _combinations(sweep)
        if (n_runs := len(notebooks) * len(combinations) * len(sweep["seeds"])) > MAX_RUNS:
            raise ValueError(f"it describes {n_runs:,} runs; {MAX_RUNS:,} are the most: split it, or leave values out")
        for notebook in notebooks:
            known = known_parameters(notebook)
            for combination in combinations:
                check_names(sweep["parameters"] | combination)
                values = checked_values(known, sweep["parameters"] | combination, notebook=notebook.stem)
                varied = {"notebook": notebook.stem} if len(notebooks) > 1 else {}
                varied |= {key: values[key] for key in combination}
                for seed in sweep["seeds"]:
                    seeded = values if seed is None else _with_seed(values, seed, known, notebook.stem)
                    parts = [f"{key}={_short_text(value)}" for key, value in varied.items()]
                    parts += [] if seed is None else [f"seed={seed}"]
                    run = SweepRun(notebook, profile, seeded, varied=varied, seed=seed)
                    runs.append(replace(run, name=_run_name([stem, profile, *parts], run, existing)))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if len({run.name for run in runs}) != len(runs):
        raise ValueError(f"{path}: two of its runs are the same")
    return runs


def _find_notebook(name: str, sweep: Path) -> Path:
    """The notebook; the path of one may start from the folder of the sweep file."""
    beside = sweep.parent / name
    return beside if name.endswith(".ipynb") and beside.is_file() else find_notebooks([name])[0]


def _with_seed(values: Mapping[str, object], seed: int, known: Mapping, notebook: str) -> dict[str, object]:
    """The parameters with a seed: that of the notebook if it has one, else the profile's seed of trainings."""
    if SEED in known:
        return {**values, SEED: seed}
    if SIZES not in known:
        raise ValueError(f"{notebook} has neither a parameter {SEED} nor {SIZES}, so it cannot have `seeds:`")
    sizes = values.get(SIZES, {})
    return {**values, SIZES: {**(sizes if isinstance(sizes, dict) else {}), TRAINING_SEED: seed}}


def _short_text(value: object) -> str:
    """A value in the name of a folder: as it is, or shortened and with a hash if it is long or has other characters."""
    text = value if isinstance(value, str) else str(value).replace(" ", "")
    if len(text) <= MAX_VALUE_CHARACTERS and re.fullmatch(r"[\w.,;+=@%^~\[\]-]*", text, re.ASCII):
        return text
    readable = re.sub(r"[^\w.,+=@-]+", "_", text, flags=re.ASCII)[:MAX_VALUE_CHARACTERS].strip("_")
    return f"{readable}-{_hash(json.dumps(value, sort_keys=True))}"


def _run_name(parts: list[str], run: NotebookRun, existing: set[str]) -> str:
    """The name of a run folder; a run that an earlier version has finished keeps its name, without the hash."""
    name = "-".join(parts)
    if name in existing and replace(run, name=name).is_finished():
        return name
    digest = _hash(json.dumps(run.describe(), sort_keys=True))
    return f"{os.fsencode(name)[: MAX_NAME_BYTES - 9].decode(errors='ignore')}-{digest}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _combinations(sweep: Mapping) -> list[dict[str, object]]:
    """The parameters that vary, one dict a run."""
    if "runs" in sweep:
        rows = sweep["runs"]
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise ValueError("`runs:` must be a list that maps names to values")
        return rows
    grid = sweep.get("grid", {})
    if (
        not isinstance(grid, dict)
        or not all(isinstance(v, list) and v for v in grid.values())
        or ("grid" in sweep and not grid)
    ):
        raise ValueError("`grid:` must give each parameter a list of values")
    n_runs = math.prod(map(len, grid.values()))
    if n_runs > MAX_RUNS:  # before they are listed
        raise ValueError(f"it describes {n_runs:,} runs; {MAX_RUNS:,} are the most: split it, or leave values out")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
