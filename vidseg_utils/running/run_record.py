"""What a finished run of a notebook was made from, and whether any of it has changed since.

Nothing slow is imported, because with nothing to do `vidseg run --all` should end at once.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vidseg_utils
from vidseg_utils.paths import data_dir, notebook_run_folder, read_json, runs_dir
from vidseg_utils.run_folders import CONFIG, METRICS, PARAMETERS
from vidseg_utils.running.notebook_file import identity, notebooks_dir
from vidseg_utils.running.workbook import notebooks_before, sweeps_before

OPTIONAL_DATA = {"COURSE_ROOT": "course", "REAL_ROOT": "course", "CLEVRER_ROOT": "clevrer"}  # parameter -> data/NAME
# Files of the room `running` that the cells of a notebook reach. The others execute notebooks and change no result.
IN_NOTEBOOKS = {"notebook", "notebook_file", "parameter_values", "run_record", "sweep", "sweep_results", "workbook"}
DIGITS = 12  # of a digest


@dataclass(frozen=True)
class NotebookRun:
    """A notebook with a profile and parameters, executed or not, and its run folder."""

    notebook: Path
    profile: str
    parameters: dict[str, object] = field(default_factory=dict)
    name: str = "auto"  # of the run folder; "auto": NOTEBOOK-PROFILE

    @property
    def folder(self) -> Path:
        """The run folder."""
        # a solution has the file name of its lesson, but needs its own run folder
        is_solution = self.notebook.resolve().parent.name == "solutions"
        stem = f"{self.notebook.stem}_solutions" if is_solution else self.notebook.stem
        return notebook_run_folder(stem, self.profile, self.name)

    def describe(self) -> dict[str, object]:
        """The notebook, the profile and the parameters as the record keeps them."""
        return {**identity(self.notebook), "profile": self.profile, "parameters": self.parameters}

    def is_finished(self) -> bool:
        """Whether the notebook was executed to its end with these parameters, and its record and metrics are sound."""
        record = _read_sound_record(self.folder)
        is_same = all(record.get(key) == value for key, value in self.describe().items())
        return is_same and not _metrics_fault(self.folder)


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a finished run; {} if it is not finished. Raises ValueError if the file is damaged."""
    path = folder / PARAMETERS
    if not path.is_file():
        return {}
    record = read_json(path)
    record.setdefault("path", f"{record.get('notebook')}.ipynb")  # earlier versions wrote only the name
    return record


def _read_sound_record(folder: Path) -> dict[str, Any]:
    try:
        return read_record(folder)
    except ValueError:
        return {}


def _metrics_fault(folder: Path) -> str:
    """What is wrong with the metrics of a run; "" if they are sound, or if it recorded none."""
    try:
        if (folder / METRICS).is_file():
            read_json(folder / METRICS)
    except ValueError as error:
        return str(error)
    return ""


def inputs_before(run: NotebookRun) -> dict[str, Any]:
    """What is known before the notebook is executed: digests of its cells, of the code, and of what it reads."""
    return {"cells": cells_digest(run.notebook), "code": code_digests(), "read": _results_before(run)}


def inputs_after(run: NotebookRun, parts: list[Path], roots: list[Path]) -> dict[str, Any]:
    """What the notebook has used: the checksums of parts by run folder, and the identities of data sets by root."""
    code, package = "\n".join(_code_cells(run.notebook)), Path(vidseg_utils.__file__).parent
    known = {data_dir() / name for parameter, name in OPTIONAL_DATA.items() if parameter in code}
    own = [part for part in parts if package not in part.parents]  # the others come with the package
    data = {root: {"id": data_id(root), "stamp": _stamp(root)} for root in sorted({*roots, *known})}
    return {
        "parts": {_relative(part, runs_dir()): part_digest(part) for part in own},
        "data": {_relative(root, data_dir()): noted for root, noted in data.items()},
    }


