"""Proves that placed objects become a scene that moves, and that impossible ones are refused with a cure."""

import math

import numpy as np
import pytest

from vidseg_utils.classes import class_id
from vidseg_utils.simulator import PlacedObject, objects_at_start, place_objects, simulate_objects, simulate_video
from vidseg_utils.simulator.placed_scene import _gap

CUBE, SPHERE, CYLINDER = (class_id(shape, "rubber", "red") for shape in ("cube", "sphere", "cylinder"))
BLUE_CUBE = class_id("cube", "metal", "blue")


def test_a_moving_object_hits_one_at_rest_and_one_alone_just_glides():
    trajectory = simulate_objects([PlacedObject(SPHERE, 0.0, -1.5, vy=2.8), PlacedObject(CUBE, 0.0, 0.5)])
    assert trajectory.positions.shape == (128, 2, 3)
    assert trajectory.positions[0, :, :2].tolist() == [[0.0, -1.5], [0.0, 0.5]]
    assert [collision.objects for collision in trajectory.collisions] == [(0, 1)]
    assert trajectory.positions[-1, 1, 1] > 0.8
    alone = simulate_objects([PlacedObject(SPHERE, 0.0, -1.5, vy=2.8)])
    assert not alone.collisions and alone.positions[-1, 0, 1] > trajectory.positions[-1, 0, 1] + 0.5


def test_the_same_objects_move_the_same():
    objects = [PlacedObject(SPHERE, 0.0, -1.5, vy=2.8), PlacedObject(CUBE, 0.05, 0.5, yaw=0.4)]
    first, second = simulate_objects(objects), simulate_objects(objects)
    assert (first.positions == second.positions).all() and (first.rotations == second.rotations).all()


def test_a_video_starts_again_from_its_annotation():
    video = simulate_video(11, 0)
    objects = objects_at_start(video)
    again = simulate_objects(objects)
    assert again.class_ids.tolist() == video.class_ids.tolist()
    assert np.abs(again.positions[0] - video.positions[0]).max() < 1e-6
    assert np.abs(again.velocities[0] - video.velocities[0]).max() < 1e-6
    cubes = video.class_ids < SPHERE - 1
    assert np.abs(again.rotations[0] - video.rotations[0])[cubes].max(initial=0.0) < 1e-6
    first_hit = min(collision.frame for collision in video.collisions)
    assert np.abs(again.positions[:first_hit] - video.positions[:first_hit]).max() < 0.02


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([], "the scene has 0 objects, and it can have 1 to 10: add one"),
        ([PlacedObject(1 + n, 0, n / 2 - 3) for n in range(11)], "has 11 objects, .* remove some"),
        ([PlacedObject(0, 0, 0)], "class id 0 is not an object; object ids run from 1 to 48"),
        ([PlacedObject(CUBE, math.nan, 0)], "x of the red rubber cube is nan; give a finite number"),
        ([PlacedObject(CUBE, 0, 0, vx=3, vy=3)], r"moves at 4.2 units a second.* than 4.2: make its arrow shorter"),
        ([PlacedObject(CUBE, 0, 12, vy=-2)], "the red rubber cube is 12.0 units from the middle: move it to within 10"),
        ([PlacedObject(CUBE, 0, 6)], "rests outside the camera's view: move it into the white area, or let it move"),
        ([PlacedObject(CUBE, 0, 0), PlacedObject(CUBE, 0, 1)], "two objects are a red rubber cube.* change the colour"),
        (
            [PlacedObject(CUBE, 0, 0), PlacedObject(SPHERE, 0.1, 0.3)],
            "cube and the red rubber sphere overlap: move",
        ),
    ],
)
def test_an_impossible_scene_is_refused_with_a_cure(objects, message):
    with pytest.raises(ValueError, match=message):
        place_objects(objects)


def test_an_object_may_move_in_from_outside():
    trajectory = simulate_objects([PlacedObject(CUBE, -1, 4.5, vy=-2.9)])
    assert not trajectory.in_view[0].any() and trajectory.in_view[-1].all()


@pytest.mark.parametrize(
    ("first", "second", "gap"),
    [
        (PlacedObject(SPHERE, 0, 0), PlacedObject(CYLINDER, 0, 1), 0.6),
        (PlacedObject(CUBE, 0, 0), PlacedObject(BLUE_CUBE, 0, 0.5), 0.1),
        (PlacedObject(CUBE, 0, 0, yaw=math.pi / 4), PlacedObject(BLUE_CUBE, 0, 0.5), 0.3 - 0.2 * 2**0.5),
        (PlacedObject(CUBE, 0, 0), PlacedObject(SPHERE, 0.5, 0.5), 0.3 * 2**0.5 - 0.2),
        (PlacedObject(SPHERE, 0, 0), PlacedObject(CYLINDER, 0, 0.3), -0.1),
        (PlacedObject(SPHERE, 0, 0), PlacedObject(CYLINDER, 0, 0), -math.inf),
    ],
)
def test_the_gap_between_footprints_is_exact(first, second, gap):
    assert _gap(first, second) == pytest.approx(gap) and _gap(second, first) == pytest.approx(gap)
