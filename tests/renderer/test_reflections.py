"""Metal mirrors near objects: what shows in it, what does not, and that it follows the motion of its neighbours."""

import numpy as np
import pytest

from tests.renderer.trajectories import STANDING_CYLINDER, still_trajectory
from vidseg_utils.classes import class_id
from vidseg_utils.renderer.frames import render_video
from vidseg_utils.renderer.kernels.changes import MIRROR_REACH
from vidseg_utils.world.trajectory import Trajectory

GRAY_METAL = {shape: class_id(shape, "metal", "gray") for shape in ("cube", "sphere", "cylinder")}
RED_SPHERE = class_id("sphere", "rubber", "red")
METAL_POSITION = np.array([0.0, 0.0, 0.2])
NO_TURN = np.eye(3)


def redness(shape_id, neighbour_id, distance):
    """How much redder than blue the object's pixels are, of 255, with a neighbour at that distance to its right."""
    positions = [METAL_POSITION, METAL_POSITION + np.array([0, distance, 0])]
    rotations = [STANDING_CYLINDER if shape_id == GRAY_METAL["cylinder"] else NO_TURN, NO_TURN]
    frames, masks = render_video(still_trajectory([shape_id, neighbour_id], positions, rotations))
    colours = frames[0].astype(int)[:, masks[0] == shape_id]
    return colours[0] - colours[2]


@pytest.mark.parametrize("shape", ["sphere", "cylinder"])
def test_metal_shows_its_neighbour(shape):
    assert (redness(GRAY_METAL[shape], RED_SPHERE, 0.45) > 30).sum() > 10


def test_a_cube_shows_what_stands_before_its_face():
    positions = [METAL_POSITION, METAL_POSITION + np.array([0.42, 0.3, 0])]
    frames, masks = render_video(still_trajectory([GRAY_METAL["cube"], RED_SPHERE], positions))
    red = frames[0].astype(int)[0] - frames[0][2] > 30
    assert (red & (masks[0] == GRAY_METAL["cube"])).sum() > 10


def test_far_neighbours_do_not_show():
    assert redness(GRAY_METAL["sphere"], RED_SPHERE, 1.5 * MIRROR_REACH).max() <= 5


def test_rubber_mirrors_nothing():
    assert redness(class_id("sphere", "rubber", "gray"), RED_SPHERE, 0.45).max() <= 15  # at the outline, blended


def test_mirror_images_follow_a_neighbour_past_an_object_at_rest():
    steps = np.linspace(0.4, 0.9, 5)
    positions = np.stack([[METAL_POSITION, METAL_POSITION + np.array([0.2, step, 0])] for step in steps])
    rotations = np.broadcast_to(NO_TURN, (5, 2, 3, 3))
    zeros = np.zeros_like(positions)
    ids = np.array([GRAY_METAL["sphere"], RED_SPHERE], np.uint8)
    moving = Trajectory(ids, positions, rotations, zeros, zeros, np.ones((5, 2), bool))
    together = render_video(moving)[0]
    alone = np.concatenate([render_video(moving.select_frames((t,)))[0] for t in range(5)])
    assert abs(together.astype(int) - alone).max() <= 1
    assert (together[0] != together[-1]).any()
