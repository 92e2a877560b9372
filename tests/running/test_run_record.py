"""Proves that a run is up to date until something that it was made from changes, and that the reason is named."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.helpers import write_split
from tests.test_rooms import imported_modules
from vidseg_utils import running
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.running import run_record, workbook
from vidseg_utils.running.run_record import NotebookRun, inputs_after, inputs_before, why_stale
from vidseg_utils.usage import USAGE_FILE, note_data, note_part, read_usage


@pytest.fixture
def lessons(monkeypatch, make_notebook, tmp_path, home):
    """The folder of two lessons, of which 02 reads 01, and of a sweep that 02 reads."""
    monkeypatch.setattr(run_record, "notebooks_dir", lambda: tmp_path)
    monkeypatch.setattr(workbook, "notebooks_dir", lambda: tmp_path)
    monkeypatch.setattr(workbook, "READS_FROM", {"01": (), "02": ("01", "some_sweep")})
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "some_sweep.yaml").touch()
    make_notebook("01_first", "print(1)")
    make_notebook("02_second", "print(2)")
    return tmp_path


def finish(run, *, parts=(), data=()):
    """Write the record of the run as if it had been executed."""
    write_json(
        run.folder / "parameters.json", run.describe() | inputs_before(run) | inputs_after(run, list(parts), list(data))
    )


def write_part(home, name, sha256):
    write_json(home / "runs" / name / "config.json", {"finished": True, "sha256": sha256})
    return home / "runs" / name


@pytest.fixture
def second(lessons, home):
    """The finished run of 02, which has used a part and a data set."""
    write_split(home / "data" / "smoke", "train", [0])
    run = NotebookRun(lessons / "02_second.ipynb", "smoke", {"EPOCHS": 2})
    finish(run, parts=[write_part(home, "unet-smoke", "abc")], data=[home / "data" / "smoke"])
    return run


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def test_a_run_is_up_to_date_whatever_does_not_matter_changes(second, lessons, home):
    assert why_stale(second) == []
    edit(second.notebook, "# Title", "# Another title")
    write_part(home, "simvp-smoke", "def")  # which it has not used
    write_split(home / "data" / "other", "train", [0])
    assert why_stale(second) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda run, home: edit(run.notebook, "print(2)", "print(3)"), "its code cells have changed"),
        (lambda run, home: write_part(home, "unet-smoke", "xyz"), "the part unet-smoke has other weights"),
        (lambda run, home: (home / "runs/unet-smoke/config.json").unlink(), "the part unet-smoke has other weights"),
        (lambda run, home: write_split(home / "data" / "smoke", "train", [1]), "the data .*smoke have changed"),
        (lambda run, home: (run.folder / "parameters.json").unlink(), "it has no finished run"),
        (lambda run, home: (run.folder / "parameters.json").write_text("{"), "parameters.json is not valid JSON"),
        (lambda run, home: (run.folder / "metrics.json").write_text("{"), "metrics.json is not valid JSON"),
        (lambda run, home: (home / "runs/unet-smoke/config.json").write_text("{"), "unet-smoke has other weights"),
        (lambda run, home: finish(NotebookRun(run.notebook.with_name("01_first.ipynb"), "smoke")), "01_first has new"),
        (
            lambda run, home: finish(NotebookRun(run.notebook, "smoke", {}, "some_sweep-smoke-EPOCHS=3")),
            "sweep some_sweep has new results",
        ),
    ],
)
def test_what_has_changed_is_named(second, home, change, reason):
    import re

    change(second, home)
    (found,) = why_stale(second)
    assert re.search(reason, found)


def test_a_damaged_record_or_damaged_metrics_make_a_run_unfinished(second):
    assert second.is_finished()
    for name in ("metrics.json", "parameters.json"):
        sound = second.folder / name
        before = sound.read_bytes() if sound.is_file() else b"{}"
        sound.write_bytes(before[:-2] + b",")
        assert not second.is_finished()
        sound.write_bytes(before)
        assert second.is_finished()


def test_a_clock_that_was_set_back_changes_nothing(second, home, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1e9)
    for path in [*home.rglob("*"), second.notebook]:
        os.utime(path, (2e9, 2e9))  # in the future
    assert second.is_finished() and why_stale(second) == []


def test_other_parameters_and_other_code_are_named(second, monkeypatch):
    (reason,) = why_stale(NotebookRun(second.notebook, "smoke", {"EPOCHS": 3, "LOSS": "l1"}))
    assert reason == "it was executed with other parameters (EPOCHS, LOSS)"
    digests = run_record.code_digests()
    assert {"models", "training", "running"} <= digests.keys() and "notebooks" not in digests
    monkeypatch.setattr(run_record, "code_digests", lambda: digests | {"models": "changed"})
    assert why_stale(second) == ["the code of the package has changed (models)"]


def test_all_code_of_the_runner_that_a_notebook_reaches_counts():
    room, start = Path(run_record.__file__).parent, "from vidseg_utils.running import "
    reached = run_record.IN_NOTEBOOKS
    names = {name for module in reached & running._MODULES.keys() for name in running._MODULES[module]}
    for path in (room.parents[1] / "notebooks").rglob("*.ipynb"):
        for line in "\n".join(run_record._code_cells(path)).splitlines():
            assert not line.startswith(start) or set(line.removeprefix(start).split(", ")) <= names, path
    for name in reached:
        modules = {module for module in imported_modules(room / f"{name}.py") if ".running." in module}
        assert {module.split(".")[2] for module in modules} <= reached, name


def test_course_data_that_appear_are_noticed_by_a_notebook_that_looks_for_them(lessons, make_notebook, home):
    run = NotebookRun(make_notebook("01_first", "COURSE_ROOT"), "smoke")
    finish(run)
    assert why_stale(run) == []
    write_split(home / "data" / "course", "train", [0])
    assert why_stale(run) == [f"the data {home / 'data' / 'course'} have changed"]


def test_a_record_of_an_earlier_version_counts_as_out_of_date(second):
    record = read_json(second.folder / "parameters.json")
    for key in ("cells", "code", "read", "parts", "data"):
        record.pop(key)
    write_json(second.folder / "parameters.json", record)
    (reason,) = why_stale(second)
    assert "of an earlier version" in reason and second.is_finished()


def test_what_a_notebook_uses_is_noted_once_and_only_for_a_runner(monkeypatch, tmp_path):
    note_part(tmp_path / "unet")  # without a file: no effect
    monkeypatch.setenv(USAGE_FILE, str(tmp_path / "usage.txt"))
    for _ in range(2):
        note_part(tmp_path / "unet")
        note_data(tmp_path / "cpu")
    assert read_usage(tmp_path / "usage.txt") == ([tmp_path / "unet"], [tmp_path / "cpu"])
    assert read_usage(tmp_path / "missing.txt") == ([], [])
    monkeypatch.setenv(USAGE_FILE, str(tmp_path / "gone" / "usage.txt"))
    note_part(tmp_path / "unet")


def test_every_lesson_is_in_the_graph_and_the_graph_names_only_lessons_and_sweeps():
    numbers = {workbook.number_of(path) for path in workbook.workbook()}
    assert set(workbook.READS_FROM) == numbers
    sweeps = {path.stem for path in (workbook.notebooks_dir() / "sweeps").glob("*.yaml")}
    assert {entry for entries in workbook.READS_FROM.values() for entry in entries} <= numbers | sweeps | {"sweeps"}


def test_the_record_is_small():
    assert len(json.dumps(run_record.code_digests())) < 2000
