"""Proves that the view from above shows objects at their positions and leaves empty slots out."""

import numpy as np
import pytest

from vidseg_utils.classes import class_id, class_name
from vidseg_utils.task import VIDEO_FRAMES
from vidseg_utils.visualisation.plan_view import plot_footprints, plot_ground, plot_paths, plot_trajectory
from vidseg_utils.world.camera import project
from vidseg_utils.world.trajectory import Collision, Trajectory


def test_the_middle_of_the_ground_is_in_the_field_of_view_and_the_viewer_is_below(ax):
    plot_ground(ax, title="plan")
    (view,) = ax.patches
    assert view.contains_point(ax.transData.transform((0.0, 0.0)))
    assert not view.contains_point(ax.transData.transform((0.0, 4.0)))  # behind the camera's foot
    assert ax.yaxis_inverted()


def test_footprints_are_at_the_positions_of_the_objects_and_empty_slots_are_left_out(ax):
    plot_footprints(ax, np.array([0, 1, 17]), np.array([[9.0, 9.0, 0.0], [1.0, -0.5, np.pi / 4], [0.3, 0.6, 0.0]]))
    cube, sphere = ax.patches
    assert cube.get_extents().contains(*ax.transData.transform((-0.5, 1.0)))
    assert np.abs(cube.get_xy()[:, 0] + 0.5).max() == pytest.approx(0.2 * np.sqrt(2))  # on its corner
    assert tuple(sphere.center) == (0.6, 0.3)


def test_a_path_has_world_y_to_the_right(ax):
    plot_paths(ax, np.array([1, 0]), np.array([[[1.0, 2.0], [0, 0]], [[1.5, 2.5], [0, 0]]]))
    (line,) = ax.lines
    assert line.get_xdata().tolist() == [2.0, 2.5]


@pytest.fixture
def trajectory():
    ids = np.array([class_id("sphere", "metal", "red"), class_id("cube", "rubber", "blue")], dtype=np.uint8)
    frames = VIDEO_FRAMES
    positions = np.zeros((frames, 2, 3))
    positions[:, 0, 1] = np.linspace(-2, 2, frames)  # to the right
    positions[:, 1, 0] = np.linspace(-9, 1, frames)  # towards the viewer
    in_view = np.ones((frames, 2), dtype=bool)
    in_view[:70, 1] = False
    zeros = np.zeros((frames, 2, 3))
    collisions = (Collision(63, (0, 1), (0.5, 0.25, 0.2)),)
    return Trajectory(ids, positions, np.tile(np.eye(3), (frames, 2, 1, 1)), zeros, zeros, in_view, collisions)


def test_a_trajectory_is_seen_from_above_with_the_late_object_in_brackets(ax, trajectory):
    plot_trajectory(ax, trajectory)
    labels = {line.get_label(): line for line in ax.lines}
    red = labels[class_name(int(trajectory.class_ids[0]))]
    assert red.get_xdata()[0] == -2 and set(red.get_ydata()) == {0}
    assert f"({class_name(int(trajectory.class_ids[1]))})" in labels
    hit = labels["collision"]
    assert (hit.get_xdata()[0], hit.get_ydata()[0]) == (0.25, 0.5)
    low, high = ax.get_ylim()
    assert low > high, "the viewer is at the bottom"


def test_the_field_of_view_is_what_the_camera_sees_of_the_ground(ax, trajectory):
    plot_trajectory(ax, trajectory)
    polygon = next(patch for patch in ax.patches if patch.get_zorder() == 0)
    for y, x in polygon.get_xy()[:4]:
        pixel = project(np.array([x, y, 0.0]))[:2]
        assert min(abs(pixel - c).max() for c in ([0, 0], [240, 0], [240, 160], [0, 160])) < 1e-6
