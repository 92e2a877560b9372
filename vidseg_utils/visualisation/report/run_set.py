"""All run folders of a home, read once: evaluations, trainings, sweeps, and the settings of each run."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vidseg_utils.evaluation import read_leaderboard
from vidseg_utils.paths import read_json
from vidseg_utils.training import read_history
from vidseg_utils.training.run_folder import FITTED_TO, HISTORY, MACHINE, TRAINED_ON, flat_settings

# Names of the main score in the lessons, the more telling one first; larger is better.
MAIN_SCORES = ("jaccard", "jaccard_through_unet", "jaccard_with", "segmentation_jaccard", "miou")
PARAMETERS = "parameters.json"  # of an executed notebook
_NO_SETTINGS = {"classes", "finished", "sha256", "profile", "system", TRAINED_ON, "scored_on", MACHINE}


@dataclass(frozen=True)
class Run:
    """One run folder."""

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    executed: dict[str, Any]  # content of parameters.json: notebook, profile, parameters

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def kind(self) -> str:
        """What made the run."""
        if "system" in self.config:
            return "evaluation"
        if (self.folder / HISTORY).is_file() or FITTED_TO in self.config:
            return "training"
        return "notebook" if self.executed else "other"

    @property
    def profile(self) -> str:
        """Name of the profile, "" if the folder does not say."""
        return str(self.config.get("profile") or self.executed.get("profile") or "")

    @property
    def machine(self) -> str:
        """The machine that made the run, "" in runs of earlier versions."""
        return str(self.config.get(MACHINE, ""))

    @property
    def data(self) -> dict[str, str]:
        """Identity of the data that the run was scored on, or else trained on; {} if unknown."""
        identity = self.config.get("scored_on", self.config.get(TRAINED_ON))
        if not isinstance(identity, dict) or not all(isinstance(identity.get(key), str) for key in ("id", "text")):
            return {}
        return identity

    @property
    def settings(self) -> str:
        """The settings in one line, such as "fit.epochs=3 loss=mse"."""
        chosen = {key: value for key, value in self.config.items() if key not in _NO_SETTINGS}
        parameters = self.executed.get("parameters")
        flat = flat_settings(chosen) | (parameters if isinstance(parameters, dict) else {})
        return "  ".join(f"{key}={_short(value)}" for key, value in flat.items())

    @property
    def score(self) -> tuple[str, float] | None:
        """Name and value of the main score."""
        return next(
            ((name, value) for name in MAIN_SCORES if (value := number(self.metrics.get(name))) is not None), None
        )

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """The epochs of a training. Raises ValueError for a damaged history."""
        path = self.folder / HISTORY
        history = read_history(self.folder) if path.is_file() else []
        if not all(isinstance(row, dict) and isinstance(row.get("epoch"), int) for row in history):
            raise ValueError(f"{path} is damaged: an epoch has no number")
        return history

    @property
    def monitor(self) -> str | None:
        """The metric that chose the weights, if the history has it."""
        fit = self.config.get("fit")
        name = fit.get("monitor") if isinstance(fit, dict) else None
        return (
            name if isinstance(name, str) and self.history and number(self.history[0].get(name)) is not None else None
        )


@dataclass
class Sweep:
    """The runs of one sweep, the best first."""

    name: str
    notebook: str
    runs: list[Run] = field(default_factory=list)

    @property
    def varied(self) -> list[str]:
        """The parameters that differ between the runs."""
        names = {name: None for run in self.runs for name in run.executed["parameters"]}
        return [name for name in names if len({repr(run.executed["parameters"].get(name)) for run in self.runs}) > 1]

    def setting(self, run: Run) -> str:
        """The varied parameters of a run, such as "epochs 1, loss frames all"."""
        parameters = run.executed["parameters"]
        names = self.varied or list(parameters)
        return ", ".join(f"{name.lower().replace('_', ' ')} {parameters.get(name)}" for name in names)


@dataclass(frozen=True)
class RunSet:
    """The run folders in one folder, and the rows of their leaderboard."""

    folder: Path
    runs: list[Run]
    scores: list[dict[str, Any]]  # as `read_leaderboard` returns them

    @property
    def name(self) -> str:
        """The folder's name, or that of the home around a folder `runs`."""
        return self.folder.parent.name if self.folder.name == "runs" else self.folder.name

    @property
    def sweeps(self) -> list[Sweep]:
        """The sweeps among the runs: folders named SWEEP-PROFILE-PARAMETER=VALUE."""
        sweeps: dict[str, Sweep] = {}
        for run in self.runs:
            parameters, profile = run.executed.get("parameters"), re.escape(run.profile)
            if not profile or not isinstance(parameters, dict):
                continue
            match = re.match(rf"(.+?)-{profile}-(\w+)=", run.name)
            if match and match[2] in parameters:
                name, notebook = f"{match[1]}, {run.profile}", str(run.executed.get("notebook", ""))
                sweeps.setdefault(name, Sweep(name, notebook)).runs.append(run)
        for sweep in sweeps.values():
            sweep.runs.sort(key=lambda run: -(run.score or ("", -1.0))[1])
        return list(sweeps.values())

    @property
    def trainings(self) -> list[Run]:
        """The trainings of at least two epochs that are no part of a sweep."""
        swept = {run.name for sweep in self.sweeps for run in sweep.runs}
        return [run for run in self.runs if run.kind == "training" and run.name not in swept and len(run.history) > 1]

    @property
    def data_sets(self) -> list[tuple[str, str, int]]:
        """Id, description and number of runs of each data set."""
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for run in self.runs:
            if run.data:
                counts[run.data["id"], run.data["text"]] += 1
        return [(*key, count) for key, count in sorted(counts.items(), key=lambda item: -item[1])]


def read_run_set(folder: Path | str) -> RunSet:
    """Read the run folders in `folder`, which may also be a home whose `runs` are meant.

    Raises ValueError, which names the file, for a damaged one, and if there is no run folder.
    """
    folder = Path(folder).expanduser()
    folder = (folder / "runs" if (folder / "runs").is_dir() else folder).resolve()
    runs = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        config, metrics, executed = (_read(path / name) for name in ("config.json", "metrics.json", PARAMETERS))
        if config or metrics or executed:
            runs.append(Run(path, config, metrics, executed))
    if not runs:
        raise ValueError(f"there is no run folder in {folder}; try `vidseg evaluate copy_last`")
    return RunSet(folder, runs, read_leaderboard(folder))


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _short(value: object) -> str:
    if isinstance(value, Mapping | list):
        value = str(value).replace(" ", "")
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"
