"""The run folders of a home as the report shows them: scores, trainings, sweeps, and the settings of each run."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vidseg_utils.evaluation.leaderboard import leaderboard_rows
from vidseg_utils.run_folders import MACHINE, TRAINED_ON, RunFolder, flat_settings, number, read_run_folders

_NO_SETTINGS = {"classes", "finished", "sha256", "profile", "system", TRAINED_ON, "scored_on", MACHINE}
_ALSO_VARIED = ("notebook", "seed")  # what a sweep file can vary beside the parameters of a notebook


def describe_settings(run: RunFolder) -> str:
    """The settings in one line, such as "fit.epochs=3 loss=mse"."""
    chosen = {key: value for key, value in run.config.items() if key not in _NO_SETTINGS}
    return "  ".join(f"{key}={_short(value)}" for key, value in (flat_settings(chosen) | run.parameters).items())


def _short(value: object) -> str:
    if isinstance(value, dict | list):
        value = str(value).replace(" ", "")
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def monitored(run: RunFolder) -> str | None:
    """The metric that chose the weights of a training, if its history has it."""
    fit = run.config.get("fit")
    name = fit.get("monitor") if isinstance(fit, dict) else None
    return name if isinstance(name, str) and run.history and number(run.history[0].get(name)) is not None else None


@dataclass
class Sweep:
    """The runs of one sweep, the best first."""

    name: str
    runs: list[RunFolder] = field(default_factory=list)

    @property
    def notebooks(self) -> str:
        """The notebooks that the sweep has executed."""
        return ", ".join(dict.fromkeys(str(run.record.get("notebook", "a notebook")) for run in self.runs))

    @cached_property
    def varied(self) -> list[str]:
        """What differs between the runs: parameters, or the notebook."""
        names = dict.fromkeys(name for run in self.runs for name in ("notebook", *run.parameters))
        return [name for name in names if len({repr(self.value(run, name)) for run in self.runs}) > 1]

    def value(self, run: RunFolder, name: str) -> Any:
        """What a run has for one of `varied`; "" if it has nothing."""
        return run.parameters.get(name, run.record.get("notebook", "") if name == "notebook" else "")

    def setting(self, run: RunFolder) -> str:
        """What differs, as text: "epochs 1, loss frames all"."""
        names = self.varied or list(run.parameters)
        return ", ".join(f"{name.lower().replace('_', ' ')} {self.value(run, name)}" for name in names)


@dataclass(frozen=True)
class RunSet:
    """The run folders in one folder."""

    folder: Path
    runs: list[RunFolder]

    @property
    def name(self) -> str:
        """The folder's name, or that of the home around a folder `runs`."""
        return self.folder.parent.name if self.folder.name == "runs" else self.folder.name

    @property
    def scores(self) -> list[dict[str, Any]]:
        """The rows of the leaderboard."""
        return leaderboard_rows(self.runs)

    @property
    def damaged(self) -> list[RunFolder]:
        """The run folders with damaged files."""
        return [run for run in self.runs if run.fault]

    @property
    def sweeps(self) -> list[Sweep]:
        """The sweeps among the runs: folders named SWEEP-PROFILE-PARAMETER=VALUE."""
        sweeps: dict[str, Sweep] = {}
        for run in self.runs:
            match = re.match(rf"(.+?)-{re.escape(run.profile)}-(\w+)=", run.name) if run.profile else None
            if match and run.record and (match[2] in run.parameters or match[2] in _ALSO_VARIED):
                name = f"{match[1]}, {run.profile}"
                sweeps.setdefault(name, Sweep(name)).runs.append(run)
        for sweep in sweeps.values():
            sweep.runs.sort(key=lambda run: -(run.score or ("", -1.0))[1])
        return list(sweeps.values())

    @property
    def trainings(self) -> list[RunFolder]:
        """The trainings of at least two epochs that are no part of a sweep; those inside other run folders are last."""
        swept = {run.name for sweep in self.sweeps for run in sweep.runs}
        found = [run for run in self.runs if len(run.history) > 1 and run.name.split("/")[0] not in swept]
        return sorted(found, key=lambda run: "/" in run.name)

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

    Raises ValueError if there is no run folder.
    """
    folder = Path(folder).expanduser()
    folder = (folder / "runs" if (folder / "runs").is_dir() else folder).resolve()
    runs = read_run_folders(folder)
    if not runs:
        raise ValueError(f"there is no run folder in {folder}; try `vidseg evaluate copy_last`")
    return RunSet(folder, runs)
