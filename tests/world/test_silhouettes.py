"""Proves that the distance of a ray from a silhouette has the right sign, unit and derivatives for all three shapes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vidseg_utils.renderer.masks import cast_masks
from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.world.mask_drawing import covered_pixels, draw_masks
from vidseg_utils.world.silhouettes import (
    PixelRays,
    distance_from_shape,
    mask_sample_points,
    pixel_rays,
    signed_distance,
    world_distance,
)
from vidseg_utils.world.solids import CUBE, CYLINDER, OBJECT_RADIUS, SPHERE

SHAPES = pytest.mark.parametrize("shape", [CUBE, SPHERE, CYLINDER], ids=["cube", "sphere", "cylinder"])
STEP = 1e-5  # of finite differences: pixels, world units or radians
KINK = 1e-3  # central and one-sided differences differ by more where a formula changes within two steps


def rays_and_poses(shape, count=4000, seed=0):
    """Pixel coordinates (2, count) up to a few pixels away from the outlines of random objects; shapes and poses."""
    rng = np.random.default_rng(seed)
    poses = np.column_stack([rng.uniform(-2, 2, count), rng.uniform(-2, 2, count), rng.uniform(-1.5, 1.5, count)])
    shapes = np.full(count, shape)
    u, v = rng.uniform(0, WIDTH, 20 * count), rng.uniform(0, HEIGHT, 20 * count)
    index = np.tile(np.arange(count), 20)
    near = np.abs(distance_at(u, v, shapes[index], poses[index])) < 6
    return u[near], v[near], shapes[index[near]], poses[index[near]]


def distance_at(u, v, shapes, poses):
    return signed_distance(pixel_rays(u, v, height=HEIGHT, width=WIDTH), shapes, poses).pixels


def value_at(u, v, shapes, poses):
    return world_distance(pixel_rays(u, v, height=HEIGHT, width=WIDTH), shapes, poses)[0]


def assert_is_derivative(derivative, function, arguments, which):
    """`derivative` against central differences of `function` along argument number `which`, away from kinks."""
    u, v, shapes, poses = arguments

    def moved(step):
        shift = [np.zeros(len(u)) for _ in range(5)]
        shift[which] += step
        return function(u + shift[0], v + shift[1], shapes, poses + np.stack(shift[2:], axis=1))

    here, right, left = moved(0.0), moved(STEP), moved(-STEP)
    scale = np.abs(derivative).max() + 1e-12
    smooth = np.abs(right + left - 2 * here) / STEP < KINK * scale
    assert smooth.mean() > 0.97
    np.testing.assert_allclose(derivative[smooth], ((right - left) / (2 * STEP))[smooth], atol=1e-5 * scale)


@SHAPES
@pytest.mark.parametrize("which", range(5), ids=["u", "v", "x", "y", "yaw"])
def test_derivatives_in_world_units_are_those_of_finite_differences(shape, which):
    arguments = rays_and_poses(shape)
    u, v, shapes, poses = arguments
    _, by_u, by_v, by_pose = world_distance(pixel_rays(u, v, height=HEIGHT, width=WIDTH), shapes, poses)
    assert_is_derivative([by_u, by_v, *by_pose][which], value_at, arguments, which)


@SHAPES
@pytest.mark.parametrize("which", range(2, 5), ids=["x", "y", "yaw"])
def test_derivatives_in_pixels_are_exact_on_the_outline(shape, which):
    u, v, shapes, poses = rays_and_poses(shape)
    for _ in range(30):  # walk to the outline along the gradient over the image
        _, by_u, by_v, _ = world_distance(pixel_rays(u, v, height=HEIGHT, width=WIDTH), shapes, poses)
        distance, norm = distance_at(u, v, shapes, poses), np.hypot(by_u, by_v)
        u, v = u - distance * by_u / norm, v - distance * by_v / norm
    on_outline = np.abs(distance_at(u, v, shapes, poses)) < 1e-9
    assert on_outline.mean() > 0.9
    arguments = u[on_outline], v[on_outline], shapes[on_outline], poses[on_outline]
    rays = pixel_rays(*arguments[:2], height=HEIGHT, width=WIDTH)
    by_pose = signed_distance(rays, *arguments[2:]).by_pose
    assert_is_derivative(by_pose[which - 2], distance_at, arguments, which)


@SHAPES
def test_a_distance_of_a_pixel_is_one_pixel_away_from_the_outline(shape):
    u, v, shapes, poses = rays_and_poses(shape)
    _, by_u, by_v, _ = world_distance(pixel_rays(u, v, height=HEIGHT, width=WIDTH), shapes, poses)
    distance, norm = distance_at(u, v, shapes, poses), np.hypot(by_u, by_v)
    close = np.abs(distance) < 2
    at_outline = distance_at(u - distance * by_u / norm, v - distance * by_v / norm, shapes, poses)[close]
    assert np.quantile(np.abs(at_outline), 0.95) < 0.15


@SHAPES
def test_distances_from_one_shape_are_the_same_in_single_precision_to_a_thousandth_of_a_pixel(shape):
    u, v, shapes, poses = rays_and_poses(shape)
    rays, poses = pixel_rays(u, v, height=HEIGHT, width=WIDTH), poses.T
    exact = distance_from_shape(shape, rays, poses)
    np.testing.assert_array_equal(exact.pixels, signed_distance(rays, shapes, poses.T).pixels)
    single = distance_from_shape(shape, rays.astype(np.float32), poses.astype(np.float32))
    assert single.pixels.dtype == single.by_pose.dtype == np.float32
    np.testing.assert_allclose(single.pixels, exact.pixels, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_ray_exactly_across_an_axis_of_a_cube_is_like_its_neighbours(dtype):
    """It passes all of a face at one distance, and pixels are 15 % larger at one end of the face than at the other."""
    slope, change = np.array([[-1.0, -1.0], [0.0, 1e-6]]), np.array([[0.01, 0.01], [0.02, 0.02]])
    rays = PixelRays(slope, change, change).astype(dtype)
    for y in np.linspace(-0.3, 0.3, 13):
        distance = distance_from_shape(CUBE, rays, np.array([[1.9, 1.9], [y, y], [0, 0]], dtype))
        assert distance.pixels[0] == pytest.approx(distance.pixels[1], rel=0.2)
        assert np.isfinite(distance.by_pose).all()


@SHAPES
def test_silhouettes_are_what_the_ray_caster_draws(shape, count=100):
    rng = np.random.default_rng(0)
    poses = np.column_stack([rng.uniform(-2, 2, (count, 2)), rng.uniform(-1.5, 1.5, count)])
    class_ids = np.full((count, 1), 1 + 16 * shape, np.uint8)
    drawn = draw_masks(class_ids, poses[:, None], np.ones((count, 1), bool), height=HEIGHT, width=WIDTH)
    upright = {CYLINDER: [[1, 0, 0], [0, 0, -1], [0, 1, 0]]}.get(shape, np.eye(3))  # a cylinder's axis is its own y
    rotations = Rotation.from_euler("z", poses[:, 2:]).as_matrix() @ np.array(upright, dtype=float)
    positions = np.column_stack([poses[:, :2], np.full(count, OBJECT_RADIUS)])
    cast = cast_masks(class_ids[0], positions[:, None], rotations[:, None])
    assert (drawn != cast).sum() <= 3e-4 * (cast > 0).sum()  # single precision at outlines


def test_covered_pixels_with_a_stride_are_those_of_every_other_row_and_column():
    shapes, poses = np.array([CUBE, CYLINDER]), np.array([[0.5, 0.3, 0.4], [-0.5, -0.6, 0.0]])
    objects, pixels = covered_pixels(shapes, poses, height=HEIGHT, width=WIDTH)
    few, few_pixels = covered_pixels(shapes, poses, height=HEIGHT, width=WIDTH, stride=2)
    assert set(zip(few, few_pixels, strict=True)) < set(zip(objects, pixels, strict=True))
    assert len(few) == pytest.approx(len(objects) / 4, rel=0.05)


def test_smaller_masks_are_sampled_at_pixels_of_the_full_size():
    u, v = mask_sample_points(HEIGHT // 2, WIDTH // 2)
    full_u, full_v = mask_sample_points(HEIGHT, WIDTH)
    np.testing.assert_allclose(2 * u, full_u[1::2])
    np.testing.assert_allclose(2 * v, full_v[1::2])
