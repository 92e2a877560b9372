"""Proves that one process at a time holds a lock file, with and without `flock`; a long wait names the holder."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
import threading

import pytest

from vidseg_utils import file_lock
from vidseg_utils.file_lock import lock_file

HOLD = """
import sys
from vidseg_utils import file_lock
if sys.argv[2] == "no flock":
    file_lock.fcntl = None
with file_lock.lock_file(sys.argv[1], purpose="it"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["flock", "no flock"])
def flock(request, monkeypatch):
    """Whether the file system has flock."""

    def missing(*arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    if request.param == "no flock":
        monkeypatch.setattr(fcntl, "flock", missing)
    return request.param


@pytest.fixture
def other(tmp_path, flock):
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock"), flock]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_is_refused_with_its_holder_until_that_process_is_killed(tmp_path, other):
    words = f"the table is in use by process {other.pid} on {socket.gethostname()}"
    with pytest.raises(TimeoutError, match=words), lock_file(tmp_path / "lock", purpose="the table", timeout_seconds=0):
        pass
    other.kill()
    other.wait()
    with lock_file(tmp_path / "lock", purpose="the table", timeout_seconds=5):
        pass


def test_a_long_wait_is_told_once(tmp_path, other, monkeypatch, capsys):
    monkeypatch.setattr(file_lock, "TOLD_AFTER_SECONDS", 0.2)
    threading.Timer(1, other.stdin.close).start()
    with lock_file(tmp_path / "lock", purpose="the table"):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"waiting for the table, in use by process {other.pid} on ")


def test_old_empty_lock_files_are_not_held(tmp_path, flock):
    (tmp_path / "lock").touch()
    with lock_file(tmp_path / "lock", purpose="it", timeout_seconds=0):
        pass
    with lock_file(tmp_path / "lock", purpose="it", timeout_seconds=0):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"lock"}


def test_a_marker_of_another_machine_counts_until_it_is_no_longer_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(file_lock, "fcntl", None)
    marker = tmp_path / "lock.held"
    marker.write_text(f"{os.getpid()} elsewhere\n0123\n")
    words = f"in use by process {os.getpid()} on elsewhere"
    with pytest.raises(TimeoutError, match=words), lock_file(tmp_path / "lock", purpose="it", timeout_seconds=0.3):
        pass
    monkeypatch.setattr(file_lock, "STALE_SECONDS", 0.3)
    with lock_file(tmp_path / "lock", purpose="it", timeout_seconds=5):
        assert marker.read_text().startswith(f"{os.getpid()} {socket.gethostname()}")
    assert not marker.exists()


def test_a_deleted_folder_is_made_again(tmp_path):
    with lock_file(tmp_path / "run" / "lock", purpose="it"):
        (tmp_path / "run" / "lock").unlink()
    with lock_file(tmp_path / "run" / "lock", purpose="it", timeout_seconds=0):
        assert (tmp_path / "run" / "lock").is_file()
