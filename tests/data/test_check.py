"""The checker names every faulty file with its kind of fault, and counts exactly the videos that the cache skips."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from tests.helpers import fill_cache, make_frames, make_masks, write_split
from vidseg_utils.data.cache import open_split
from vidseg_utils.data.check import check_root


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    """(root, {kind of fault or note: file}): fifteen labelled videos, one kind of dirt each. Do not change it."""
    root = tmp_path_factory.mktemp("dirty")
    write_split(root, "train", range(15))
    folder = [root / "train" / f"video_{n}" for n in range(15)]
    masks = make_masks(1)
    (folder[1] / "image_7.png").unlink()
    (folder[2] / "image_3.png").write_bytes((folder[2] / "image_3.png").read_bytes()[:300])
    Image.new("RGB", (480, 320)).save(folder[3] / "image_0.png")
    Image.new("L", (240, 160)).save(folder[4] / "image_0.png")
    (folder[5] / "mask.npy").unlink()
    np.save(folder[6] / "mask.npy", masks[:20])
    np.save(folder[7] / "mask.npy", masks.astype(np.int32))
    np.save(folder[8] / "mask.npy", np.array([None]), allow_pickle=True)
    (folder[9] / "image_21.png").write_bytes(b"")
    (folder[10] / "image_4.png").unlink()
    (folder[10] / "image_4.png").mkdir()
    (folder[11] / "annotation.json").write_text('{"object_property": 3}')
    masks[4, 0, :9] = 77
    np.save(folder[12] / "mask.npy", masks)
    masks = make_masks(1)
    masks[9][masks[9] == 2] = 30
    np.save(folder[13] / "mask.npy", masks)
    (folder[14] / "thumbs.db").write_bytes(b"x")
    (root / "train" / "video_99").write_text("a file")
    for name in ("video_50", "video_050"):
        (root / "train" / name).mkdir()
    write_split(root, "val", [0])
    return root, {
        "missing image": "train/video_1/image_7.png",
        "unreadable image": "train/video_2/image_3.png",
        "wrong image size": "train/video_3/image_0.png",
        "image not RGB": "train/video_4/image_0.png",
        "missing mask": "train/video_5/mask.npy",
        "too few mask frames": "train/video_6/mask.npy",
        "wrong mask dtype": "train/video_7/mask.npy",
        "pickled mask": "train/video_8/mask.npy",
        "empty file": "train/video_9/image_21.png",
        "not a regular file": "train/video_10/image_4.png",
        "unreadable annotation": "train/video_11/annotation.json",
        "not a folder": "train/video_99",
        "duplicate video number": "train/video_050",
        "mask values above 48": "train/video_12/mask.npy",
        "flickering mask": "train/video_13/mask.npy",
        "unknown name": "train/video_14/thumbs.db",
        "number in two splits": "val/video_0",
    }


@pytest.fixture(scope="module")
def report(dirty):
    return check_root(dirty[0], progress=False)


def test_every_kind_of_dirt_is_named_with_its_file(dirty, report):
    root, expected = dirty
    content = report.to_json()
    by_kind = {
        kind: [entry["file"] for entry in files] for kind, files in (content["faults"] | content["notes"]).items()
    }
    for kind, file in expected.items():
        assert file in by_kind.pop(kind), kind
    assert not by_kind  # no other faults or notes
    assert not report.sound
    for kind, file in expected.items():
        assert kind in report.table()
        assert file in report.table()
    assert json.loads((root / "check_report.json").read_text()) == content


def test_the_cache_skips_the_videos_that_the_checker_counts(dirty, report):
    cache = open_split(dirty[0], "train", progress=False)
    assert cache.numbers.tolist() == [0, 11, 12, 13, 14]
    assert len(cache.skipped) == report.skipped["train"] == 13
    assert (report.videos["train"], report.videos["val"], report.skipped["val"]) == (18, 1, 0)


def test_a_sound_set_is_sound(small_root):
    report = check_root(small_root, progress=False)
    assert report.sound
    assert not report.notes
    assert report.table().endswith(f"sound ({small_root / 'check_report.json'})")
    assert report.videos == {"train": 3, "val": 2, "unlabeled": 2, "hidden": 2}


def test_the_table_shows_the_first_files_of_a_kind_and_the_report_shows_all(tmp_path):
    write_split(tmp_path, "unlabeled", [1])
    for path in (tmp_path / "unlabeled" / "video_1").iterdir():
        path.unlink()
    report = check_root(tmp_path, progress=False)
    assert report.table(files_per_kind=3).count("image_") == 3
    assert "… and 19 more, all in" in report.table(files_per_kind=3)
    assert len(report.to_json()["faults"]["missing image"]) == 22


def test_a_missing_root_and_a_folder_without_splits_are_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data at"):
        check_root(tmp_path / "absent")
    with pytest.raises(ValueError, match="holds none of the folders train, val, unlabeled, hidden"):
        check_root(tmp_path)
    (tmp_path / "set.zip").touch()
    with pytest.raises(
        NotADirectoryError, match=r"set\.zip is a file; if it is an archive: vidseg data import-archive"
    ):
        check_root(tmp_path / "set.zip")


def test_an_empty_split_is_a_fault(tmp_path):
    (tmp_path / "val").mkdir()
    report = check_root(tmp_path, progress=False)
    assert [fault.kind for fault in report.faults] == ["empty split"]
    assert "no folder named video_N" in report.table()
    assert report.table().splitlines()[-1].startswith(f"{tmp_path}: 1 fault; 0 videos will be skipped")


def test_a_file_without_read_permission_is_a_fault(tmp_path, monkeypatch):
    """Simulated by the reader, because a superuser may read everything."""
    write_split(tmp_path, "unlabeled", [1, 2])
    real = type(tmp_path).read_bytes

    def refuse(path):
        if path.name == "image_5.png" and path.parent.name == "video_2":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(type(tmp_path), "read_bytes", refuse)
    report = check_root(tmp_path, progress=False)
    assert [(f.kind, f.path.parent.name) for f in report.faults] == [("no read permission", "video_2")]


def _no_superuser(path) -> bool:
    path.write_bytes(b"x")
    path.chmod(0)
    return not os.access(path, os.R_OK)


def test_folders_without_permission_are_faults_and_the_rest_is_read(tmp_path):
    if not _no_superuser(tmp_path / "closed"):
        pytest.skip("a superuser may read everything")
    write_split(tmp_path, "train", [0, 1, 2])
    write_split(tmp_path, "val", [3])
    closed = {tmp_path / "train" / "video_0": 0o000, tmp_path / "train" / "video_1": 0o444, tmp_path / "val": 0o000}
    for folder, mode in closed.items():
        folder.chmod(mode)
    try:
        report = check_root(tmp_path, progress=False)
        assert {fault.kind for fault in report.faults} == {"no read permission"}
        assert (report.videos, report.skipped) == ({"train": 3, "val": 0}, {"train": 2, "val": 0})
        assert open_split(tmp_path, "train", progress=False).numbers.tolist() == [2]
    finally:
        for folder in closed:
            folder.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_reported_and_does_not_hang(tmp_path):
    write_split(tmp_path, "unlabeled", [1])
    path = tmp_path / "unlabeled" / "video_1" / "image_5.png"
    path.unlink()
    os.mkfifo(path)
    assert [f.kind for f in check_root(tmp_path, progress=False).faults] == ["not a regular file"]


def test_a_set_filled_directly_is_counted(tmp_path):
    fill_cache(tmp_path, "val", [(4, make_frames(4), make_masks(4))])
    report = check_root(tmp_path, progress=False)
    assert report.sound
    assert report.videos == {"val": 1}


@pytest.mark.real_data
def test_the_real_sample_is_sound(read_only_sample, home):
    report = check_root(read_only_sample, progress=False)
    assert report.sound, report.table()
    assert home in report.path.parents
