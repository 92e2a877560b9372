"""Resumable arrays: complete rows survive interruptions, kills and full disks, and readers are never disturbed."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import full_disk
from vidseg_utils.data import resumable_arrays
from vidseg_utils.data.resumable_arrays import SAVE_EVERY_ROWS, ResumableArrays

ROW_SHAPES = {"frames.npy": (3, 40, 60), "masks.npy": (40, 60)}
ROW_BYTES = 4 * 40 * 60


def open_arrays(folder, source="seed 1"):
    return ResumableArrays(folder, ROW_SHAPES, source={"made from": source})


def blocks(*rows):
    """Rows whose values are their index."""
    return [np.stack([np.full(shape, row, np.uint8) for row in rows]) for shape in ROW_SHAPES.values()]


def fill(folder, *rows, source="seed 1"):
    arrays = open_arrays(folder, source)
    arrays.reserve(arrays.n_done + len(rows))
    arrays.append(*blocks(*rows))
    arrays.trim()


def read(folder):
    """The value of each row, after a check that both arrays hold the same one in every pixel."""
    frames, masks = (np.load(folder / name, mmap_mode="r") for name in ROW_SHAPES)
    assert (frames == masks[:, None]).all() and (masks == masks[:, :1, :1]).all()
    return masks[:, 0, 0].tolist()


def test_an_interrupted_writer_resumes_with_its_rows_and_notes(tmp_path):
    arrays = open_arrays(tmp_path / "set")
    arrays.reserve(5)
    arrays.append(*blocks(0, 1))
    arrays.notes["numbers"] = [7, 9]
    arrays.save()
    again = open_arrays(tmp_path / "set")
    assert (again.n_done, again.notes) == (2, {"numbers": [7, 9]})
    again.reserve(3)
    again.append(*blocks(2))
    again.trim()
    assert read(tmp_path / "set") == [0, 1, 2]


def test_rows_that_were_never_saved_do_not_count(tmp_path):
    arrays = open_arrays(tmp_path / "set")
    arrays.reserve(2)
    arrays.append(*blocks(0))
    assert open_arrays(tmp_path / "set").n_done == 0


def test_a_killed_writer_loses_fewer_rows_than_it_saves_at_once(tmp_path):
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from tests.data.test_resumable_arrays import blocks, open_arrays\n"
        f"arrays = open_arrays(Path({str(tmp_path / 'set')!r}))\n"
        "arrays.reserve(50)\n"
        "for row in range(40):\n"
        "    arrays.append(*blocks(row))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=Path.cwd()).returncode < 0
    arrays = open_arrays(tmp_path / "set")
    assert 40 - SAVE_EVERY_ROWS < arrays.n_done <= 40
    arrays.reserve(40)
    arrays.append(*blocks(*range(arrays.n_done, 40)))
    arrays.trim()
    assert read(tmp_path / "set") == list(range(40))


def test_rows_of_another_source_are_deleted(tmp_path):
    fill(tmp_path / "set", 0, 1, 2)
    assert open_arrays(tmp_path / "set", source="seed 2").n_done == 0
    fill(tmp_path / "set", 5, source="seed 2")
    assert read(tmp_path / "set") == [5]


@pytest.mark.parametrize(("cut_bytes", "complete"), [(1, 2), (40 * 60, 2), (40 * 60 + 1, 1), (10**9, 0)])
def test_a_file_that_was_cut_short_counts_its_complete_rows_only(tmp_path, cut_bytes, complete):
    fill(tmp_path / "set", 0, 1, 2)
    masks = tmp_path / "set" / "masks.npy"
    os.truncate(masks, max(0, masks.stat().st_size - cut_bytes))
    assert open_arrays(tmp_path / "set").n_done == complete
    fill(tmp_path / "set", *range(complete, 3))
    assert read(tmp_path / "set") == [0, 1, 2]


@pytest.mark.parametrize("name", ["progress.json", "frames.npy"])
def test_damaged_files_start_afresh(tmp_path, name):
    fill(tmp_path / "set", 0, 1)
    (tmp_path / "set" / name).write_bytes(b"nonsense")
    assert open_arrays(tmp_path / "set").n_done == 0


def test_readers_are_not_disturbed_while_rows_are_added(tmp_path):
    fill(tmp_path / "set", 0, 1)
    opened = np.load(tmp_path / "set" / "frames.npy", mmap_mode="r")
    arrays = open_arrays(tmp_path / "set")
    arrays.reserve(2000)
    arrays.append(*blocks(2))
    during = np.load(tmp_path / "set" / "frames.npy", mmap_mode="r")
    assert opened.shape == (2, 3, 40, 60) and during.shape[0] >= 2
    for map_ in (opened, during):
        assert map_[:2, 0, 0, 0].tolist() == [0, 1]
    arrays.trim()
    assert opened[:, 0, 0, 0].tolist() == during[:2, 0, 0, 0].tolist() == [0, 1]
    assert read(tmp_path / "set") == [0, 1, 2]


def test_readers_keep_what_they_opened_when_another_source_replaces_it(tmp_path):
    fill(tmp_path / "set", 1, 2)
    opened = np.load(tmp_path / "set" / "frames.npy", mmap_mode="r")
    fill(tmp_path / "set", 8, source="seed 2")
    assert opened[:, 0, 0, 0].tolist() == [1, 2]


@pytest.mark.parametrize("has_fallocate", [True, False])
def test_disk_space_is_taken_before_the_first_row_and_given_back(tmp_path, monkeypatch, has_fallocate):
    def refuses(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    if not has_fallocate:
        monkeypatch.setattr(os, "posix_fallocate", refuses, raising=False)
        monkeypatch.setattr(resumable_arrays, "ZEROS_BYTES", 50_000)
    arrays = open_arrays(tmp_path / "set")
    arrays.reserve(100)
    files = [tmp_path / "set" / name for name in ROW_SHAPES]
    assert sum(path.stat().st_blocks * 512 for path in files) >= 100 * ROW_BYTES
    arrays.append(*blocks(0, 1))
    arrays.trim()
    assert sum(path.stat().st_size for path in files) < 3 * ROW_BYTES
    assert read(tmp_path / "set") == [0, 1]


@pytest.mark.parametrize("has_fallocate", [True, False])
def test_a_full_disk_is_one_line_before_work_begins_and_keeps_complete_rows(tmp_path, monkeypatch, has_fallocate):
    if not has_fallocate:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    fill(tmp_path / "set", 0, 1)
    arrays = open_arrays(tmp_path / "set")
    with full_disk(100_000), pytest.raises(OSError, match=r"no room for .*set: 0\.00 GB are needed .*free some room"):
        arrays.reserve(100)
    assert read(tmp_path / "set") == [0, 1]
    fill(tmp_path / "set", 2)
    assert read(tmp_path / "set") == [0, 1, 2]


def test_a_full_disk_leaves_no_file_of_a_new_set(tmp_path):
    arrays = open_arrays(tmp_path / "set")
    with full_disk(300_000), pytest.raises(OSError, match="no room for") as caught:
        arrays.reserve(100)  # the masks fit, the frames don't
    assert caught.value.errno == errno.EFBIG and "\n" not in str(caught.value)
    assert list((tmp_path / "set").iterdir()) == []
