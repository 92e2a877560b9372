"""Proves that cleaning lists and deletes what can be made again, and nothing else."""

import os
import time

from tests.helpers import fill_cache, moving_square, write_split
from vidseg_utils.data import open_split
from vidseg_utils.file_lock import lock_file
from vidseg_utils.paths import write_json
from vidseg_utils.running.clean import delete, find_deletable


def test_what_can_be_made_again_is_listed_and_deleted_only_on_request(vidseg, tmp_path):
    write_split(tmp_path / "data" / "images", "train", [0])
    open_split(tmp_path / "data" / "images", "train", height=16, width=24, progress=False)
    fill_cache(tmp_path / "data" / "direct", "train", [moving_square(0)])  # has no image files
    write_json(tmp_path / "runs" / "begun" / "config.json", {"finished": False})
    write_json(tmp_path / "runs" / "ended" / "config.json", {"finished": True})
    write_json(
        tmp_path / "runs" / "failed" / "config.json", {"finished": True}
    )  # the training of a notebook that failed
    (tmp_path / "runs" / "failed" / "failed.ipynb").touch()
    old, new = (tmp_path / "runs" / "ended" / f".metrics.0123abc{n}.tmp.json" for n in (0, 1))
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    expected = {tmp_path / "data" / "images" / ".cache" / "train_16x24", tmp_path / "runs" / "begun", old}
    assert {item.path for item in find_deletable()} == expected
    code, text, _ = vidseg("clean")
    assert code == 0 and "3 found" in text and all(path.exists() for path in expected)
    code, text, _ = vidseg("clean", "--yes")
    assert code == 0 and not any(path.exists() for path in expected)
    assert new.exists() and (tmp_path / "runs" / "failed").is_dir() and find_deletable() == []
    assert len(open_split(tmp_path / "data" / "direct", "train", progress=False)) == 1


def test_a_run_in_use_is_kept(tmp_path, home):
    write_json(home / "runs" / "begun" / "config.json", {"finished": False})
    with lock_file(home / "runs" / "begun" / ".lock", purpose="it"):
        (item,) = find_deletable()
        assert "is in use by process" in delete(item) and item.path.is_dir()


def test_parts_that_an_ended_command_left_are_listed_unless_they_are_new_or_in_use(tmp_path, home):
    parts, shards = home / "runs" / "scored" / ".parts", home / "data" / "set" / ".cache" / "train_160x240.shards"
    new = home / "runs" / "running" / ".parts"
    for folder in (parts, shards, new):
        folder.mkdir(parents=True)
        (folder / "00000.npy").write_bytes(bytes(100))
    for folder in (parts, shards):
        os.utime(folder, (time.time() - 7200,) * 2)
    for folder in (parts.parent, new.parent):
        write_json(folder / "config.json", {"finished": True})
    found = {item.path: item for item in find_deletable()}
    assert found.keys() == {parts, shards}
    assert {(item.kind, item.n_bytes) for item in found.values()} == {("parts", 100)}
    with lock_file(parts.with_name(".parts.lock"), purpose="it"):
        in_use = next(item for item in find_deletable() if item.path == parts)
        assert "is in use by process" in delete(in_use) and parts.is_dir()
    assert delete(found[shards]) == "" and not shards.exists()
