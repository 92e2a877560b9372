"""Proves that one clip is forecast by every kind of system: one that reads masks, and one that forecasts objects."""

import numpy as np
import pytest

from vidseg_utils.data import Clip
from vidseg_utils.systems import CopyLast, ObjectDynamics, forecast_clip
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.world import COURSE_LABELS, draw_masks


@pytest.fixture
def clip():
    """A cube that glides and a sphere at rest, in twelve frames."""
    ids = np.array([[1, 20]]).repeat(12, axis=0)
    poses = np.zeros((12, 2, 3))
    poses[:, 0, 1], poses[:, 1, :2] = np.linspace(-1.0, 0.1, 12), (-1.0, 1.0)
    masks = draw_masks(ids, poses, ids > 0, height=160, width=240, offset=COURSE_LABELS)
    return Clip("clip", np.zeros((12, 3, 160, 240), dtype=np.uint8), masks)


def test_a_system_that_reads_masks_is_given_the_true_ones(clip):
    forecast = forecast_clip(CopyLast(), clip)
    assert (forecast.last_mask == clip.masks[10]).all() and forecast.last_number == 21
    assert forecast.masks[:-1] == [None] * 10 and forecast.outlook is None


def test_objects_are_forecast_with_all_possible_worlds(clip):
    forecast = forecast_clip(ObjectDynamics(PhysicsConstants()), clip, horizon=3)
    outlook = forecast.outlook
    assert outlook.possible_positions.shape == (4, 24, 2, 2)
    spread = np.sqrt(outlook.possible_positions.var(axis=1).sum(axis=-1))
    assert np.allclose(outlook.spread, spread)
    assert np.abs(outlook.possible_positions.mean(axis=1) - outlook.positions).max() < 0.05
    moved = outlook.positions[1] - outlook.positions[0]
    assert moved[0, 1] == pytest.approx(0.1, abs=0.04) and np.abs(moved[1]).max() < 0.02


@pytest.mark.parametrize("system", [CopyLast(), ObjectDynamics(PhysicsConstants())], ids=lambda system: system.name)
def test_a_clip_without_objects_has_an_empty_forecast(clip, system):
    empty = Clip("empty", clip.frames, np.zeros_like(clip.masks))
    forecast = forecast_clip(system, empty)
    assert not forecast.found_objects and not forecast.last_mask.any()
    assert forecast_clip(system, clip).found_objects
