"""Proves that every run folder is read, also with damaged files, which are named and hide nothing else."""

import pytest

from vidseg_utils.paths import read_json, write_json
from vidseg_utils.run_folders import main_score, number, read_history, read_run_folder, read_run_folders

CONFIG = {
    "system": "copy_last",
    "profile": "cpu",
    "split": "val",
    "input": "frames",
    "size": [160, 240],
    "scored_on": {"id": "0123456789ab", "text": "some videos"},
}
METRICS = {"jaccard": 0.25, "copy_last_jaccard": 0.25, "oracle_jaccard": 0.9, "parameters": 0}


@pytest.fixture
def runs(tmp_path):
    """An evaluation, a training, and a notebook's run with a training inside."""
    write_json(tmp_path / "a-cpu/config.json", CONFIG)
    write_json(tmp_path / "a-cpu/metrics.json", METRICS)
    write_json(
        tmp_path / "unet-cpu/config.json", {"profile": "cpu", "trained_on": CONFIG["scored_on"], "finished": True}
    )
    (tmp_path / "unet-cpu" / "history.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
    write_json(tmp_path / "nb/parameters.json", {"notebook": "14", "profile": "smoke", "parameters": {"SEEDS": 2}})
    write_json(tmp_path / "nb/gru-0/config.json", {"finished": False, "profile": "smoke"})
    (tmp_path / "nothing").mkdir()
    return tmp_path


def test_all_run_folders_are_read_with_what_their_files_say(runs):
    found = {run.name: run for run in read_run_folders(runs)}
    assert list(found) == ["a-cpu", "nb", "nb/gru-0", "unet-cpu"] and not any(run.fault for run in found.values())
    assert [run.kind for run in found.values()] == ["evaluation", "notebook", "training", "training"]
    assert [run.state for run in found.values()] == ["finished", "finished", "unfinished", "finished"]
    assert [run.profile for run in found.values()] == ["cpu", "smoke", "smoke", "cpu"]
    assert found["a-cpu"].score == ("jaccard", 0.25) and found["nb"].parameters == {"SEEDS": 2}
    assert found["a-cpu"].data == found["unet-cpu"].data == CONFIG["scored_on"]
    assert [row["epoch"] for row in found["unet-cpu"].history] == [1, 2]
    assert read_run_folders(runs / "nowhere") == []


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("a-cpu/config.json", "{", "config.json is not valid JSON"),
        ("a-cpu/metrics.json", '{"jaccard": 0.2', "metrics.json is not valid JSON"),
        ("a-cpu/metrics.json", "[1]", "metrics.json holds a JSON list, not an object"),
        ("nb/parameters.json", "", "parameters.json is not valid JSON"),
        ("unet-cpu/history.jsonl", '{"epoch": 1}\n{"ep\n{"epoch": 3}\n', "history.jsonl, line 2 is not valid JSON"),
        ("unet-cpu/history.jsonl", '{"loss": 1}\n[]\n', "history.jsonl is damaged: an epoch has no number"),
    ],
)
def test_a_torn_file_is_the_fault_of_its_run_folder_only(runs, file, content, fault):
    (runs / file).write_text(content)
    name = file.split("/")[0]
    found = {run.name: run for run in read_run_folders(runs)}
    assert len(found) == 4 and [run.name for run in found.values() if run.fault] == [name]
    assert found[name].fault.startswith(fault) and found[name].state == f"damaged: {found[name].fault}"


@pytest.mark.parametrize(
    ("file", "key", "value", "fault"),
    [
        ("config", "profile", 3, "profile is no text"),
        ("config", "scored_on", {}, "scored_on does not name the data"),
        ("config", "size", [160, "240"], "size is not height and width"),
        ("config", "trained_on", ["unet"], "trained_on does not name the data of each part"),
        ("metrics", "jaccard", 1.5, "jaccard is larger than 1"),
        ("metrics", "jaccard", None, "jaccard is no number"),
        ("metrics", "parameters", 0.5, "parameters is no whole number"),
        ("metrics", "seconds_per_video", 10**400, "seconds_per_video is no number"),
    ],
)
def test_a_wrong_entry_of_an_evaluation_is_its_fault(runs, file, key, value, fault):
    path = runs / "a-cpu" / f"{file}.json"
    write_json(path, {**read_json(path), key: value})
    assert read_run_folder(runs / "a-cpu").fault == f"{fault}; delete it and evaluate again"


def test_an_evaluation_of_an_earlier_version_is_named(runs):
    write_json(runs / "a-cpu/metrics.json", {"jaccard": 0.3, "floor_jaccard": 0.3})
    assert read_run_folder(runs / "a-cpu").fault == "made by an earlier version; delete it and evaluate again"
    (runs / "a-cpu/metrics.json").unlink()
    assert read_run_folder(runs / "a-cpu").state == "unfinished"


def test_an_incomplete_last_line_of_a_history_is_skipped(runs):
    with (runs / "unet-cpu" / "history.jsonl").open("a") as file:
        file.write('{"epoch": 3, "lo')
    assert read_history(runs / "unet-cpu") == [{"epoch": 1}, {"epoch": 2}]
    assert not read_run_folder(runs / "unet-cpu").fault


def test_the_main_score_is_the_first_known_name_that_is_a_number():
    assert main_score({"miou": 0.5, "segmentation_jaccard": 0.75}) == ("segmentation_jaccard", 0.75)
    assert main_score({"jaccard": None, "miou": {"gru": 0.5}}) is None
    assert [number(value) for value in (True, "1", float("nan"), 10**400, 2)] == [None, None, None, None, 2.0]
