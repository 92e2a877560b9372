"""Only one process at a time adds videos to a data set, and it begins by sweeping up what a killed one left.

Two at once would do the same work, and share out the splits twice.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import filelock

LOCK = ".writing.lock"
LEFTOVERS = (".video_*.tmp", "video_*/.*.????????.tmp.*")  # in a split: temporary names of `paths.replacing`


@contextlib.contextmanager
def one_writer(root: Path) -> Iterator[None]:
    """Hold the data set at `root`, a folder that is made if need be.

    Raises OSError in one line when another process holds it or nobody can write there.
    """
    lock = filelock.FileLock(root / LOCK)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise OSError(f"another process is adding videos to {root}; wait until it has ended") from None
    except OSError as error:
        raise OSError(f"cannot write {error.filename or root}: {error.strerror or error}") from None
    try:
        for leftover in (path for pattern in LEFTOVERS for path in root.glob(f"*/{pattern}")):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        yield
    finally:
        lock.release()
