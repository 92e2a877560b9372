"""A bounce returns what the law draws for its speed of approach; slow touches stick. Masses count."""

import numpy as np
import pytest

from vidseg_utils.classes import class_id
from vidseg_utils.simulator import measure_bounces, physics
from vidseg_utils.simulator.bounce import MAX_RESTITUTION, restitution_at, spring_and_damper
from vidseg_utils.simulator.physics import simulate, simulate_video
from vidseg_utils.simulator.scene import Scene
from vidseg_utils.simulator.settings import PhysicsSettings
from vidseg_utils.world import Collision, Trajectory

PHASES = np.linspace(0.005, 0.995, 100)
SPHERES, CYLINDERS = (
    [class_id(shape, "metal", colour) for colour in ("gray", "blue", "green", "cyan")]
    for shape in ("sphere", "cylinder")
)
FREE_WORLD = PhysicsSettings(sliding_friction=0, linear_drag=0, quadratic_drag=0)


def _drawn(speed, shapes):
    return np.array([restitution_at(speed, phase, shapes) for phase in PHASES])


def _two_head_on(ids, speed, *, phase, masses=(1, 1, 1, 1)) -> Scene:
    """Two collisions far apart, each onto an object at rest."""
    starts = np.array([(-0.6, 0), (0, 0), (-0.6, 4), (0, 4)], dtype=float)
    velocities = np.array([(speed, 0), (0, 0)] * 2, dtype=float)
    bounces = np.full((4, 4), phase)
    return Scene(np.array(ids, np.uint8), starts, velocities, np.zeros(4), np.array(masses, dtype=float), bounces)


@pytest.mark.parametrize("shapes", [("sphere", "cylinder"), ("cylinder", "cylinder"), ("cube", "sphere")])
def test_restitution_rises_with_the_speed_of_approach(shapes):
    means = [_drawn(speed, shapes).mean() for speed in (0.5, 1.2, 1.8, 2.4, 3.0, 4.0)]
    assert means[0] <= 0.15 and means == sorted(means) and 0.3 < means[3] < 0.8


# Mean and standard deviation of the restitution at the point of contact, of 3,900 collisions of pairs in Bullet
MEASURED = [
    (("sphere", "cylinder"), 2.25, 0.38, 0.26),
    (("sphere", "sphere"), 2.85, 0.50, 0.21),
    (("sphere", "cylinder"), 4.0, 0.60, 0.15),
    (("cube", "sphere"), 2.25, 0.43, 0.25),
    (("cube", "cylinder"), 1.8, 0.39, 0.20),
    (("cube", "cube"), 2.85, 0.48, 0.16),
]


@pytest.mark.parametrize(("shapes", "speed", "mean", "scatter"), MEASURED)
def test_mean_and_scatter_are_those_of_the_measured_collisions(shapes, speed, mean, scatter):
    drawn = _drawn(speed, shapes)
    assert drawn.mean() == pytest.approx(mean, abs=0.1) and drawn.std() == pytest.approx(scatter, abs=0.1)


def test_no_restitution_is_impossible():
    for speed in (0.0, 1.0, 2.0, 10.0):
        for shapes in (("sphere", "cube"), ("cube", "cube"), ("cylinder", "cylinder")):
            drawn = _drawn(speed, shapes)
            assert drawn.min() >= 0 and drawn.max() <= MAX_RESTITUTION


def test_less_restitution_takes_more_damping():
    dampings = [spring_and_damper(restitution)[1] for restitution in np.linspace(0, 0.9, 19)]
    assert dampings == sorted(dampings, reverse=True) and dampings[-1] > 0


def test_slow_touches_return_a_little_unless_a_sphere_touches_a_round_object():
    for speed in (0.0, 0.4, 0.8):
        assert set(_drawn(speed, ("cube", "sphere"))) == set(_drawn(speed, ("cylinder", "cylinder"))) == {0.15}
        assert set(_drawn(speed, ("sphere", "sphere"))) == set(_drawn(speed, ("sphere", "cylinder"))) == {0.0}


