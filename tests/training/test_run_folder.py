"""Proves that a run folder has one writer at a time, belongs to one set of settings, and reports damage."""

import json
import subprocess
import sys
import threading
import time

import pytest

from vidseg_utils.run_folders import read_history
from vidseg_utils.training.run_folder import claim, finish, is_finished, locked, write_history

HOLD = """
import sys
from pathlib import Path
from vidseg_utils.training.run_folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_waited_for_while_another_process_uses_it(tmp_path):
    run = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        killed = []

        def kill():  # a killed process releases the lock
            killed.append(time.monotonic())
            other.kill()

        threading.Timer(0.5, kill).start()
        with locked(run):
            assert killed


def test_temporary_files_of_a_killed_writer_are_deleted_and_no_others(tmp_path):
    names = [".weights.0123abcd.tmp.safetensors", ".history.0123abcd.tmp.jsonl", ".config.0123abcd.tmp.json"]
    kept = [".metrics.0123abcd.tmp.json", "metrics.json", "notes.txt"]
    for name in names + kept:
        (tmp_path / name).touch()
    with locked(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {*kept, ".lock"}


def test_the_same_settings_are_accepted_again_although_json_turns_tuples_into_lists(tmp_path):
    settings = {"model": {"config": {"in_shape": (11, 3, 8, 8)}}, "fit": {"clip_norm": None}}
    claim(tmp_path, settings, defaults={})
    claim(tmp_path, settings, defaults={})
    assert not is_finished(tmp_path)


def test_other_settings_are_refused_by_name(tmp_path):
    claim(tmp_path, {"fit": {"seed": 0, "epochs": 3}, "data": "a"}, defaults={})
    with pytest.raises(ValueError) as error:
        claim(tmp_path, {"fit": {"seed": 1, "epochs": 3}, "more": True}, defaults={})
    message = str(error.value)
    differing = 'data: "a" in the folder, nothing now; fit.seed: 0 in the folder, 1 now; '
    assert f"was begun with other settings ({differing}" in message
    assert "more: nothing in the folder, true now)" in message


def test_a_setting_that_an_old_config_lacks_counts_with_its_default(tmp_path):
    claim(tmp_path, {"fit": {"seed": 0}}, defaults={})
    claim(tmp_path, {"fit": {"seed": 0, "new": 5}}, defaults={"fit": {"seed": 9, "new": 5}})
    with pytest.raises(ValueError, match=r"fit\.new: 5 in the folder, 6 now"):
        claim(tmp_path, {"fit": {"seed": 0, "new": 6}}, defaults={"fit": {"seed": 9, "new": 5}})


HERE = {"id": "0123456789ab", "text": "generated with seed 0: 6 train, 3 val"}


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (
            {"id": "ba9876543210", "text": "generated with seed 1: 6 train, 3 val"},
            r"was trained on other data \(generated with seed 0: 6 train, 3 val, id 0123456789ab\); "
            r"the data now are generated with seed 1: 6 train, 3 val, id ba9876543210$",
        ),
        (
            {"id": "ba9876543210", "text": "generated with seed 0: 9 train, 3 val"},
            r"was trained on the same data at other sizes: it has grown or shrunk since \(",
        ),
    ],
)
def test_other_data_are_refused_with_both_names(tmp_path, now, message):
    claim(tmp_path, {"trained_on": HERE}, defaults={})
    claim(tmp_path, {"trained_on": dict(HERE)}, defaults={})
    with pytest.raises(ValueError, match=message):
        claim(tmp_path, {"trained_on": now}, defaults={})


def test_a_run_that_does_not_name_its_data_is_refused_by_training(tmp_path):
    claim(tmp_path, {"fit": {}}, defaults={})
    with pytest.raises(ValueError, match=r"was made by an earlier version, which did not note its training data"):
        claim(tmp_path, {"fit": {}, "trained_on": HERE}, defaults={})


def test_a_training_for_other_classes_is_refused(tmp_path):
    claim(tmp_path, {"classes": ["background", "cat"]}, defaults={})
    with pytest.raises(ValueError, match=r"for other classes: class 1 is 'cat' there and 'dog' here"):
        claim(tmp_path, {"classes": ["background", "dog"]}, defaults={})


def test_a_training_refuses_the_folder_of_an_evaluation(tmp_path):
    (tmp_path / "config.json").write_text('{"system": "copy_last"}')
    with pytest.raises(ValueError, match=r"holds the evaluation of a system; choose another"):
        claim(tmp_path, {"fit": {}}, defaults={})


def test_a_run_is_finished_only_with_its_weights(tmp_path):
    claim(tmp_path, {"fit": {}}, defaults={})
    (tmp_path / "last").mkdir()
    finish(tmp_path, sha256="00")
    assert not (tmp_path / "last").exists()
    assert not is_finished(tmp_path)
    (tmp_path / "weights.safetensors").touch()
    assert is_finished(tmp_path)


def test_a_damaged_config_names_the_file(tmp_path):
    (tmp_path / "config.json").write_text("{oops")
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        claim(tmp_path, {}, defaults={})


def test_the_history_is_read_and_an_incomplete_last_line_is_skipped(tmp_path):
    history = [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.25}]
    write_history(tmp_path, history)
    assert read_history(tmp_path) == history
    path = tmp_path / "history.jsonl"
    path.write_text(path.read_text()[:-9])
    assert read_history(tmp_path) == history[:1]


def test_damage_in_the_history_is_reported_with_its_line(tmp_path):
    (tmp_path / "history.jsonl").write_text(json.dumps({"epoch": 1}) + '\n{"epo\n' + json.dumps({"epoch": 3}) + "\n")
    with pytest.raises(ValueError, match=r"history\.jsonl, line 2 is not valid JSON"):
        read_history(tmp_path)
