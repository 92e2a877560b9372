"""Proves that the floor plan shows objects where they are, from above, and leaves empty slots out."""

import numpy as np
import pytest

from vidseg_utils.visualisation.floor_plan import draw_objects, draw_paths, floor_plan


def test_the_middle_of_the_picture_is_seen_and_the_viewer_is_below(ax):
    floor_plan(ax, title="plan")
    (view,) = ax.patches
    assert view.contains_point(ax.transData.transform((0.0, 0.0)))
    assert not view.contains_point(ax.transData.transform((0.0, 4.0)))  # behind the camera's foot
    assert ax.yaxis_inverted()


def test_objects_stand_at_their_places_and_empty_slots_are_left_out(ax):
    draw_objects(ax, np.array([0, 1, 17]), np.array([[9.0, 9.0, 0.0], [1.0, -0.5, np.pi / 4], [0.3, 0.6, 0.0]]))
    cube, sphere = ax.patches
    assert cube.get_extents().contains(*ax.transData.transform((-0.5, 1.0)))
    assert np.abs(cube.get_xy()[:, 0] + 0.5).max() == pytest.approx(0.2 * np.sqrt(2))  # on its corner
    assert tuple(sphere.center) == (0.6, 0.3)


def test_a_path_has_world_y_to_the_right(ax):
    draw_paths(ax, np.array([1, 0]), np.array([[[1.0, 2.0], [0, 0]], [[1.5, 2.5], [0, 0]]]))
    (line,) = ax.lines
    assert line.get_xdata().tolist() == [2.0, 2.5]
