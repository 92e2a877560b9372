"""Only one process at a time adds videos to a data set, and it begins by sweeping up what a killed one left.

Two at once would do the same work, and share out the splits twice.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import filelock

LOCK = ".writing.lock"
PATIENCE = 10.0  # seconds: notebooks that start together all look, one after another, whether their data are there
LEFTOVERS = (".video_*.tmp", "video_*/.*.????????.tmp.*")  # in a split: temporary names of `paths.atomic_write`


@contextlib.contextmanager
def one_writer(root: Path) -> Iterator[None]:
    """Hold the data set at `root`, a folder that is made if need be, while the block adds videos to it.

    Raises OSError in one line, with the cure, when another process goes on holding it, and for a full disk or a place
    that cannot be written, now or inside the block.
    """
    lock = filelock.FileLock(root / LOCK, timeout=PATIENCE)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        for leftover in (path for pattern in LEFTOVERS for path in root.glob(f"*/{pattern}")):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        yield
    except filelock.Timeout:
        raise OSError(f"another process is adding videos to {root}; wait until it has ended") from None
    except OSError as error:
        cure = "mend that and run the same again: it goes on where it stopped"
        raise OSError(f"cannot write {error.filename or root}: {error.strerror or error}; {cure}") from None
    finally:
        lock.release()
