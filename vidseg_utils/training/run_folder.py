"""The run folder: who may write to it, which settings it belongs to, its history, and whether it is finished.

Every file is written atomically, so the folder is valid whenever its writer is killed.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vidseg_utils.paths import atomic_write, read_json, write_json

WEIGHTS, CONFIG, HISTORY, LAST = "weights.safetensors", "config.json", "history.jsonl", "last"
CONSTANTS = "constants.json"  # in place of weights where a formula is fitted, not a network
OURS = (WEIGHTS, CONSTANTS, CONFIG, HISTORY)


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the run folder against other processes. Raises ValueError if one of them has it."""
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"run folder {run} is in use by another process; wait for it or choose another folder"
        ) from None
    try:
        for name in OURS:  # temporary files of a process that was killed while it wrote
            stem, suffix = name.rsplit(".", 1)
            for leftover in run.glob(f".{stem}.*.tmp.{suffix}"):
                leftover.unlink()
        yield
    finally:
        lock.release()


def read_config(run: Path) -> dict[str, Any]:
    """The run's settings, {} for a folder that has none yet. Raises ValueError if the file is damaged."""
    path = run / CONFIG
    return read_json(path) if path.is_file() else {}


def is_finished(run: Path | str) -> bool:
    """Whether the run was trained to its end."""
    return read_config(Path(run)).get("finished") is True and is_trained(run)


def is_trained(run: Path | str) -> bool:
    """Whether the run folder holds weights, or fitted constants in their place; training may still go on."""
    return any((Path(run) / name).is_file() for name in (WEIGHTS, CONSTANTS))


def claim(run: Path, settings: dict[str, Any], *, defaults: dict[str, Any]) -> None:
    """Make the folder that of `settings`, or check that it already is: config.json holds what decides the weights.

    defaults: values of settings that a config.json from an older version may lack
    Raises ValueError naming the settings that differ, and the cure.
    """
    settings = json.loads(json.dumps(settings))  # as they will be read back: tuples become lists
    found = read_config(run)
    if not found:
        write_json(run / CONFIG, {**settings, "finished": False})
        return
    there = {**_flat(json.loads(json.dumps(defaults))), **_flat(found)}
    there.pop("finished", None)
    here = _flat(settings)
    differing = [
        f"{key}: {json.dumps(there[key]) if key in there else 'nothing'} there, "
        f"{json.dumps(here[key]) if key in here else 'nothing'} here"
        for key in sorted({*there, *here})
        if key not in there or key not in here or there[key] != here[key]
    ]
    if differing:
        state = "was finished" if is_finished(run) else "was begun"
        raise ValueError(
            f"run folder {run} {state} with other settings ({'; '.join(differing)}); "
            "use those, choose another run folder, or delete this one to train anew"
        )


def finish(run: Path) -> None:
    """Mark the run as trained to its end, and remove what only a resumed run needs."""
    write_json(run / CONFIG, {**read_config(run), "finished": True})
    shutil.rmtree(run / LAST, ignore_errors=True)


def read_history(run: Path | str) -> list[dict[str, Any]]:
    """One dict an epoch: epoch (from 1), train_loss, the validation metrics, learning_rate, seconds.

    A last line that was cut short is left out. Raises ValueError for any other damage, FileNotFoundError if missing.
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
    """Write the whole history, one JSON line an epoch."""
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
