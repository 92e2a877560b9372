"""Proves that the lesson on the recurrent U-Net also runs on Cityscapes, at its smallest size."""

from pathlib import Path

import pytest

from vidseg_utils.paths import read_json
from vidseg_utils.running import execute_notebook

LESSON = Path(__file__).resolve().parents[2] / "notebooks" / "14_recurrent_unet.ipynb"


@pytest.mark.slow
def test_the_lesson_runs_on_a_tiny_cityscapes(tiny_cityscapes, home):
    parameters = {"CITYSCAPES_ROOT": str(tiny_cityscapes), "CELL": "rnn", "EPOCHS": 12}
    folder = execute_notebook(LESSON, profile="smoke", parameters=parameters, progress=False)
    model = read_json(folder / "vanilla-small_shallow-rnn-0" / "config.json")["model"]["config"]
    assert (model["n_classes"], model["head"]) == (20, "flat")
    scores = read_json(folder / "metrics.json")
    assert 0 < scores["rnn"][0]["pixel_accuracy"] <= 1
    miou_by_frame = read_json(folder / "vanilla-small_shallow-rnn-0" / "metrics.json")["miou_by_frame"]
    assert miou_by_frame[:-1] == [None] * 3  # only the last frame of a sequence has a label
    assert miou_by_frame[-1] == pytest.approx(scores["rnn"][0]["miou"])
    assert not (home / "data").exists(), "no clips were generated"
