"""Proves that a command says about how long its work takes and how much disk the data take, before it begins."""

import re

import pytest

from vidseg_utils.paths import write_json
from vidseg_utils.running.estimates import describe_generation, describe_seconds, describe_trainings, estimate_training
from vidseg_utils.training.run_folder import write_history


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (200, "3 min"), (9000, "2.5 h")])
def test_a_time_is_short_to_read(seconds, text):
    assert describe_seconds(seconds) == text


def write_training(run, *, epochs, done, seconds):
    write_json(run / "config.json", {"fit": {"epochs": epochs}})
    write_history(run, [{"epoch": number, "seconds": seconds} for number in range(done)])


def test_a_training_is_estimated_by_its_own_epochs_then_by_another_seed_then_by_the_shipped_one(tmp_path):
    run, other = tmp_path / "unet_seed3-cpu", tmp_path / "unet_seed1-cpu"
    assert estimate_training(run) is None
    write_training(tmp_path / "unet-gpu", epochs=9, done=9, seconds=9)
    write_training(tmp_path / "unet_special-cpu", epochs=9, done=9, seconds=9)
    (run / "last").mkdir(parents=True)
    assert estimate_training(run) is None, "other profiles and other parts say nothing"
    write_training(other, epochs=4, done=4, seconds=10)
    assert estimate_training(run) == 40
    write_training(run, epochs=10, done=7, seconds=2)
    assert estimate_training(run) == 6
    (run / "history.jsonl").write_text("{oops\n{}\n")
    assert estimate_training(run) == 40
    assert estimate_training(tmp_path / "unet-cpu_full") > 60


def test_what_is_not_known_is_named(tmp_path):
    unet, physics = tmp_path / "unet-cpu", tmp_path / "rigid_body_physics-cpu"
    assert describe_trainings([]) == "nothing to do"
    assert describe_trainings([unet]) == "no earlier training says how long unet-cpu will take"
    write_training(unet, epochs=10, done=1, seconds=20)
    text = "about 3 min by earlier trainings, without rigid_body_physics-cpu"
    assert describe_trainings([unet, physics]) == text


def test_the_time_to_generate_is_shared_by_the_processes():
    assert describe_generation(15_000, 1) != describe_generation(15_000, 4)
    assert describe_generation(15_000, 4).endswith("for 15,000 videos")


@pytest.mark.slow
def test_training_and_generating_say_first_what_they_need(vidseg, tmp_path):
    code, _, errors = vidseg("data", "generate", "--profile", "smoke")
    needs = f"{tmp_path / 'data' / 'smoke'} takes about 18 MB of disk when complete; "
    assert code == 0 and re.fullmatch(rf"about \d s for 11 videos; {needs}.* are free", errors.splitlines()[0])
    code, _, errors = vidseg("train", "unet_copy_last", "--profile", "smoke", "--size", "unet.epochs=1")
    assert code == 0
    assert errors.splitlines()[0].startswith(f"no earlier training says how long unet-smoke will take; {needs}")
    code, _, errors = vidseg("train", "unet_copy_last", "--profile", "smoke", "--size", "unet.epochs=1")
    assert (code, errors) == (0, ""), "nothing is left to do"
