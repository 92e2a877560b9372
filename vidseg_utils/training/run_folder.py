"""The run folder of a training: its lock, its settings, its history, and whether the training is finished.

Every file is written atomically, so the folder stays valid if its writer is killed.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vidseg_utils.file_lock import lock_file
from vidseg_utils.paths import atomic_write, read_json, write_json

WEIGHTS, CONFIG, HISTORY, LAST = "weights.safetensors", "config.json", "history.jsonl", "last"
CONSTANTS = "constants.json"  # instead of weights, where constants of a formula are fitted
OWN_FILES = (WEIGHTS, CONSTANTS, CONFIG, HISTORY)


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
        write_json(run / CONFIG, {**settings, "finished": False})
        return
    old = {**_flat(json.loads(json.dumps(defaults))), **_flat(found)}
    old.pop("finished", None)
    new = _flat(settings)
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


def finish(run: Path) -> None:
    """Mark the training as complete, and remove the state that only a resumed training needs."""
    write_json(run / CONFIG, {**read_config(run), "finished": True})
    shutil.rmtree(run / LAST, ignore_errors=True)


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


def write_history(run: Path, history: list[dict[str, Any]]) -> None:
    """Write the whole history, one JSON line per epoch."""
    with atomic_write(run / HISTORY) as temporary:
        temporary.write_text("".join(json.dumps(epoch, allow_nan=False) + "\n" for epoch in history), encoding="utf-8")


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"fit": {"seed": 0}} -> {"fit.seed": 0}."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
