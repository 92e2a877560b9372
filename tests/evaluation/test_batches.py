"""Proves that worker processes, which find and move objects while this process segments, forecast the same."""

import contextlib

import numpy as np
import pytest
import torch

from tests.helpers import fill_cache
from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data import open_split
from vidseg_utils.evaluation import batches, evaluate_system, predict_split
from vidseg_utils.systems.object_dynamics import ObjectDynamics
from vidseg_utils.systems.object_dynamics.filter import FilterSettings
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.world.mask_drawing import draw_masks

VIDEOS = 3


class Bright(torch.nn.Module):
    """Where a frame is bright, there is an object of class 9."""

    def forward(self, frames):
        logits = torch.zeros(len(frames), N_CLASSES, *frames.shape[-2:])
        logits[:, 9] = 9 * (frames[:, 0] - 0.5)
        return logits


def sliding_cube(number):
    """(number, frames, masks) of a bright cube of class 9 that slides over the ground."""
    poses = np.zeros((22, 1, 3))
    poses[:, 0, 0], poses[:, 0, 1] = np.linspace(-0.8, 0.8, 22), 0.3 * number - 0.5
    masks = draw_masks(np.full((22, 1), 9, np.uint8), poses, np.ones((22, 1), bool), height=160, width=240)
    return number, np.repeat(np.where(masks > 0, 220, 60).astype(np.uint8)[:, None], 3, axis=1), masks


@pytest.fixture
def split(tmp_path):
    """Videos of sliding cubes, in small frames."""
    fill_cache(tmp_path, "val", map(sliding_cube, range(VIDEOS)))
    return open_split(tmp_path, "val", height=80, width=120, progress=False)


@pytest.fixture
def system():
    return ObjectDynamics(PhysicsConstants(), segmenter=Bright(), settings=FilterSettings(members=2))


def check_equality(system, split, *, true_masks):
    """An evaluation with two workers is that of one process."""
    given = {"true_masks": true_masks, "progress": False}
    alone, shared = (evaluate_system(system, split, processes=n, **given) for n in (1, 3))
    assert np.array_equal(alone.predictions, shared.predictions) and alone.predictions.any()
    assert {**alone.metrics, "seconds_per_video": 0} == {**shared.metrics, "seconds_per_video": 0}
    assert ("segmentation_jaccard" in alone.metrics) != true_masks


@pytest.fixture
def used(monkeypatch):
    """How many processes were started for each split; they are started for a few videos, too."""
    numbers, start = [], batches.worker_processes
    monkeypatch.setattr(
        batches, "worker_processes", lambda number, **options: numbers.append(number) or start(number, **options)
    )
    monkeypatch.setattr(batches, "MIN_VIDEOS_PER_PROCESS", 1)
    monkeypatch.setattr(batches, "CLIPS_PER_TASK", 2)
    return numbers


@pytest.mark.parametrize("true_masks", [False, True])
def test_segmenting_and_forecasting_in_two_steps_gives_the_same(system, split, used, monkeypatch, true_masks):
    @contextlib.contextmanager
    def no_processes(number, **_):
        used.append(number)
        yield map

    monkeypatch.setattr(batches, "worker_processes", no_processes)
    check_equality(system, split, true_masks=true_masks)
    assert used == [2]


@pytest.mark.slow
def test_two_workers_evaluate_and_predict_the_same(system, split, used):
    check_equality(system, split, true_masks=False)
    alone, shared = (predict_split(system, split, processes=n, batch_size=3, progress=False) for n in (1, 3))
    assert torch.equal(alone, shared)
    assert used == [2, 2]


def test_few_videos_take_no_processes(system, split, monkeypatch):
    monkeypatch.setattr(batches, "worker_processes", lambda *_, **__: pytest.fail("started"))
    assert predict_split(system, split, processes=3, progress=False).any()


def test_two_processes_are_as_fast_as_one_and_not_started(system, split, monkeypatch):
    monkeypatch.setattr(batches, "MIN_VIDEOS_PER_PROCESS", 1)
    monkeypatch.setattr(batches, "worker_processes", lambda *_, **__: pytest.fail("started"))
    assert predict_split(system, split, processes=2, progress=False).any()
