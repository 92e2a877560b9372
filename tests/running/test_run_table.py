"""Proves that all run folders are one tidy table that can be filtered, and that a thousand runs take two seconds."""

import csv
import io
import json
import time

import pytest

from vidseg_utils.paths import write_json
from vidseg_utils.running.run_table import as_csv, as_text, read_run_table, select_rows


@pytest.fixture
def runs(tmp_path):
    """A training, an evaluation, a notebook's run with a training inside, a run that failed, and another folder."""
    write_json(tmp_path / "unet-cpu/config.json", {"profile": "cpu", "fit": {"epochs": 2}, "finished": False})
    config = {"system": "copy_last", "profile": "cpu", "size": [80, 120], "split": "val", "input": "frames"}
    write_json(tmp_path / "copy-cpu/config.json", config | {"scored_on": {"id": "0123456789ab", "text": "videos"}})
    metrics = {"jaccard": 0.25, "copy_last_jaccard": 0.25, "oracle_jaccard": 0.9, "videos": 100}
    write_json(tmp_path / "copy-cpu/metrics.json", metrics)
    record = {"notebook": "14", "profile": "smoke", "parameters": {"SEEDS": 2, "LOSS": "mse"}, "code": {"a": "b"}}
    write_json(tmp_path / "nb/parameters.json", record | {"seconds": 12.3})
    write_json(tmp_path / "nb/metrics.json", {"miou": {"gru": 0.5}})
    write_json(tmp_path / "nb/gru-0/config.json", {"finished": True, "profile": "smoke"})
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed" / "failed.ipynb").touch()
    (tmp_path / ".slurm").mkdir()
    return tmp_path


def test_every_run_folder_is_a_row(runs):
    rows = {row["run"]: row for row in read_run_table(runs)}
    assert {name: (row["kind"], row["state"]) for name, row in rows.items()} == {
        "copy-cpu": ("evaluation", "finished"),
        "failed": ("notebook", "unfinished"),
        "nb": ("notebook", "finished"),
        "nb/gru-0": ("training", "finished"),
        "unet-cpu": ("training", "unfinished"),
    }
    assert rows["unet-cpu"]["fit.epochs"] == 2 and rows["copy-cpu"]["jaccard"] == 0.25
    assert rows["nb"]["parameters.SEEDS"] == 2 and rows["nb"]["miou.gru"] == 0.5 and "code.a" not in rows["nb"]


def test_a_damaged_run_folder_is_a_row_of_the_table_and_of_the_report(runs, vidseg):
    (runs / "unet-cpu" / "history.jsonl").write_text("{\n{\n")
    write_json(runs / "nb/parameters.json", {"seconds": "long", "parameters": [1]})
    code, text, _ = vidseg("runs", "--runs", str(runs))
    assert code == 0 and len(text.splitlines()) == 1 + 5
    assert "unet-cpu  training    damaged: history.jsonl, line 1 is not valid JSON" in text
    code, text, _ = vidseg("report", "--runs", str(runs))
    assert code == 0 and "| cpu | copy_last | frames | 0.250 |" in text
    assert text.endswith("| unet-cpu | history.jsonl, line 1 is not valid JSON |\n")
    (runs / "copy-cpu" / "metrics.json").write_text("{")
    code, text, _ = vidseg("report", "--runs", str(runs))
    assert code == 0 and text.startswith("Damaged run folders:") and "| copy-cpu | metrics.json is not valid" in text


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ({"profile": "cpu"}, ["copy-cpu", "unet-cpu"]),
        ({"parameters.SEEDS": "2"}, ["nb"]),
        ({"parameters.SEEDS": "2.0"}, ["nb"]),
        ({"profile": "smoke", "kind": "training"}, ["nb/gru-0"]),
        ({"jaccard": "high"}, []),
    ],
)
def test_rows_are_selected_by_value(runs, condition, found):
    assert [row["run"] for row in select_rows(read_run_table(runs), condition)] == found


def test_a_column_that_no_run_has_names_similar_ones(runs):
    with pytest.raises(ValueError, match=r"no run has 'seeds'; choose from \['parameters.SEEDS'\]"):
        select_rows(read_run_table(runs), {"seeds": "2"})


def test_the_table_is_printed_for_people_and_programs(runs, vidseg, monkeypatch):
    lines = as_text(read_run_table(runs)).splitlines()
    assert lines[0].split() == ["run", "kind", "state", "profile", "seconds", "scores"]
    assert lines[1].split() == ["copy-cpu", "evaluation", "finished", "cpu", "jaccard", "0.25"]
    rows = list(csv.DictReader(io.StringIO(as_csv(read_run_table(runs)))))
    assert rows[0]["size"] == "[80, 120]" and rows[2]["parameters.LOSS"] == "mse" and rows[2]["jaccard"] == ""
    code, text, _ = vidseg("runs", "--runs", str(runs), "--where", "profile=cpu", "--json")
    assert code == 0 and [row["run"] for row in json.loads(text)] == ["copy-cpu", "unet-cpu"]
    assert "--where cpu is not COLUMN=VALUE" in vidseg("runs", "--runs", str(runs), "--where", "cpu")[2]
    assert "not both" in vidseg("runs", "--runs", str(runs), "--csv", "--json")[2]
    assert "there is no folder of runs" in vidseg("runs", "--runs", str(runs / "none"))[2]


def test_a_thousand_runs_take_two_seconds(tmp_path):
    config = {"profile": "cpu", "classes": ["a metal cube"] * 49, "fit": dict.fromkeys("abcdefghijklmnop", 1.5)}
    for number in range(1000):
        folder = tmp_path / f"sweep-cpu-{number}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config | {"finished": True}))
        (folder / "metrics.json").write_text(json.dumps({"jaccard": number / 1000, "seconds": 3.0}))
        (folder / "parameters.json").write_text(json.dumps({"parameters": {"EPOCHS": number}, "profile": "cpu"}))
    started = time.process_time()
    assert as_text(read_run_table(tmp_path)).count("\n") == 1000
    assert time.process_time() - started < 2
