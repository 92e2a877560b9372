"""The run folder of a training: its lock, its settings, its history, and whether the training is finished.

Every file is written atomically, so the folder stays valid if its writer is killed.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vidseg_utils.data.identity import has_grown
from vidseg_utils.file_lock import lock_file
from vidseg_utils.paths import atomic_write, read_json, write_json
from vidseg_utils.run_folders import CONFIG, HISTORY, LAST, MACHINE, TRAINED_ON, flat_settings
from vidseg_utils.training.machine import describe_machine
from vidseg_utils.training.shipped import SHIPPED_MARK, is_shipped
from vidseg_utils.usage import note_part

WEIGHTS = "weights.safetensors"
CONSTANTS = "constants.json"  # instead of weights, where constants of a formula are fitted
FITTED_TO, FITTED_VIDEOS = "fitted_to", "fitted_videos"  # keys of config.json: "annotations" or "masks", and how many
UNKNOWN_DATA = {"id": "unknown", "text": "unknown data"}  # in place of TRAINED_ON for runs of earlier versions
OWN_FILES = (WEIGHTS, CONSTANTS, CONFIG, HISTORY)

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Lock the run folder against other processes. Waits while another one uses it; a long wait is told on stderr."""
    with lock_file(run / ".lock", purpose=f"run folder {run}"):
        for name in OWN_FILES:  # remove temporary files of a process that was killed while writing
            stem, suffix = name.rsplit(".", 1)
            for leftover in run.glob(f".{stem}.*.tmp.{suffix}"):
                leftover.unlink()
        yield


def read_config(run: Path) -> dict[str, Any]:
    """Content of config.json; {} if there is none yet. Raises ValueError if the file is damaged."""
    path = run / CONFIG
    return read_json(path) if path.is_file() else {}


def is_finished(run: Path | str) -> bool:
    """Whether the training of the run is complete."""
    return read_config(Path(run)).get("finished") is True and is_trained(run)


def is_evaluation(run: Path | str) -> bool:
    """Whether the run folder holds the evaluation of a system."""
    return "system" in read_config(Path(run))


def is_interrupted(run: Path | str) -> bool:
    """Whether a training of the run began and is not complete."""
    return not is_finished(run) and (is_trained(run) or (Path(run) / LAST).is_dir())


def is_trained(run: Path | str) -> bool:
    """Whether the run folder holds weights or fitted constants; the training may still be unfinished."""
    return any((Path(run) / name).is_file() for name in (WEIGHTS, CONSTANTS))


def claim(run: Path, settings: dict[str, Any], *, defaults: dict[str, Any]) -> None:
    """Write `settings` to config.json of a new run folder, or check that an existing one has the same settings.

    defaults: values of settings that the config.json of an older version may lack
    Raises ValueError naming the settings that differ, and the cure.
    """
    settings = json.loads(json.dumps(settings))  # as they are read back: tuples become lists
    found = read_config(run)
    if not found:
        shutil.rmtree(run / LAST, ignore_errors=True)  # nothing says which data and settings that state belongs to
        write_json(run / CONFIG, {**settings, "finished": False})
        return
    if is_evaluation(run):
        raise ValueError(f"run folder {run} holds the evaluation of a system; choose another name, or delete it")
    checked = {"finished", "sha256", MACHINE, FITTED_TO, FITTED_VIDEOS}
    if TRAINED_ON in settings:
        check_trained_on(run, settings[TRAINED_ON])
        checked.add(TRAINED_ON)
    if "classes" in settings and "classes" in found:
        if other := describe_other_classes(run, settings["classes"]):
            raise ValueError(other)
        checked.add("classes")
    old = flat_settings({key: value for key, value in found.items() if key not in checked})
    old = {**flat_settings(json.loads(json.dumps(defaults))), **old}
    new = flat_settings({key: value for key, value in settings.items() if key not in checked})
    differing = [
        f"{key}: {json.dumps(old[key]) if key in old else 'nothing'} in the folder, "
        f"{json.dumps(new[key]) if key in new else 'nothing'} now"
        for key in sorted({*old, *new})
        if key not in old or key not in new or old[key] != new[key]
    ]
    if differing:
        state = "was finished" if is_finished(run) else "was begun"
        raise ValueError(
            f"run folder {run} {state} with other settings ({'; '.join(differing)}); use the same settings"
        )