def why_stale(run: NotebookRun) -> list[str]:
    """Why the notebook has to be executed, in short phrases; none if its run is up to date."""
    try:
        record = read_record(run.folder)
    except ValueError as error:
        return [str(error)]
    if not record:
        return ["it has no finished run"]
    if not {"cells", "code", "read", "parts", "data"} <= record.keys():
        return ["its run is of an earlier version, which did not note what it was made from"]
    reasons = []
    if record["path"] != identity(run.notebook)["path"]:
        reasons.append(f"its run folder holds another notebook ({record['path']})")
    if record.get("parameters") != run.parameters:
        names = _differing(record.get("parameters", {}), run.parameters)
        reasons.append(f"it was executed with other parameters ({', '.join(names)})")
    if record["cells"] != cells_digest(run.notebook):
        reasons.append("its code cells have changed")
    if rooms := _differing(record["code"], code_digests()):
        reasons.append(f"the code of the package has changed ({', '.join(rooms)})")
    roots = {data_dir() / name: noted for name, noted in record["data"].items()}
    reasons += [f"the data {root} have changed" for root, noted in roots.items() if _has_changed(root, noted)]
    reasons += filter(None, [_metrics_fault(run.folder)])
    parts = {name: _sound_digest(runs_dir() / name) for name in record["parts"]}
    reasons += [f"the part {name} has other weights" for name in _differing(record["parts"], parts)]
    reasons += [f"{name} has new results" for name in _differing(record["read"], _results_before(run))]
    return reasons


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in {*old, *new} if key not in old or key not in new or old[key] != new[key])


def _results_before(run: NotebookRun) -> dict[str, str | None]:
    """A digest of the results of each notebook and sweep that the notebook reads; None without results."""
    results: dict[str, str | None] = {}
    for notebook in notebooks_before(run.notebook):
        results[notebook.stem] = _results_digest([NotebookRun(notebook, run.profile).folder])
    for sweep in sweeps_before(run.notebook):
        results[f"sweep {sweep}"] = _results_digest(sorted(runs_dir().glob(f"{sweep}-*")))
    return results


def _results_digest(folders: list[Path]) -> str | None:
    """What others can read of finished runs follows from the parts that these have used; None without a run."""
    records = {folder.name: _read_sound_record(folder) for folder in folders}
    parts = {name: record.get("parts") for name, record in records.items() if record}
    return _digest(json.dumps(parts, sort_keys=True).encode()) if parts else None


def cells_digest(notebook: Path) -> str:
    """Digest of the code cells: prose and outputs change no result."""
    return _digest("\n\0".join(_code_cells(notebook)).encode())


def _code_cells(notebook: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in read_json(notebook)["cells"] if cell["cell_type"] == "code"]


def code_digests() -> dict[str, str]:
    """A digest of the code of each room of the package that a notebook can reach."""
    package, lessons, sources = Path(vidseg_utils.__file__).parent, notebooks_dir(), {}
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        is_reached = inside.stem in IN_NOTEBOOKS if inside.parts[0] == "running" else inside.parts[0] != "weights"
        if is_reached and package / inside.parts[0] != lessons:
            sources.setdefault(inside.with_suffix("").parts[0], []).append(f"{inside}\n".encode() + path.read_bytes())
    return {room: _digest(b"\0".join(files)) for room, files in sources.items()}


def part_digest(run: Path) -> str | None:
    """The checksum of the weights or constants of a training; None if it is not finished."""
    path = run / CONFIG
    config = read_json(path) if path.is_file() else {}
    return config.get("sha256") if config.get("finished") else None


def _sound_digest(run: Path) -> str | None:
    """As `part_digest`; None also for a damaged part: the notebook that loads it says what is wrong."""
    try:
        return part_digest(run)
    except ValueError:
        return None


def data_id(root: Path) -> str | None:
    """The id of a data set; None if there is none."""
    from vidseg_utils.data import dataset_identity

    if not root.is_dir():
        return None
    try:
        return dataset_identity(root)["id"]
    except ValueError:  # no videos, such as CLEVRER's annotations
        return _digest("\n".join(sorted(path.name for path in root.iterdir())).encode())


def _stamp(root: Path) -> str | None:
    """The times of the files and folders in a data set; None if there is none."""
    if not root.is_dir():
        return None
    entries = sorted(f"{entry.name} {entry.stat().st_mtime_ns}" for entry in root.glob("[!.]*"))
    return _digest("\n".join(entries).encode())


def _has_changed(root: Path, noted: Mapping[str, str | None]) -> bool:
    """Whether a data set is another one than was noted; with the same stamp, it is not read."""
    return _stamp(root) != noted["stamp"] and data_id(root) != noted["id"]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def _relative(path: Path, folder: Path) -> str:
    """The path as the record keeps it: relative to `folder` if it is inside, so that the folder may be moved."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