@pytest.mark.parametrize("restitution", [0.0, 0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("ids", [SPHERES, CYLINDERS])
def test_a_simulated_bounce_returns_what_was_drawn_whatever_the_masses(monkeypatch, restitution, ids):
    monkeypatch.setattr(physics, "restitution_at", lambda *_: restitution)
    masses = np.array([0.73, 1.27, 1.27, 0.73])
    video = simulate(_two_head_on(ids, 2.5, phase=0.5, masses=masses), FREE_WORLD)
    v = video.velocities[-1, :, 0]
    assert (v[1::2] - v[::2]) / 2.5 == pytest.approx([restitution] * 2, abs=0.05)
    momentum = masses * v
    assert momentum[::2] + momentum[1::2] == pytest.approx(2.5 * masses[::2], abs=0.01)
    gap = np.linalg.norm(video.positions[:, ::2] - video.positions[:, 1::2], axis=-1)
    assert gap.min() > 0.38  # no object enters another one


def test_a_slow_touch_sticks_and_is_one_collision():
    video = simulate(_two_head_on([SPHERES[0], CYLINDERS[0], CYLINDERS[1], SPHERES[1]], 1.0, phase=0.1))
    assert [c.objects for c in video.collisions] == [(0, 1), (2, 3)]
    touch = video.collisions[0].frame
    gap = np.linalg.norm(video.positions[:, 0] - video.positions[:, 1], axis=-1)
    assert np.ptp(gap[touch + 3 : touch + 30]) < 0.02
    assert video.velocities[touch + 5, 1, 0] > 0.3  # the two go on together


def test_a_shared_model_keeps_neither_masses_nor_bounces():
    plain = _two_head_on(SPHERES, 2.5, phase=0.5)
    before = simulate(plain)
    simulate(_two_head_on(SPHERES, 2.5, phase=0.9, masses=(0.8, 1.2, 1.2, 0.8)))
    after = simulate(plain)
    assert np.array_equal(before.positions, after.positions)


def test_drag_and_friction_slow_a_heavy_object_as_a_light_one():
    starts = _two_head_on(CYLINDERS, 2.5, phase=0.5, masses=(0.73, 1, 1.27, 1))
    video = simulate(starts)
    before = video.collisions[0].frame
    assert video.velocities[before, 0] == pytest.approx(video.velocities[before, 2], abs=2e-3)


def test_coarse_steps_between_close_outlines_miss_no_touch(monkeypatch):
    videos = [simulate_video(4, number) for number in range(6)]
    monkeypatch.setattr(physics._Simulation, "_outlines_may_touch", lambda *_: True)
    for number, video in enumerate(videos):
        always_fine, first = simulate_video(4, number), video.collisions[0]
        assert (always_fine.collisions[0].frame, always_fine.collisions[0].objects) == (first.frame, first.objects)
        # the same up to the error of the steps; a touch that coarse steps miss would throw the two apart
        assert always_fine.positions[: first.frame + 2] == pytest.approx(video.positions[: first.frame + 2], abs=5e-3)
        assert np.linalg.norm(np.diff(video.velocities, axis=0), axis=-1).max() < 6


def _hit(before, after, *, frame=4) -> Trajectory:
    """Ten frames of two objects with these velocities along x before and after a collision."""
    velocities = np.zeros((10, 2, 3))
    velocities[:frame, :, 0], velocities[frame:, :, 0] = before, after
    turned, still = np.broadcast_to(np.eye(3), (10, 2, 3, 3)), np.zeros((10, 2, 3))
    hit = Collision(frame, (0, 1), (0.0, 0.0, 0.0))
    return Trajectory(np.array(SPHERES[:2], np.uint8), still, turned, velocities, still, np.ones((10, 2), bool), (hit,))


def test_a_bounce_is_measured_from_the_velocities_before_and_after():
    measured = measure_bounces([_hit((2.0, 0.0), (0.6, 1.4)), _hit((2.0, 0.0), (1.2, 1.6))])
    assert measured == pytest.approx(np.array([(2.0, 0.4, 0.0), (2.0, 0.2, np.log(2))]))


def test_a_video_without_a_whole_bounce_has_none():
    assert measure_bounces([]).shape == (0, 3)
    assert measure_bounces([_hit((2.0, 0.0), (0.6, 1.4), frame=8)]).shape == (0, 3)
