"""The silhouette of an object on the ground as the camera sees it, in closed form.

Seen from above, the ray of a pixel is a line segment: from the point where it enters the layer of the objects
(z = 0.4) to the point where it meets the ground. A cylinder or cube covers the pixel if that segment crosses its
footprint; a sphere does if the ray passes its centre within its radius. `signed_distance` says by how much, with
derivatives, so that fitting poses and drawing masks (`mask_drawing`) share one formula.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Integer

from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.world.camera import CAMERA_POSITION, camera_matrix
from vidseg_utils.world.solids import CUBE, CYLINDER, OBJECT_RADIUS, SPHERE, VISIBLE_HALF_SIZE

_CAMERA_XY = CAMERA_POSITION[:2]
# Lengths of a ray at an object's top and bottom. A ray of length s has descended by s, so they are heights below the
# camera.
_TOP, _BOTTOM = (CAMERA_POSITION[2] - OBJECT_RADIUS + sign * VISIBLE_HALF_SIZE for sign in (-1, 1))


@dataclass(frozen=True)
class PixelRays:
    """Rays of P pixels: the point at length s is the camera position + s (slope x, slope y, -1)."""

    slope: Float[np.ndarray, "P 2"]  # x and y
    slope_u: Float[np.ndarray, "P 2"]  # change of the slope from a pixel to the next one on the right
    slope_v: Float[np.ndarray, "P 2"]  # and to the next one below

    def __getitem__(self, index: np.ndarray) -> "PixelRays":
        return PixelRays(self.slope[index], self.slope_u[index], self.slope_v[index])


def pixel_rays(u: Float[np.ndarray, " P"], v: Float[np.ndarray, " P"], *, height: int, width: int) -> PixelRays:
    """Rays through pixel coordinates u (to the right) and v (down) of an image of that size."""
    inverse = np.linalg.inv(camera_matrix(height, width)[:, :3])
    direction = inverse @ np.stack([u, v, np.ones_like(u)])  # (3, P)
    down = -direction[2]

    def slope_change(column: np.ndarray) -> np.ndarray:
        return ((column[:2, None] + direction[:2] * column[2] / down) / down).T

    return PixelRays((direction[:2] / down).T, slope_change(inverse[:, 0]), slope_change(inverse[:, 1]))


@lru_cache(maxsize=8)
def mask_sample_points(height: int, width: int) -> tuple[Float[np.ndarray, " W"], Float[np.ndarray, " H"]]:
    """Coordinates u and v, in pixels of a mask of that size, of the points at which the mask was sampled.

    Smaller masks take every n-th pixel of the 160 x 240 original; its centre is not the centre of the larger pixel.
    """
    v = (np.floor((np.arange(height) + 0.5) * HEIGHT / height) + 0.5) * height / HEIGHT
    u = (np.floor((np.arange(width) + 0.5) * WIDTH / width) + 0.5) * width / WIDTH
    return u, v


@dataclass(frozen=True)
class SignedDistance:
    """Signed distance of P rays from their objects (negative: covered), in pixels.

    Its derivatives are exact on the outline. Away from it they neglect that a pixel's size in world units changes with
    the pose.
    """

    pixels: Float[np.ndarray, " P"]
    by_pose: Float[np.ndarray, "3 P"]  # derivatives with respect to x, y (per world unit) and yaw (per radian)


def signed_distance(
    rays: PixelRays, shapes: Integer[np.ndarray, " P"], poses: Float[np.ndarray, "P 3"]
) -> SignedDistance:
    """Distance of each ray from the object of that shape code and pose (x, y in world units, yaw in radians)."""
    value, by_u, by_v, by_pose = world_distance(rays, shapes, poses)
    units_per_pixel = np.maximum(np.hypot(by_u, by_v), 1e-6)
    return SignedDistance(value / units_per_pixel, by_pose / units_per_pixel)


def world_distance(
    rays: PixelRays, shapes: Integer[np.ndarray, " P"], poses: Float[np.ndarray, "P 3"]
) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"], Float[np.ndarray, " P"], Float[np.ndarray, "3 P"]]:
    """As `signed_distance`, in world units: the distance and its derivatives by u, by v and by the pose."""
    value, by_u, by_v = (np.empty(len(shapes)) for _ in range(3))
    by_pose = np.zeros((3, len(shapes)))
    for shape, function in ((CUBE, _cube), (SPHERE, _sphere), (CYLINDER, _cylinder)):
        index = np.flatnonzero(shapes == shape)
        if len(index):
            value[index], by_u[index], by_v[index], by_pose[:, index] = function(rays[index], poses[index])
    return value, by_u, by_v, by_pose


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1]


def _cylinder(rays: PixelRays, poses: np.ndarray) -> tuple:
    """Distance of the segment from the disc."""
    offset = poses[:, :2] - _CAMERA_XY
    length = _dot(offset, rays.slope) / _dot(rays.slope, rays.slope)
    length = np.clip(length, _TOP[CYLINDER], _BOTTOM[CYLINDER])
    normal = length[:, None] * rays.slope - offset
    distance = np.maximum(np.hypot(normal[:, 0], normal[:, 1]), 1e-9)
    normal /= distance[:, None]
    by_pose = np.stack([-normal[:, 0], -normal[:, 1], np.zeros_like(distance)])
    return (
        distance - VISIBLE_HALF_SIZE[CYLINDER],
        length * _dot(normal, rays.slope_u),
        length * _dot(normal, rays.slope_v),
        by_pose,
    )


def _sphere(rays: PixelRays, poses: np.ndarray) -> tuple:
    """Distance of the ray from the ball."""
    offset = poses[:, :2] - _CAMERA_XY
    rise = OBJECT_RADIUS - CAMERA_POSITION[2]
    length = (_dot(offset, rays.slope) - rise) / (_dot(rays.slope, rays.slope) + 1)
    normal = offset - length[:, None] * rays.slope
    distance = np.sqrt(_dot(normal, normal) + (rise + length) ** 2)
    normal /= np.maximum(distance, 1e-9)[:, None]
    by_pose = np.stack([normal[:, 0], normal[:, 1], np.zeros_like(distance)])
    return (
        distance - VISIBLE_HALF_SIZE[SPHERE],
        -length * _dot(normal, rays.slope_u),
        -length * _dot(normal, rays.slope_v),
        by_pose,
    )


def _cube(rays: PixelRays, poses: np.ndarray) -> tuple:
    """The widest gap between the segment and the square: along either axis of the square, or across the segment."""
    offset = poses[:, :2] - _CAMERA_XY
    cosine, sine = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    axis_x, axis_y = np.stack([cosine, sine], axis=1), np.stack([-sine, cosine], axis=1)
    half, top, bottom = VISIBLE_HALF_SIZE[CUBE], _TOP[CUBE], _BOTTOM[CUBE]
    near, far = top * rays.slope - offset, bottom * rays.slope - offset  # the segment's ends, seen from the cube
    gaps, by_x, by_y, by_yaw, by_slope = [], [], [], [], []
    for axis, axis_by_yaw in ((axis_x, axis_y), (axis_y, -axis_x)):
        ends = np.stack([_dot(near, axis), _dot(far, axis)])
        side = np.where(ends.sum(0) > 0, 1.0, -1.0)
        far_is_nearer = side * ends[1] < side * ends[0]
        gaps.append(np.where(far_is_nearer, side * ends[1], side * ends[0]) - half)
        end = np.where(far_is_nearer[:, None], far, near)
        by_x.append(-side * axis[:, 0])
        by_y.append(-side * axis[:, 1])
        by_yaw.append(side * _dot(end, axis_by_yaw))
        by_slope.append((side * np.where(far_is_nearer, bottom, top))[:, None] * axis)
    norm = np.hypot(rays.slope[:, 0], rays.slope[:, 1])
    across = np.stack([-rays.slope[:, 1], rays.slope[:, 0]], axis=1) / norm[:, None]
    passing = -_dot(across, offset)
    side = np.where(passing > 0, 1.0, -1.0)
    across_x, across_y = _dot(across, axis_x), _dot(across, axis_y)
    gaps.append(np.abs(passing) - half * (np.abs(across_x) + np.abs(across_y)))
    by_x.append(-side * across[:, 0])
    by_y.append(-side * across[:, 1])
    width_by_yaw = half * (np.sign(across_x) * across_y - np.sign(across_y) * across_x)  # of half the square's width
    by_yaw.append(-width_by_yaw)
    # A change of slope across the segment turns it, which changes its distance from the centre and the square's width.
    by_slope.append((side * _dot(offset, rays.slope) / norm**2 + width_by_yaw / norm)[:, None] * across)

    gaps = np.stack(gaps)
    widest, index = gaps.argmax(axis=0), np.arange(len(norm))
    slope_weight = np.stack(by_slope)[widest, index]
    by_pose = np.stack([np.stack(column)[widest, index] for column in (by_x, by_y, by_yaw)])
    return gaps[widest, index], _dot(slope_weight, rays.slope_u), _dot(slope_weight, rays.slope_v), by_pose
