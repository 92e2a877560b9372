"""Proves that the set-up of a notebook is repeatable, that metrics are merged atomically, and that source code is shown
unchanged."""

import random
import sys
import types

import numpy as np
import pytest
import torch

from vidseg_utils.paths import notebook_run_folder, read_json
from vidseg_utils.running.notebook import record, setup, show_source


def test_setup_chooses_profile_and_folder_and_sets_seeds(home, capsys):
    session = setup("smoke", notebook="02_unet")
    first = random.random(), np.random.rand(), torch.rand(1).item()
    setup("smoke", notebook="02_unet")
    assert first == (random.random(), np.random.rand(), torch.rand(1).item())
    assert session.run_folder == home / "runs" / "02_unet-smoke" and session.run_folder.is_dir()
    assert session.profile.name == "smoke" and session.workspace.root == home / "data" / "smoke"
    assert capsys.readouterr().out.startswith("profile smoke: 40x60 pixels, seed 0, on ")


def test_auto_reads_the_environment_and_sizes_can_be_replaced(home, monkeypatch):
    monkeypatch.setenv("VIDSEG_PROFILE", "smoke")
    session = setup(notebook="n", sizes={"unet.epochs": 7, "train": None})
    assert (session.profile.name, session.profile.train, session.profile.replaced) == ("smoke", 4, {"unet.epochs": 7})
    with pytest.raises(ValueError, match="unknown size 'epoch'"):
        setup(notebook="n", sizes={"epoch": 3})


def test_another_data_set_and_run_folder_can_be_named(home, tmp_path):
    session = setup("smoke", notebook="n", run="trial", data_root=str(tmp_path / "other"))
    assert session.run_folder == home / "runs" / "trial" and session.workspace.root == tmp_path / "other"


@pytest.mark.parametrize("name", ["", "..", "a/b", "/a", "a\\b", ".hidden", "a\nb"])
def test_a_run_that_is_not_a_folder_name_is_refused(home, name):
    with pytest.raises(ValueError, match="is not a plain folder name; give one such as"):
        notebook_run_folder("n", "smoke", name)


def test_drive_is_mounted_in_colab_and_only_on_request(home, monkeypatch):
    mounted = []
    colab = types.ModuleType("google.colab")
    colab.drive = types.SimpleNamespace(mount=mounted.append)
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    setup("smoke", notebook="n", drive=True)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    setup("smoke", notebook="n")
    monkeypatch.setenv("VIDSEG_RUNS", "")  # so that it is removed again
    assert mounted == []
    drive = home / "drive"
    monkeypatch.setattr("vidseg_utils.running.notebook.DRIVE", drive)
    session = setup("smoke", notebook="n", drive=True)
    assert mounted == [str(drive)]
    assert session.run_folder == drive / "MyDrive" / "vidseg" / "runs" / "n-smoke"
    assert session.workspace.root == home / "data" / "smoke", "many small files are slow on Drive"
    setup("smoke", notebook="n", drive=True)
    assert mounted == [str(drive)], "it is mounted already"


def test_metrics_are_merged_and_all_kinds_of_numbers_become_json(tmp_path):
    record(tmp_path, {"jaccard": torch.tensor(0.5), "old": 1, "iou": np.array([0.25, np.nan])})
    path = record(tmp_path, {"old": np.int64(2), "by": {"shape": (1.0, float("nan"))}, "note": "x"})
    assert read_json(path) == {"jaccard": 0.5, "old": 2, "iou": [0.25, None], "by": {"shape": [1.0, None]}, "note": "x"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.json"]


def test_damaged_metrics_are_written_anew_and_the_notebook_says_so(tmp_path, capsys):
    (tmp_path / "metrics.json").write_text('{"jaccard": 0.')
    assert read_json(record(tmp_path, {"mse": 1})) == {"mse": 1}
    assert "metrics.json is not valid JSON" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "message"),
    [(float("inf"), "metric by.x is inf"), ({1}, "metric by.x is a set"), (np.array([1, np.inf]), r"metric by.x\[1\]")],
)
def test_a_metric_that_json_cannot_hold_is_named_and_the_file_is_unchanged(tmp_path, value, message):
    record(tmp_path, {"jaccard": 0.5})
    with pytest.raises(ValueError, match=message):
        record(tmp_path, {"jaccard": 0.6, "by": {"x": value}})
    assert read_json(tmp_path / "metrics.json") == {"jaccard": 0.5}


def test_source_code_is_shown_as_python_and_the_same_every_time():
    shown = show_source(notebook_run_folder)
    assert repr(shown).startswith("def notebook_run_folder(") and repr(shown) == repr(show_source(notebook_run_folder))
    assert shown._repr_markdown_() == f"```python\n{shown!r}\n```"
    method = show_source(torch.nn.ReLU.forward)
    assert repr(method).startswith("def forward("), "dedented"


def test_an_object_without_source_code_is_refused():
    with pytest.raises(ValueError, match="has no source code to show"):
        show_source(len)
    with pytest.raises(ValueError, match="has no source code to show"):
        show_source(3)
