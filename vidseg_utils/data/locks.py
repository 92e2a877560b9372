"""Locks between processes: one process at a time adds videos to a data set, or writes the arrays of a folder."""

import contextlib
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

from vidseg_utils.file_lock import lock_file

DATASET_LOCK = ".writing.lock"
DATASET_TIMEOUT_SECONDS = math.inf  # notebooks that start together wait for the one that generates their data
LEFTOVERS = (".video_*.tmp", "video_*/.*.????????.tmp.*")  # in a split: temporary names of `paths.atomic_write`


@contextlib.contextmanager
def lock_dataset(root: Path) -> Iterator[None]:
    """Hold the data set at `root` while the block adds videos to it. Creates the folder and removes the temporary
    files that a killed process left.

    Raises OSError with a message of one line that names the cure: when another process keeps the lock, when the disk
    is full and when a path cannot be written. This includes every OSError of the block.
    """
    lock = lock_file(root / DATASET_LOCK, purpose=f"the data set {root}", timeout_seconds=DATASET_TIMEOUT_SECONDS)
    try:
        with lock:
            for leftover in (path for pattern in LEFTOVERS for path in root.glob(f"*/{pattern}")):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            yield
    except TimeoutError as error:
        raise OSError(f"another process is adding videos to {root}: {error}") from None
    except OSError as error:
        cure = "correct that and run the same command again: it resumes"
        raise OSError(f"cannot write {error.filename or root}: {error.strerror or error}; {cure}") from None


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the lock for writing `folder`; other processes wait. The lock file beside the folder stays."""
    with lock_file(lock_path(folder), purpose=f"the folder {folder}"):
        yield


def lock_path(folder: Path) -> Path:
    """The file of `lock_folder`."""
    return folder.with_name(f"{folder.name}.lock")
