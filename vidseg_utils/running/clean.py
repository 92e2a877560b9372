"""What can be deleted without losing a result: caches, unfinished runs, and what killed processes left behind."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vidseg_utils.file_lock import lock_file
from vidseg_utils.paths import data_dir, read_json, runs_dir
from vidseg_utils.run_folders import CONFIG, read_run_folders

LITTER = re.compile(r"\..+\.[0-9a-f]{8}\.tmp(\..*)?")  # the names that `atomic_write` gives
LITTER_SECONDS = 3600.0  # a younger file may still be written
PARTS, SHARDS = ".parts", "*.shards"  # where several processes leave what they made: of a forecast, of a data set


class Deletable(NamedTuple):
    """A file or folder that can be deleted, and the lock files of those who may use it."""

    kind: str  # cache, unfinished run, parts or litter
    path: Path
    n_bytes: int
    locks: tuple[Path, ...] = ()


def find_deletable() -> list[Deletable]:
    """All that can be deleted in the folders of data and runs, by kind."""
    return [*_caches(), *_unfinished_runs(), *_parts(), *_litter()]


def delete(item: Deletable) -> str:
    """Delete it; returns why it was not deleted, "" if it was."""
    try:
        for lock in item.locks:
            with lock_file(lock, purpose=str(item.path), timeout_seconds=0):
                pass
        shutil.rmtree(item.path) if item.path.is_dir() else item.path.unlink(missing_ok=True)
    except (TimeoutError, OSError) as error:
        return str(error)
    return ""


def _caches() -> Iterator[Deletable]:
    """Caches that are made again from image files when they are needed; those that are the data set itself are not."""
    from vidseg_utils.data.cache.split_cache import CACHES, FILLED_DIRECTLY, META_FILE

    for folders in (data_dir().glob(f"*/{CACHES}"), (data_dir() / CACHES).glob("*")):
        for folder in sorted(path for parent in folders for path in parent.glob("*") if path.is_dir()):
            try:
                source = read_json(folder / META_FILE)["source"]
            except (OSError, ValueError, KeyError):
                continue  # perhaps still being filled
            if isinstance(source, str) and not source.startswith(FILLED_DIRECTLY):
                lock = folder.with_name(f"{folder.name}.lock")
                yield Deletable("cache", folder, _size(folder), (lock,) if lock.exists() else ())


def _unfinished_runs() -> Iterator[Deletable]:
    """Runs that began and did not finish, unless they hold a training that did."""
    for run in read_run_folders(runs_dir()):
        folder = run.folder
        if run.state == "unfinished" and not any(map(_is_finished, folder.rglob(CONFIG))):
            locks = [folder / name for name in (".lock", ".executing.lock") if (folder / name).exists()]
            yield Deletable("unfinished run", folder, _size(folder), tuple(locks))


def _parts() -> Iterator[Deletable]:
    """What an ended evaluation or generation of several processes left, and would take up again."""
    from vidseg_utils.data.cache.split_cache import CACHES
    from vidseg_utils.data.locks import DATASET_LOCK, lock_path

    parts = [(folder, lock_path(folder)) for folder in sorted(runs_dir().glob(f"*/{PARTS}"))]
    parts += [(folder, folder.parents[1] / DATASET_LOCK) for folder in sorted(data_dir().glob(f"*/{CACHES}/{SHARDS}"))]
    for folder, lock in parts:
        if _is_old(folder):
            yield Deletable("parts", folder, _size(folder), (lock,) if lock.exists() else ())


def _is_finished(config: Path) -> bool:
    try:
        return read_json(config).get("finished") is not False
    except ValueError:
        return True  # not to be judged here


def _litter() -> Iterator[Deletable]:
    for parent in (runs_dir(), data_dir()):
        for pattern in (".*", "*/.*", "*/*/.*"):
            for path in sorted(parent.glob(pattern)):
                if LITTER.fullmatch(path.name) and _is_old(path):
                    yield Deletable("litter", path, _size(path))


def _is_old(path: Path) -> bool:
    """Whether nobody has written it for LITTER_SECONDS."""
    return time.time() - path.stat().st_mtime > LITTER_SECONDS


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
