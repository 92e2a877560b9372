"""Proves that files are written atomically, and that folders are found from the package or from $VIDSEG_HOME."""

import re

import pytest

from vidseg_utils.paths import atomic_write, describe_bytes, describe_disk, home, read_json, runs_dir, write_json


def test_home_is_the_checkout_or_the_folder_in_the_variable(monkeypatch, tmp_path):
    monkeypatch.delenv("VIDSEG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert (home() / "pyproject.toml").is_file()
    monkeypatch.setenv("VIDSEG_HOME", str(tmp_path / "elsewhere"))
    assert runs_dir() == tmp_path / "elsewhere" / "runs"
    monkeypatch.setenv("VIDSEG_RUNS", str(tmp_path / "drive"))
    assert runs_dir() == tmp_path / "drive"
    monkeypatch.setenv("VIDSEG_RUNS", "runs/course")
    assert runs_dir() == tmp_path / "elsewhere" / "runs" / "course"


def test_the_disk_is_told_where_data_will_be(tmp_path):
    folder = tmp_path / "data" / "gpu"
    line = describe_disk(70_330_000_000, folder)
    assert re.fullmatch(rf"{folder} takes about 70 GB of disk when complete; [\d.]+ [GM]B are free", line)
    assert [describe_bytes(n) for n in (0, 12_300_000, 1_340_000_000)] == ["0 MB", "12 MB", "1.3 GB"]


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_with_all_its_files(tmp_path):
    folder = tmp_path / "video_0"
    for name in ("old", "new"):
        with atomic_write(folder) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert [p.name for p in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_file_never_replaces_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious").touch()
    for folder in (tmp_path / "folder", tmp_path):
        with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file"):
            write_json(folder, {"a": 1})
    assert [p.name for p in tmp_path.rglob("*")] == ["folder", "precious"]


@pytest.mark.parametrize("text", ["{", "[1]", "\x00", "[" * 100_000])
def test_json_that_is_not_an_object_is_refused_by_name(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken\.json"):
        read_json(path)
