"""Proves that several processes forecast a split as one does, in parts that are made once."""

import numpy as np
import pytest
import torch

from tests.helpers import fill_cache, make_frames, make_masks
from vidseg_utils.evaluation import evaluate_system, shared_work, write_submission
from vidseg_utils.evaluation.shared_work import TrainedSystem, forecast_workers
from vidseg_utils.profiles import get_profile
from vidseg_utils.systems import Workspace
from vidseg_utils.systems.base import Forecaster

VIDEOS = 7


class Thresholded(Forecaster):
    """Its segmenter's mask of frame 10 as the forecast: class 5 where the first channel is bright."""

    name = "thresholded"
    accepts_masks = True

    def __init__(self, level=0.5):
        super().__init__(segmenter=torch.nn.Conv2d(3, 49, 1))
        self.level = level
        with torch.no_grad():
            self.segmenter.weight.zero_()[5, 0] = 1
            self.segmenter.bias.fill_(-9)[0], self.segmenter.bias[5] = level, 0

    @classmethod
    def train(cls, workspace):
        raise AssertionError("not called")

    @classmethod
    def load(cls, workspace):
        raise AssertionError("not called")

    def forecast_masks(self, masks):
        return masks[:, -1]


@pytest.fixture
def workspace(tmp_path):
    """A set of small videos with and without labels."""
    root = tmp_path / "data"
    fill_cache(root, "val", [(number, make_frames(number), make_masks(number)) for number in range(VIDEOS)])
    fill_cache(root, "hidden", [(90 + number, make_frames(number, 11), None) for number in range(VIDEOS)])
    return Workspace.for_profile(get_profile("smoke"), root=root, runs=tmp_path / "runs", device="cpu")


@pytest.fixture
def workers_of(workspace, tmp_path, monkeypatch):
    """workers_of(map) -> workers in this process, which load the system Thresholded, in parts of three videos."""
    monkeypatch.setattr(shared_work, "PART_VIDEOS", 3)
    monkeypatch.setattr(shared_work, "build_system", lambda name, *, workspace: Thresholded())
    shared_work._load.cache_clear()
    return lambda parallel_map: forecast_workers(
        parallel_map, TrainedSystem("thresholded", workspace), folder=tmp_path / "parts", device=None
    )


def map_with_end(calls):
    def parallel_map(function, items):
        for item in list(items)[:calls]:
            yield function(item)
        raise KeyboardInterrupt

    return parallel_map


def counting_map(made):
    def parallel_map(function, items):
        for item in items:
            made.append(item)
            yield function(item)

    return parallel_map


@pytest.mark.parametrize("true_masks", [False, True])
def test_an_evaluation_by_workers_has_the_same_numbers_and_resumes(workspace, workers_of, tmp_path, true_masks):
    split, given = workspace.split("val"), {"true_masks": true_masks, "batch_size": 2, "progress": False}
    alone = evaluate_system(Thresholded(), split, **given)
    with pytest.raises(KeyboardInterrupt), workers_of(map_with_end(2)) as workers:
        evaluate_system(Thresholded(), split, workers=workers, **given)
    made = []
    with workers_of(counting_map(made)) as workers:
        shared = evaluate_system(Thresholded(), split, workers=workers, **given)
    assert made == [6], "the two finished parts are not made again"
    assert not (tmp_path / "parts").exists()
    assert np.array_equal(shared.predictions, alone.predictions)
    assert {**shared.metrics, "seconds_per_video": 0} == {**alone.metrics, "seconds_per_video": 0}
    assert 0 < alone.metrics["jaccard"] < 1 and ("segmentation_jaccard" in alone.metrics) != true_masks


def test_a_submission_by_workers_is_the_same_file_and_resumes(workspace, workers_of, tmp_path):
    split = workspace.split("hidden")
    write_submission(tmp_path / "alone.pt", Thresholded(), split, progress=False)
    with pytest.raises(KeyboardInterrupt), workers_of(map_with_end(1)) as workers:
        write_submission(tmp_path / "masks.pt", Thresholded(), split, workers=workers, progress=False)
    assert not (tmp_path / "masks.pt").exists()
    made = []
    with workers_of(counting_map(made)) as workers:
        write_submission(tmp_path / "masks.pt", Thresholded(), split, workers=workers, progress=False)
    assert made == [3, 6]
    assert (tmp_path / "masks.pt").read_bytes() == (tmp_path / "alone.pt").read_bytes()
    assert (tmp_path / "masks.pt.json").read_bytes() == (tmp_path / "alone.pt.json").read_bytes()
    assert not list(tmp_path.glob("*part*"))


def test_parts_of_another_system_are_not_used_and_one_that_changes_meanwhile_is_refused(
    workspace, workers_of, monkeypatch
):
    split = workspace.split("val")
    with pytest.raises(KeyboardInterrupt), workers_of(map_with_end(2)) as workers:
        evaluate_system(Thresholded(), split, workers=workers, progress=False)
    changed = Thresholded(level=0.9)
    with (
        workers_of(map) as workers,
        pytest.raises(ValueError, match="thresholded or its data have changed meanwhile; run the same command again"),
    ):
        evaluate_system(changed, split, workers=workers, progress=False)
    monkeypatch.setattr(shared_work, "build_system", lambda name, *, workspace: changed)
    with workers_of(map) as workers:
        shared = evaluate_system(changed, split, workers=workers, progress=False)
    assert np.array_equal(shared.predictions, evaluate_system(changed, split, progress=False).predictions)
