"""Data are written where the file system has no flock, and empty lock files of another machine are not in the way."""

import errno
import fcntl
import threading

import pytest

from tests.helpers import fill_cache, moving_square, write_split
from vidseg_utils import file_lock
from vidseg_utils.data.cache import open_split
from vidseg_utils.data.cache.split_cache import direct_folder
from vidseg_utils.data.locks import DATASET_LOCK, lock_dataset, lock_folder, lock_path


@pytest.fixture
def no_flock(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_lock_files_that_another_machine_left_are_not_held(tmp_path, no_flock):
    write_split(tmp_path, "train", (0,))
    for path in (lock_path(tmp_path / ".cache" / "train_40x60"), tmp_path / DATASET_LOCK):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert len(open_split(tmp_path, "train", height=40, width=60, progress=False)) == 1
    with lock_dataset(tmp_path):
        pass
    assert len(fill_cache(tmp_path, "val", [moving_square(2)])) == 1
    assert not list(tmp_path.rglob("*.held"))


def test_a_long_wait_is_told_once_with_what_is_waited_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(file_lock, "TOLD_AFTER_SECONDS", 0.1)
    folder, held, done = direct_folder(tmp_path, "train"), threading.Event(), threading.Event()

    def hold():
        with lock_folder(folder):
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    threading.Timer(0.6, done.set).start()
    with lock_folder(folder):
        pass
    thread.join()
    told = capsys.readouterr().err
    assert told.count("waiting for") == 1
    assert f"waiting for the folder {folder}, in use by process " in told
