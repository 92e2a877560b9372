"""What run folders hold: settings, metrics, history, and what made them. Every table and report reads them here.

A damaged file hides nothing else: `RunFolder.fault` says what is wrong. Nothing slow is imported, because a thousand
runs are listed in a second.
"""

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vidseg_utils.paths import read_json

CONFIG, METRICS, HISTORY, LAST = "config.json", "metrics.json", "history.jsonl", "last"
PARAMETERS = "parameters.json"  # of an executed notebook: written last, so its presence means that it has finished
EXECUTED = ("executed.ipynb", "failed.ipynb")
TRAINED_ON = "trained_on"  # key of config.json: the identity of the training data, see `data.dataset_identity`
MACHINE = "machine"  # key of config.json: what made the run, see `training.describe_machine`
# Names of the main score in the lessons, the more telling one first; larger is better.
MAIN_SCORES = ("jaccard", "jaccard_through_unet", "jaccard_with", "segmentation_jaccard", "miou")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """What one run folder holds; what a damaged file would say is empty."""

    folder: Path
    name: str  # such as "unet-cpu", or "14_recurrent_unet-cpu/gru-0" for a training inside another run folder
    config: dict[str, Any] = field(default_factory=dict)  # of a training or an evaluation
    metrics: dict[str, Any] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)  # of an executed notebook: its name, profile, parameters, …
    history: list[dict[str, Any]] = field(default_factory=list)  # the epochs of a training
    was_executed: bool = False  # whether a notebook was executed, perhaps not to its end
    fault: str = ""  # what is wrong with its files

    @property
    def kind(self) -> str:
        """What made it: evaluation, training or notebook."""
        if "system" in self.config:
            return "evaluation"
        return "notebook" if self.was_executed or not (self.config or self.history) else "training"

    @property
    def state(self) -> str:
        """Finished, unfinished, or "damaged: …"."""
        if self.fault:
            return f"damaged: {self.fault}"
        by_kind = {"evaluation": self.metrics, "training": self.config.get("finished"), "notebook": self.record}
        return "finished" if by_kind[self.kind] else "unfinished"

    @property
    def profile(self) -> str:
        """Name of the profile, "" if the folder does not say."""
        return str(self.config.get("profile") or self.record.get("profile") or "")

    @property
    def machine(self) -> str:
        """The machine that made the run, "" in runs of earlier versions."""
        return str(self.config.get(MACHINE, ""))

    @property
    def data(self) -> dict[str, str]:
        """Identity of the data that the run was scored on, or else trained on; {} if unknown."""
        identity = self.config.get("scored_on", self.config.get(TRAINED_ON))
        return identity if isinstance(identity, dict) and _names_data(identity) else {}

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of an executed notebook."""
        parameters = self.record.get("parameters")
        return parameters if isinstance(parameters, dict) else {}

    @property
    def score(self) -> tuple[str, float] | None:
        """Name and value of the main score."""
        return main_score(self.metrics)


def read_run_folders(runs: Path | str) -> list[RunFolder]:
    """All run folders in `runs`, by name, and those that a run such as lesson 14's keeps inside its own."""
    runs = Path(runs)
    return [read_run_folder(folder, name=folder.relative_to(runs).as_posix()) for folder in _find(runs)]


def _find(runs: Path) -> Iterator[Path]:
    names = {CONFIG, METRICS, PARAMETERS, HISTORY, LAST, *EXECUTED}
    for folder in sorted(path for path in runs.glob("*") if path.is_dir()):
        entries = list(folder.iterdir())
        if any(entry.name in names for entry in entries):
            yield folder
            yield from sorted(entry for entry in entries if (entry / CONFIG).is_file())


def read_run_folder(folder: Path, *, name: str | None = None) -> RunFolder:
    """Read one run folder. It never raises an error for what the files hold."""
    found, faults = {}, []
    files = (("config", CONFIG), ("metrics", METRICS), ("record", PARAMETERS), ("history", HISTORY))
    for key, file in files:
        try:
            if (folder / file).is_file():
                found[key] = _checked_history(folder) if file == HISTORY else read_json(folder / file)
        except (ValueError, OSError) as error:
            faults.append(str(error).replace(f"{folder}/", ""))
    was_executed = "record" in found or any((folder / file).is_file() for file in EXECUTED)
    run = RunFolder(folder, name or folder.name, **found, was_executed=was_executed, fault="; ".join(faults))
    if not run.fault and run.kind == "evaluation" and run.metrics and (wrong := _wrong_entry(run.config | run.metrics)):
        return replace(run, fault=f"{wrong}; delete it and evaluate again")
    return run


def without_damaged(runs: Iterable[RunFolder]) -> list[RunFolder]:
    """The run folders that are not damaged; the log names the others."""
    sound = []
    for run in runs:
        if run.fault:
            logger.warning(f"run folder {run.folder} is left out, because it is damaged: {run.fault}")
        else:
            sound.append(run)
    return sound


def _checked_history(folder: Path) -> list[dict[str, Any]]:
    history = read_history(folder)
    if not all(isinstance(row, dict) and type(row.get("epoch")) is int for row in history):
        raise ValueError(f"{HISTORY} is damaged: an epoch has no number")
    return history


def read_history(run: Path | str) -> list[dict[str, Any]]:
    """One dict per epoch: epoch (from 1), train_loss, the validation metrics, learning_rate, seconds.

    An incomplete last line is skipped. Raises ValueError for other damage, FileNotFoundError if there is no history.
    """
    path = Path(run) / HISTORY
    history = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            history.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise ValueError(f"{path}, line {number} is not valid JSON") from None
    return history


def _wrong_entry(entries: Mapping[str, Any]) -> str:
    """What is wrong with what an evaluation wrote; "" if nothing is."""
    if "copy_last_jaccard" not in entries or "scored_on" not in entries:
        return "made by an earlier version"
    for key in ("system", "profile", "split", "input"):
        if not isinstance(entries.get(key), str):
            return f"{key} is no text"
    scores = ("jaccard", "copy_last_jaccard", "oracle_jaccard")
    optional = ("objects_miou", "recall_moving", "recall_still", "recall_late", "seconds_per_video", "parameters")
    for key in (*scores, *(key for key in optional if entries.get(key) is not None)):
        value = entries.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
            return f"{key} is no number"
        if key in scores and value > 1:
            return f"{key} is larger than 1"
    if type(entries.get("parameters", 0)) is not int:
        return "parameters is no whole number"
    if not isinstance(entries.get(TRAINED_ON, {}), dict):
        return f"{TRAINED_ON} does not name the data of each part"
    if not _names_data(entries["scored_on"]):
        return "scored_on does not name the data"
    size = entries.get("size")
    if not isinstance(size, list) or [type(pixels) for pixels in size] != [int, int]:
        return "size is not height and width"
    return ""


def _names_data(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("id", "text"))


def main_score(metrics: Mapping[str, Any]) -> tuple[str, float] | None:
    """Name and value of the first of MAIN_SCORES that the metrics have."""
    return next(((name, value) for name in MAIN_SCORES if (value := number(metrics.get(name))) is not None), None)


def number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return None
    return float(value)


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"fit": {"seed": 0}} -> {"fit.seed": 0}."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= flat_settings(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
