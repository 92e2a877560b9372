"""The camera is CLEVRER's own, shows the same in every picture size, and can be inverted on horizontal planes."""

import numpy as np
import pytest

from vidseg_utils.world.camera import CAMERA_POSITION, camera_matrix, project, unproject


def test_it_looks_at_the_origin_from_five_units_away():
    np.testing.assert_allclose(project(np.zeros(3), height=320, width=480), [240, 160, 5])
    assert np.linalg.norm(CAMERA_POSITION) == pytest.approx(5, abs=1e-3)
    np.testing.assert_allclose(camera_matrix() @ [*CAMERA_POSITION, 1], 0, atol=0.02)


def test_its_focal_length_is_525_pixels_at_480x320():
    x, _, depth = project(np.array([0, 1.0, 0]), height=320, width=480)
    assert x - 240 == pytest.approx(525 / depth)


def test_y_goes_right_x_comes_nearer_and_z_goes_up():
    origin = project(np.zeros(3))
    assert project(np.array([0, 1.0, 0]))[0] > origin[0]
    nearer = project(np.array([1.0, 0, 0]))
    assert nearer[1] > origin[1]
    assert nearer[2] < origin[2]
    assert project(np.array([0, 0, 1.0]))[1] < origin[1]


def test_a_picture_of_half_the_size_has_half_the_pixel_coordinates():
    points = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    small, large = project(points, height=160, width=240), project(points, height=320, width=480)
    np.testing.assert_allclose(small[:, :2] * 2, large[:, :2])
    np.testing.assert_allclose(small[:, 2], large[:, 2])


@pytest.mark.parametrize("z", [0.0, 0.2])
def test_unproject_is_the_inverse_of_project(z):
    ground_positions = np.random.default_rng(1).uniform(-1.5, 1.5, (20, 2))
    points = np.concatenate([ground_positions, np.full((20, 1), z)], axis=1)
    back = unproject(project(points, height=80, width=120)[:, :2], z=z, height=80, width=120)
    np.testing.assert_allclose(back, ground_positions, atol=1e-9)
