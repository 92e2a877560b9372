"""One lock for all files that processes share: `lock_file`. Whoever waits long is told for what, and for whom.

The lock is `flock` on a lock file, so a process that is killed holds nothing. Some file systems have no `flock` (Lustre
without its option, some FUSE mounts, Google Drive). There, a second file beside the lock file marks the lock as held.
Its holder renews it, so that the marker of a machine that has gone is recognised. The lock file alone, as a machine
with `flock` leaves it, never counts as held.
"""

import contextlib
import errno
import math
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

TOLD_AFTER_SECONDS = 5.0
POLL_SECONDS = 0.1
RENEWAL_SECONDS = 10.0  # a marker is renewed this often,
STALE_SECONDS = 90.0  # and counts as left behind if it was not renewed for this long
NO_FLOCK = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


@contextlib.contextmanager
def lock_file(path: Path | str, *, purpose: str, timeout_seconds: float = math.inf) -> Iterator[None]:
    """Hold the lock file `path` during the block; it and its folder are created, and the file stays.

    purpose: what is waited for, such as "the data set data/cpu", for the line on stderr after 5 s of waiting
    timeout_seconds: 0 makes one attempt
    Raises TimeoutError that names the holder once the time is over, OSError if the file cannot be made.
    """
    path, started, told, seen = Path(path), time.monotonic(), False, _Watch()
    while (release := _try_to_lock(path, seen)) is None:
        waited = time.monotonic() - started
        if waited >= timeout_seconds:
            raise TimeoutError(f"{purpose} is in use by {holder(path)}; wait until it has ended")
        if waited >= TOLD_AFTER_SECONDS and not told:
            print(f"waiting for {purpose}, in use by {holder(path)} (lock file {path})", file=sys.stderr, flush=True)
            told = True
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        release()


def holder(path: Path) -> str:
    """Who holds the lock: "process 123 on HOST", or "another process" if the file does not say."""
    for file in (_marker(path), path):
        with contextlib.suppress(OSError, ValueError):
            pid, host = file.read_text(encoding="utf-8").split()[:2]
            return f"process {int(pid)} on {host}"
    return "another process"


def _try_to_lock(path: Path, seen: "_Watch") -> Callable[[], None] | None:
    """A function that releases the lock, or None if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is None:
            return _try_to_mark(path, seen)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in NO_FLOCK:
                return _try_to_mark(path, seen)
            raise
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(descriptor)):
            return None  # the folder was deleted while we waited; the next attempt makes a new file
        with contextlib.suppress(OSError):  # a full disk: the lock works without the name of its holder
            os.ftruncate(descriptor, 0)
            os.write(descriptor, _identity().encode())
        held, descriptor = descriptor, -1
        return lambda: os.close(held)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


class _Watch:
    """What a waiting process saw of a marker: its content and time, and since when they are the same."""

    def __init__(self) -> None:
        self.state: tuple[str, float] | None = None
        self.since = 0.0

    def seconds_unchanged(self, state: tuple[str, float]) -> float:
        if state != self.state:
            self.state, self.since = state, time.monotonic()
        return time.monotonic() - self.since


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.held")


def _identity() -> str:
    return f"{os.getpid()} {socket.gethostname()}\n"


def _try_to_mark(path: Path, seen: _Watch) -> Callable[[], None] | None:
    """As `_try_to_lock`, where there is no `flock`."""
    marker, own = _marker(path), f"{_identity()}{uuid.uuid4().hex}\n"
    try:
        descriptor = os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        _remove_if_left_behind(marker, seen)
        return None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(own)
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(RENEWAL_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(marker)

    threading.Thread(target=renew, name=f"renews {marker.name}", daemon=True).start()

    def release() -> None:
        ended.set()
        with contextlib.suppress(OSError):
            if marker.read_text(encoding="utf-8") == own:
                marker.unlink()

    return release


def _remove_if_left_behind(marker: Path, seen: _Watch) -> None:
    """Remove the marker of a process of this machine that has ended, or one that is no longer renewed."""
    try:
        state = marker.read_text(encoding="utf-8"), marker.stat().st_mtime
    except FileNotFoundError:
        return
    pid, host = (*state[0].split(), "", "")[:2]
    if host == socket.gethostname() and pid.isdecimal() and os.name == "posix":
        left_behind = not _is_alive(int(pid))
    else:
        left_behind = seen.seconds_unchanged(state) > STALE_SECONDS
    if left_behind:
        aside = marker.with_name(f"{marker.name}.{uuid.uuid4().hex[:8]}")
        with contextlib.suppress(FileNotFoundError):
            marker.rename(aside)  # atomic: of several waiting processes, one succeeds
            if aside.read_text(encoding="utf-8") != state[0]:  # another process has taken the lock in between
                aside.rename(marker)
            else:
                aside.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