def check_trained_on(run: Path, asked: dict[str, str]) -> None:
    """Raise ValueError if the training in the run folder does not note `asked` as the identity of its data."""
    found = read_config(run).get(TRAINED_ON)
    if not isinstance(found, dict) or not {"id", "text"} <= found.keys():
        raise ValueError(f"run folder {run} was made by an earlier version, which did not note its training data")
    if found["id"] != asked["id"]:
        other = (
            "the same data at other sizes: it has grown or shrunk since" if has_grown(found, asked) else "other data"
        )
        raise ValueError(
            f"run folder {run} was trained on {other} ({found['text']}, id {found['id']}); "
            f"the data now are {asked['text']}, id {asked['id']}"
        )


def describe_other_classes(run: Path, names: Sequence[str]) -> str:
    """Where the classes of the run differ from `names`, class 0 first, in one sentence; "" if nowhere."""
    found, names = read_config(run).get("classes"), list(names)
    if found is None or found == names:
        return ""
    pairs = enumerate(itertools.zip_longest(found, names))
    class_id, (theirs, ours) = next((number, pair) for number, pair in pairs if pair[0] != pair[1])
    return f"run folder {run} was trained for other classes: class {class_id} is {theirs!r} there and {ours!r} here"


def finish(run: Path, *, sha256: str, n_processes: int = 1) -> None:
    """Mark the training as complete, and remove the state that only a resumed training needs.

    sha256: checksum of the weights or constants
    n_processes: that trained together
    """
    machine = describe_machine() + (f", {n_processes} processes" if n_processes > 1 else "")
    write_json(run / CONFIG, {**read_config(run), "finished": True, "sha256": sha256, MACHINE: machine})
    shutil.rmtree(run / LAST, ignore_errors=True)


def file_sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def trained_file(run: Path, name: str) -> Path:
    """Path of the weights or constants `name` of a finished run.

    Raises ValueError, with the cure, if the run is not finished or the file has another checksum than the run's.
    """
    path, config = run / name, read_config(run)
    if not path.is_file():
        raise ValueError(f"{path} is missing: the run is not trained yet; train it first")
    if config.get("finished") is not True:
        raise ValueError(f"run folder {run} is not finished; train it with the same command as before, which resumes")
    if not {"sha256", TRAINED_ON} & config.keys():
        logger.warning(f"{run} was made by an earlier version: its {name} has no checksum to compare")
    elif file_sha256(path) != config.get("sha256"):
        raise ValueError(f"{path} is damaged: its checksum is not the one in {CONFIG}; delete the run and train again")
    note_part(run)
    return path


def note_run(trained: object, run: Path) -> None:
    """Note in a network, or in fitted constants, the run that it comes from; `training_data` reads it."""
    name = f"{run.name} {SHIPPED_MARK}" if is_shipped(run) else run.name
    vars(trained)["_run"] = {name: read_config(run).get(TRAINED_ON, UNKNOWN_DATA)}


def training_data(trained: object) -> dict[str, dict[str, str]]:
    """{name of the run folder: identity of its training data} of a network or of constants; {} if they have no run."""
    return vars(trained).get("_run", {})


def write_history(run: Path, history: list[dict[str, Any]]) -> None:
    """Write the whole history, one JSON line per epoch."""
    with atomic_write(run / HISTORY) as temporary:
        temporary.write_text("".join(json.dumps(epoch, allow_nan=False) + "\n" for epoch in history), encoding="utf-8")
