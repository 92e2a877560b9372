"""Scenes start as CLEVRER's do: all classes different, movers with its speeds and aims, and no overlaps."""

import math

import numpy as np
import pytest

from vidseg_utils.simulator import scene
from vidseg_utils.simulator.scene import sample_scene
from vidseg_utils.simulator.settings import SECONDS_PER_FRAME, PhysicsSettings, glide_curve
from vidseg_utils.world.camera import project
from vidseg_utils.world.solids import OBJECT_RADIUS


@pytest.fixture(scope="module")
def scenes():
    rng = np.random.default_rng(5)
    return [sample_scene(rng) for _ in range(60)]


def test_every_number_of_objects_occurs_and_no_class_twice(scenes):
    assert {len(s.class_ids) for s in scenes} == {4, 5, 6}
    for s in scenes:
        assert len(set(s.class_ids.tolist())) == len(s.class_ids)
        assert s.class_ids.dtype == np.uint8 and 1 <= s.class_ids.min() <= s.class_ids.max() <= 48
    assert len({i for s in scenes for i in s.class_ids.tolist()}) > 40  # nearly all classes occur


def test_movers_start_with_clevrers_speeds_near_the_origin_or_far_away(scenes):
    starts = [(p, v) for s in scenes for p, v in zip(s.positions, s.velocities, strict=True) if v.any()]
    speeds = [math.hypot(*v) for _, v in starts]
    assert all(2.72 <= speed <= 3.0 for speed in speeds)
    misses = [abs(p[0] * v[1] - p[1] * v[0]) / math.hypot(*v) for p, v in starts]
    assert all(0.1 <= miss <= 1.7 for miss in misses)
    distances = [math.hypot(*p) for p, _ in starts]
    assert max(distances) <= 10.5 and max(distances) > 6 and min(distances) < 3.5
    assert all(s.velocities.any() for s in scenes)


def test_no_objects_overlap_at_the_start_and_those_at_rest_are_in_the_picture(scenes):
    for s in scenes:
        gaps = np.linalg.norm(s.positions[:, None] - s.positions[None], axis=-1) + 9 * np.eye(len(s.positions))
        assert gaps.min() > 2 * math.sqrt(2) * OBJECT_RADIUS
        resting = s.positions[~s.velocities.any(axis=1)]
        pixels = project(np.column_stack([resting, np.full(len(resting), OBJECT_RADIUS)]))
        assert ((pixels[:, :2] > 0) & (pixels[:, :2] < [240, 160])).all()


def test_the_same_random_stream_gives_the_same_scene():
    first, second, other = (sample_scene(np.random.default_rng(seed)) for seed in (3, 3, 4))
    for name in ("class_ids", "positions", "velocities", "yaws"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert not np.array_equal(first.positions[0], other.positions[0])


def test_friction_alone_slows_as_the_formula_says():
    world = PhysicsSettings(sliding_friction=0.05, linear_drag=0, quadratic_drag=0)
    frames = np.array([0.0, 10, 40])
    seconds, slowing = frames * SECONDS_PER_FRAME, 0.05 * 9.81
    expected = 2.8 * seconds - slowing * seconds**2 / 2
    curve = glide_curve("cube", world)
    assert curve.distance(2.8, frames) == pytest.approx(expected, abs=1e-4)
    assert curve.distance(2.8, 1e4) == pytest.approx(2.8**2 / (2 * slowing), abs=1e-3)  # at rest


def test_without_friction_and_drag_nothing_slows():
    world = PhysicsSettings(sliding_friction=0, linear_drag=0, quadratic_drag=0)
    assert glide_curve("cylinder", world).distance(2.9, 100.0) == pytest.approx(2.9 * 100 * SECONDS_PER_FRAME, abs=0.01)


def test_a_sphere_glides_further_than_a_cube():
    world = PhysicsSettings()
    assert glide_curve("sphere", world).distance(2.8, 126.0) > glide_curve("cube", world).distance(2.8, 126.0) + 1


def test_settings_under_which_no_plan_works_are_refused(monkeypatch):
    monkeypatch.setattr(scene, "MAX_DRAWS", 3)
    with pytest.raises(ValueError, match="none of 3 scenes keeps CLEVRER's rules"):
        sample_scene(np.random.default_rng(0), PhysicsSettings(quadratic_drag=1000.0))


@pytest.mark.parametrize(
    "wrong", [{"gravity": -1.0}, {"linear_drag": math.nan}, {"restitution": 1.2}, {"restitution": 0.0}]
)
def test_impossible_constants_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PhysicsSettings(**wrong)
