"""Proves that forecasts with more knowledge score higher, and that errors are in world units."""

import numpy as np
import pytest
import torch

from vidseg_utils.metrics import jaccard
from vidseg_utils.systems.object_dynamics import ObjectDynamics
from vidseg_utils.systems.object_dynamics.error_sources import (
    find_clear_collision,
    forecasts_from_masks,
    forecasts_from_truth,
    rollout_errors,
    state_error_table,
)
from vidseg_utils.systems.object_dynamics.filter import FilterSettings
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.task import CLIP_VIDEO_FRAMES
from vidseg_utils.world.mask_drawing import draw_masks
from vidseg_utils.world.trajectory import Collision, Trajectory

CONSTANTS = PhysicsConstants()
IDS = np.array([1, 17, 33], dtype=np.uint8)  # a cube that is hit by a sphere, and a cylinder that passes


@pytest.fixture(scope="module")
def truth():
    """A trajectory by the fitted physics, and its masks (22, 80, 120)."""
    world = Worlds.empty(1, 3)
    world.shape[0], world.active[:] = [0, 1, 2], True
    world.position[0] = [[-0.3, 0.2], [-2.4, -1.9], [1.0, -1.0]]
    world.velocity[0] = [[0, 0], [0.024, 0.025], [-0.012, 0.012]]
    states = []
    for _ in range(128):
        states.append((world.position[0].copy(), world.velocity[0].copy(), world.poses[0].copy()))
        advance(world, 1, CONSTANTS)
    position, velocity, poses = (np.stack(column) for column in zip(*states, strict=True))
    flat = ((0, 0), (0, 0), (0, 1))
    yaw, upright = poses[..., 2], np.tile(np.eye(3), (128, 3, 1, 1))
    upright[..., 0, 0] = upright[..., 1, 1] = np.cos(yaw)
    upright[..., 1, 0], upright[..., 0, 1] = np.sin(yaw), -np.sin(yaw)
    hit = int(np.argmax(np.linalg.norm(velocity[:, 0], axis=-1) > 1e-3))
    trajectory = Trajectory(
        IDS, np.pad(position, flat), upright, np.pad(velocity, flat) / 0.028, np.zeros((128, 3, 3)),
        np.ones((128, 3), dtype=bool), (Collision(hit, (0, 1), (0.0, 0.0, 0.2)),),
    )  # fmt: skip
    ids = np.broadcast_to(IDS, (22, 3))
    return trajectory, draw_masks(ids, poses[list(CLIP_VIDEO_FRAMES)], ids > 0, height=80, width=120)


@pytest.fixture(scope="module")
def system():
    return ObjectDynamics(CONSTANTS, settings=FilterSettings(members=12))


def test_more_knowledge_gives_a_higher_score(truth, system):
    trajectory, masks = truth
    assert 60 < trajectory.collisions[0].frame < 110  # unseen
    past, target = masks[None, :11], torch.from_numpy(masks[None, -1])
    answers = forecasts_from_masks(system, past) | forecasts_from_truth(system, [trajectory], past)
    scores = {name: jaccard(torch.from_numpy(answer), target) for name, answer in answers.items()}
    assert scores["true state of frame 21"] == pytest.approx(1.0)
    assert scores["true state of what was seen"] == scores["true state of all objects"] > 0.9
    assert scores["straight lines"] + 0.1 < scores["many worlds"]


def moved_by(constants):
    """A move of rollout_errors."""
    return lambda worlds, _: advance(worlds, 6, constants)


def test_the_physics_that_made_a_rollout_makes_no_error(truth):
    errors = rollout_errors([truth[0]], moved_by(CONSTANTS), starts=(60, 12))
    assert [len(horizon) for horizon in errors] == [6] * 11  # three objects, two starts
    assert np.concatenate(errors).max() < 0.01
    other = [e.mean() for e in rollout_errors([truth[0]], moved_by(PhysicsConstants(quadratic_drag=0.3)))]
    assert other[-1] > other[0] > 0 and other[-1] > 0.05


def test_a_rollout_is_told_the_class_ids_and_counts_only_what_is_in_view(truth):
    hidden = truth[0].in_view.copy()
    hidden[60 + 11 * 6, 1] = False
    trajectory = Trajectory(**{**vars(truth[0]), "in_view": hidden})
    told = []
    errors = rollout_errors([trajectory], lambda worlds, ids: told.append(ids.tolist()))
    assert told == [[[1, 17, 33]]] * 11 and [len(e) for e in errors] == [3] * 10 + [2]
    assert errors[0][0] == 0 < errors[0][1]  # the cube still rests; nobody moved the sphere


def cells_of(table):
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def test_states_are_compared_with_the_truth(truth, system):
    trajectory, masks = truth
    rows = cells_of(state_error_table(system, [trajectory], {"true": masks[None, :11]}))
    assert [row[1] for row in rows] == ["cube", "sphere", "cylinder"] and rows[0][2] == "11"
    measured, states, velocities = ([float(row[n].split(" / ")[0]) for row in rows] for n in (3, 5, 6))
    assert 0 < max(measured) < 0.05 and 0 < max(states) < 0.05 and max(velocities) < 0.1
    assert [row[-1] for row in rows] == ["1.000"] * 3


def test_an_object_of_another_class_or_far_from_its_position_is_not_tracked(truth, system):
    trajectory, masks = truth
    other_class = np.where(masks == 33, 34, masks)[None, :11]
    shifted = np.roll(masks, 12, axis=2)[None, :11]  # to the right, by an object's width or more
    rows = cells_of(state_error_table(system, [trajectory], {"another class": other_class, "shifted": shifted}))
    assert [row[0] for row in rows] == ["another class"] * 3 + ["shifted"] * 3
    assert [row[-1] for row in rows] == ["1.000", "1.000", "0.000"] + ["0.000"] * 3
    assert rows[2][2] == "11" and rows[2][3] == ""  # measured, but no object has that class


def test_the_collision_furthest_from_any_other_is_chosen(truth):
    trajectory = truth[0]
    second = Collision(trajectory.collisions[0].frame + 5, (0, 2), (0.0, 0.0, 0.2))
    crowded = Trajectory(*list(vars(trajectory).values())[:-1], (*trajectory.collisions, second))
    assert find_clear_collision([crowded, trajectory, crowded]) == (1, trajectory.collisions[0])
    with pytest.raises(ValueError, match="nothing collides"):
        find_clear_collision([])
