"""Proves that all systems are scored the same way, with baseline and upper bound, and are found on the leaderboard."""

import json

import numpy as np
import pytest
import torch

from tests.helpers import fill_cache
from vidseg_utils.data import open_split
from vidseg_utils.evaluation.evaluate import evaluate_system
from vidseg_utils.evaluation.leaderboard import leaderboard_table, read_leaderboard, read_runs
from vidseg_utils.metrics import jaccard
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.profiles import get_profile
from vidseg_utils.systems import Workspace
from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.copy_last import CopyLast


class FromFrames(Forecaster):
    """Answers with the class id that the mean brightness of frame 10 encodes, everywhere."""

    name = "from_frames"

    @classmethod
    def train(cls, workspace):
        raise AssertionError("not called")

    @classmethod
    def load(cls, workspace):
        raise AssertionError("not called")

    def forecast_frames(self, frames):
        answer = (frames[:, -1].mean(dim=(1, 2, 3)) * 255).round().long()
        return answer[:, None, None].expand(-1, *frames.shape[-2:])


@pytest.fixture
def root(tmp_path):
    """Three videos of a still, a moving and a late object; the brightness is the number of the video."""
    videos = []
    for number in range(3):
        masks = np.zeros((22, 160, 240), dtype=np.uint8)
        masks[:, 10:40, 10:40] = 1
        masks[:11, 60:90, 10:40] = masks[11:, 60:90, 100:130] = 2
        masks[15:, 110:140, 200:230] = 3
        videos.append((number, np.full((22, 3, 160, 240), number, dtype=np.uint8), masks))
    fill_cache(tmp_path, "val", videos)
    fill_cache(tmp_path, "hidden", [(number, frames[:11], None) for number, frames, _ in videos])
    return tmp_path


def test_copy_last_scores_the_baseline(root):
    split = open_split(root, "val")
    result = evaluate_system(CopyLast(), split, true_masks=True, batch_size=2, progress=False)
    expected = jaccard(torch.tensor(split.masks[:, 10]), torch.tensor(split.masks[:, -1]))
    assert result.metrics["jaccard"] == result.metrics["copy_last_jaccard"] == pytest.approx(expected)
    assert result.metrics["copy_last_jaccard"] < result.metrics["oracle_jaccard"] < 1
    assert result.metrics["recall_still"] == 1
    assert result.metrics["recall_moving"] == 0
    assert result.metrics["videos"] == 3
    np.testing.assert_array_equal(result.predictions, split.masks[:, 10])


def test_a_split_without_masks_cannot_be_scored(root):
    with pytest.raises(ValueError, match="cannot be scored"):
        evaluate_system(FromFrames(), open_split(root, "hidden"), progress=False)


def test_an_evaluation_is_found_on_the_leaderboard(root, tmp_path):
    runs, workspace = tmp_path / "runs", Workspace.for_profile(get_profile("smoke"), root=root)
    result = evaluate_system(FromFrames(), open_split(root, "val"), progress=False)
    result.save(runs / "a-smoke", system="from_frames", workspace=workspace, split="val", true_masks=False)
    (runs / "not_evaluated").mkdir()
    (row,) = read_leaderboard(runs)
    assert row["run"] == "a-smoke"
    assert row["jaccard"] == result.metrics["jaccard"]
    assert "cores" in row["machine"] and "torch" in row["machine"]
    assert read_json(runs / "a-smoke" / "config.json")["segmenter_precision"] == "no"
    kept = np.load(runs / "a-smoke" / "predictions.npz", allow_pickle=False)
    np.testing.assert_array_equal(kept["masks"], result.predictions)
    table = leaderboard_table([row])
    assert "upper bound" in table
    assert f"{row['jaccard']:.3f}" in table


def test_the_leaderboard_adds_up_the_minutes_of_the_trainings_that_a_system_loads(root, tmp_path):
    runs, workspace = tmp_path / "runs", Workspace.for_profile(get_profile("smoke"), root=root)
    result = evaluate_system(FromFrames(), open_split(root, "val"), progress=False)
    for name in ("trained", "alone"):
        result.save(runs / name, system=name, workspace=workspace, split="val", true_masks=False)
    config = read_json(runs / "trained" / "config.json")
    write_json(runs / "trained" / "config.json", {**config, "trained_on": {"unet-smoke": {}, "gone": {}}})
    write_json(runs / "unet-smoke" / "config.json", {"finished": True})
    epochs = [{"epoch": 1, "train_loss": 1.0, "seconds": 100.0}, {"epoch": 2, "train_loss": 0.5, "seconds": 80.0}]
    (runs / "unet-smoke" / "history.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    assert {row["system"]: row["training_minutes"] for row in read_leaderboard(runs)} == {"trained": 3, "alone": None}


def test_damaged_run_folders_are_left_out_of_the_leaderboard_and_named_in_the_log(tmp_path, caplog):
    write_json(tmp_path / "old" / "config.json", {"system": "copy_last"})
    write_json(tmp_path / "old" / "metrics.json", {"jaccard": 0.3, "floor_jaccard": 0.3})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "metrics.json").write_text("{")
    write_json(tmp_path / "sound" / "metrics.json", {"miou": 0.5})
    assert read_leaderboard(tmp_path) == []
    assert "old is left out, because it is damaged: made by an earlier version; delete it" in caplog.text
    assert "broken is left out, because it is damaged: metrics.json is not valid JSON" in caplog.text
    assert read_runs(tmp_path) == [{"run": "sound", "miou": 0.5}]
