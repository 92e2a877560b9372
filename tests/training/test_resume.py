"""Proves that a training that is killed at any moment and started again gives the same files as an uninterrupted one.

The processes are really killed (SIGKILL), in the middle of an epoch, between epochs, and before every rename of a file.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import toy_fit

REPOSITORY = Path(__file__).resolve().parents[2]
KILLED = -9
FILES = [".lock", "config.json", "history.jsonl", "weights.safetensors"]

# 3 epochs of 4 batches; the function that kills the process, and at which of its calls
MOMENTS = {
    "in the first epoch": {"step": 2},
    "in the middle of the second epoch": {"step": 7},
    "while the first epoch is validated": {"validate": 1},
    "in the third epoch": {"step": 11},
}
SETTINGS = {
    "plateau": {"scheduler": "plateau"},
    "onecycle": {"scheduler": "onecycle", "optimiser": "adamw", "weight_decay": 0.01},
    "cosine, two batches a step": {"scheduler": "cosine", "accumulation_steps": 3, "clip_norm": 0.5},
    "no schedule": {"scheduler": "none", "channels_last": False},
}
SHORT = {"scheduler": "plateau", "epochs": 2}
RENAMES = 13  # with SHORT: config; per epoch: weights (if best), 4 of the state, history; at the end history, config


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """{(settings, moment): run folder} of the killed processes; tests resume only copies of them."""
    folder = tmp_path_factory.mktemp("killed")
    keys = [(name, moment) for name in SETTINGS for moment in MOMENTS]
    keys += [("short", f"rename {number}") for number in range(1, RENAMES + 1)]
    scenarios = [
        {
            "run": str(folder / str(number)),
            "settings": SETTINGS.get(name, SHORT),
            **(MOMENTS.get(moment) or {"replace": int(moment.split()[1])}),
        }
        for number, (name, moment) in enumerate(keys)
    ]
    program = [sys.executable, "-m", "tests.training.killed_fit", json.dumps(scenarios)]
    done = subprocess.run(program, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    codes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(codes) == len(scenarios), done.stderr
    assert set(codes[: len(SETTINGS) * len(MOMENTS)]) == {KILLED}, done.stderr
    assert codes.count(KILLED) >= len(SETTINGS) * len(MOMENTS) + 12, done.stderr
    return {key: Path(scenario["run"]) for key, scenario in zip(keys, scenarios, strict=True)}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A function settings -> run folder of an uninterrupted training."""
    folders = {}

    def run_folder(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("uninterrupted") / "run"
            toy_fit(folders[name], **SETTINGS.get(name, SHORT))
        return folders[name]

    return run_folder


def assert_same_run(one, other):
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir()) == FILES
    assert (one / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()
    assert (one / "config.json").read_bytes() == (other / "config.json").read_bytes()
    histories = [
        [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()] for run in (one, other)
    ]
    for history in histories:
        assert all(epoch.pop("seconds") >= 0 for epoch in history)
    assert histories[0] == histories[1]


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_resume_equals_uninterrupted(killed, uninterrupted, tmp_path, settings, moment):
    run = shutil.copytree(killed[settings, moment], tmp_path / "run")
    toy_fit(run, **SETTINGS[settings])
    assert_same_run(run, uninterrupted(settings))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, RENAMES + 1))
def test_nothing_is_lost_if_the_process_is_killed_before_a_rename(killed, uninterrupted, tmp_path, number):
    run = shutil.copytree(killed["short", f"rename {number}"], tmp_path / "run")
    toy_fit(run, **SHORT)
    assert_same_run(run, uninterrupted("short"))


@pytest.mark.slow
def test_only_the_interrupted_epoch_is_repeated(killed, tmp_path):
    run = shutil.copytree(killed["no schedule", "in the third epoch"], tmp_path / "run")
    batches = []

    def counting(model, batch):
        batches.append(batch)
        return model(batch[0]).mean()

    toy_fit(run, step=counting, **SETTINGS["no schedule"])
    assert len(batches) == 4


def test_a_training_is_reproducible_and_another_seed_gives_other_weights(tmp_path, uninterrupted):
    toy_fit(tmp_path / "again", **SETTINGS["onecycle"])
    assert_same_run(tmp_path / "again", uninterrupted("onecycle"))
    toy_fit(tmp_path / "other", **SETTINGS["onecycle"], seed=1)
    files = [run / "weights.safetensors" for run in (tmp_path / "other", uninterrupted("onecycle"))]
    assert files[0].read_bytes() != files[1].read_bytes()


def test_a_state_without_settings_is_not_resumed(killed, tmp_path):
    """As when the folder of a running training was deleted: the training goes on writing its states."""
    run = shutil.copytree(killed["plateau", "in the third epoch"], tmp_path / "run")
    (run / "config.json").unlink()
    toy_fit(run, **SETTINGS["plateau"], learning_rate=1e-4)
    toy_fit(tmp_path / "anew", **SETTINGS["plateau"], learning_rate=1e-4)
    assert (run / "weights.safetensors").read_bytes() == (tmp_path / "anew" / "weights.safetensors").read_bytes()
