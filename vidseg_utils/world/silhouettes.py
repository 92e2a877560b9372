"""The silhouette of an object on the ground as the camera sees it, in closed form.

Seen from above, the ray of a pixel is a line segment: from the point where it enters the layer of the objects
(z = 0.4) to the point where it meets the ground. A cylinder covers the pixel if that segment crosses its footprint. A
sphere does if the ray passes its centre within its radius, and a cube, whose edges are rounded, if the ray passes a
smaller cube inside it within the radius of the edges. `signed_distance` says by how much, with
derivatives, so that fitting poses and drawing masks (`mask_drawing`) share one formula.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Integer

from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.world.camera import CAMERA_POSITION, camera_matrix
from vidseg_utils.world.label_offset import EXACT_LABELS, LabelOffset
from vidseg_utils.world.solids import (
    CUBE,
    CUBE_EDGE_RADIUS,
    CYLINDER,
    OBJECT_RADIUS,
    SPHERE,
    VISIBLE_HALF_SIZE,
)

# As numbers of Python, so that float32 stays float32.
_CAMERA_X, _CAMERA_Y, _CAMERA_Z = CAMERA_POSITION.tolist()
_CUBE_RADIUS, _SPHERE_RADIUS, _CYLINDER_RADIUS = VISIBLE_HALF_SIZE.tolist()
_RISE = _CAMERA_Z - OBJECT_RADIUS  # from an object's centre to the camera
# Lengths of a ray at a cylinder's top and bottom. A ray of length s has descended by s, so they are heights below the
# camera.
_TOP, _BOTTOM = _RISE - _CYLINDER_RADIUS, _RISE + _CYLINDER_RADIUS
_AXES = ((0, 1, 2), (1, 2, 0), (2, 0, 1))
_NOT_ZERO = 1e-30  # added to a ray across a cube's axis, so that a normal's component is 0 only along an edge


@dataclass(frozen=True)
class PixelRays:
    """Rays of P pixels: the point at length s is the camera position + s (slope x, slope y, -1)."""

    slope: Float[np.ndarray, "2 P"]  # x and y
    slope_u: Float[np.ndarray, "2 P"]  # change of the slope from a pixel to the next one on the right
    slope_v: Float[np.ndarray, "2 P"]  # and to the next one below

    def __getitem__(self, index: np.ndarray) -> "PixelRays":
        return PixelRays(*(array[:, index] for array in (self.slope, self.slope_u, self.slope_v)))

    def astype(self, dtype: type) -> "PixelRays":
        """The same rays in another precision: float32 suffices for fits, to 1e-4 of a pixel."""
        return PixelRays(*(array.astype(dtype) for array in (self.slope, self.slope_u, self.slope_v)))


def pixel_rays(u: Float[np.ndarray, " P"], v: Float[np.ndarray, " P"], *, height: int, width: int) -> PixelRays:
    """Rays through pixel coordinates u (to the right) and v (down) of an image of that size."""
    inverse = np.linalg.inv(camera_matrix(height, width)[:, :3])
    direction = inverse @ np.stack([u, v, np.ones_like(u)])  # (3, P)
    down = -direction[2]

    def slope_change(column: np.ndarray) -> np.ndarray:
        return (column[:2, None] + direction[:2] * column[2] / down) / down

    return PixelRays(direction[:2] / down, slope_change(inverse[:, 0]), slope_change(inverse[:, 1]))


@lru_cache(maxsize=8)
def mask_sample_points(
    height: int, width: int, offset: LabelOffset = EXACT_LABELS
) -> tuple[Float[np.ndarray, " W"], Float[np.ndarray, " H"]]:
    """Coordinates u and v, in pixels of a mask of that size, of the points at which the mask was sampled.

    Smaller masks take every n-th pixel of the 160 x 240 original; its centre is not the centre of the larger pixel.
    offset: of labels against the exact mask, which they show at points that are shifted against their pixels
    """
    v = (np.floor((np.arange(height) + 0.5) * HEIGHT / height) + 0.5) * height / HEIGHT
    u = (np.floor((np.arange(width) + 0.5) * WIDTH / width) + 0.5) * width / WIDTH
    offset = offset.scaled_to(width)
    return u - offset.x, v - offset.y


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
    return _in_pixels(*world_distance(rays, shapes, poses))


def world_distance(
    rays: PixelRays, shapes: Integer[np.ndarray, " P"], poses: Float[np.ndarray, "P 3"]
) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"], Float[np.ndarray, " P"], Float[np.ndarray, "3 P"]]:
    """As `signed_distance`, in world units: the distance and its derivatives by u, by v and by the pose."""
    value, by_u, by_v = np.empty((3, len(shapes)))
    by_pose = np.zeros((3, len(shapes)))
    for shape, function in _WORLD_DISTANCE.items():
        index = np.flatnonzero(shapes == shape)
        if len(index):
            value[index], by_u[index], by_v[index], by_pose[:, index] = function(rays[index], poses[index].T)
    return value, by_u, by_v, by_pose


def distance_from_shape(shape: int, rays: PixelRays, poses: Float[np.ndarray, "3 P"]) -> SignedDistance:
    """As `signed_distance` for objects of one shape, in the precision of the arrays."""
    return _in_pixels(*_WORLD_DISTANCE[shape](rays, poses))


def _in_pixels(value: np.ndarray, by_u: np.ndarray, by_v: np.ndarray, by_pose: np.ndarray) -> SignedDistance:
    units_per_pixel = np.maximum(np.hypot(by_u, by_v), 1e-6)
    return SignedDistance(value / units_per_pixel, by_pose / units_per_pixel)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[0] * b[0] + a[1] * b[1]


def _offset(poses: np.ndarray) -> np.ndarray:
    """(2, P): from the camera to the objects, on the ground."""
    return np.stack([poses[0] - _CAMERA_X, poses[1] - _CAMERA_Y])


def _cylinder(rays: PixelRays, poses: np.ndarray) -> tuple:
    """Distance of the segment from the disc."""
    offset = _offset(poses)
    length = _dot(offset, rays.slope) / _dot(rays.slope, rays.slope)
    length = np.clip(length, _TOP, _BOTTOM)
    normal = length * rays.slope - offset
    distance = np.maximum(np.hypot(*normal), 1e-9)
    normal /= distance
    by_pose = np.stack([*-normal, np.zeros_like(distance)])
    by_u, by_v = length * _dot(normal, rays.slope_u), length * _dot(normal, rays.slope_v)
    return distance - _CYLINDER_RADIUS, by_u, by_v, by_pose


def _sphere(rays: PixelRays, poses: np.ndarray) -> tuple:
    """Distance of the ray from the ball."""
    offset = _offset(poses)
    length = (_dot(offset, rays.slope) + _RISE) / (_dot(rays.slope, rays.slope) + 1)
    normal = offset - length * rays.slope
    distance = np.sqrt(_dot(normal, normal) + (length - _RISE) ** 2)
    normal /= np.maximum(distance, 1e-9)
    by_pose = np.stack([*normal, np.zeros_like(distance)])
    by_u, by_v = -length * _dot(normal, rays.slope_u), -length * _dot(normal, rays.slope_v)
    return distance - _SPHERE_RADIUS, by_u, by_v, by_pose


def _cube(rays: PixelRays, poses: np.ndarray) -> tuple:
    """Distance of the ray from the rounded cube: from a smaller cube inside it, less the radius of the edges.

    Seen along the ray, the smaller cube is a hexagon, each side of which is an edge along one of the cube's axes. The
    distance is the greatest one from a side, or from the corner between two sides that face the ray.
    """
    cosine, sine = np.cos(poses[2]), np.sin(poses[2])
    half = _CUBE_RADIUS - CUBE_EDGE_RADIUS
    offset_x, offset_y = _CAMERA_X - poses[0], _CAMERA_Y - poses[1]
    slope_x, slope_y = rays.slope
    # The ray in the cube's frame: the camera, and the direction, whose z is -1.
    camera = (cosine * offset_x + sine * offset_y, cosine * offset_y - sine * offset_x, _RISE)
    direction = (
        cosine * slope_x + sine * slope_y + _NOT_ZERO,
        cosine * slope_y - sine * slope_x + _NOT_ZERO,
        np.full_like(cosine, -1.0),
    )
    gaps = np.empty((3, len(cosine)), cosine.dtype)  # of three sides
    normals = np.zeros((3, 3, len(cosine)), cosine.dtype)  # [side, component]
    for i, j, k in _AXES:  # the side along axis i
        across = camera[j] * direction[k] - camera[k] * direction[j]
        scale = 1 / np.sqrt(direction[j] ** 2 + direction[k] ** 2)
        gaps[i] = (np.abs(across) - half * (np.abs(direction[j]) + np.abs(direction[k]))) * scale
        scale = np.copysign(scale, across)
        normals[i, j], normals[i, k] = direction[k] * scale, -direction[j] * scale
    widest = gaps.argmax(axis=0)
    distance = np.take_along_axis(gaps, widest[None], axis=0)[0]
    normal = np.take_along_axis(normals, widest[None, None], axis=0)[0]
    for i, j, k in _AXES:  # the corner between the sides along axes i and j
        cosine_ij = normals[i, k] * normals[j, k]
        weight_i, weight_j = gaps[i] - cosine_ij * gaps[j], gaps[j] - cosine_ij * gaps[i]
        at_corner = np.flatnonzero((weight_i > 0) & (weight_j > 0))
        weight_i, weight_j, square_sine = weight_i[at_corner], weight_j[at_corner], 1 - cosine_ij[at_corner] ** 2
        from_corner = np.sqrt((weight_i * gaps[i, at_corner] + weight_j * gaps[j, at_corner]) / square_sine)
        farther = from_corner > distance[at_corner]
        at_corner, weight_i, weight_j = at_corner[farther], weight_i[farther], weight_j[farther]
        distance[at_corner] = from_corner[farther]
        to_ray = weight_i * normals[i][:, at_corner] + weight_j * normals[j][:, at_corner]
        normal[:, at_corner] = to_ray / (square_sine * from_corner)[farther]
    # The ray's length at its point nearest to the corner, or to the edge: along an edge the normal has no component.
    length, weight = np.zeros_like(cosine), np.zeros_like(cosine)
    for axis in range(3):
        on_edge = normal[axis] != 0
        to_corner = np.copysign(half, normal[axis]) - camera[axis]
        length += on_edge * to_corner * direction[axis]
        weight += on_edge * direction[axis] ** 2
    length /= weight
    nearest_x, nearest_y = camera[0] + length * direction[0], camera[1] + length * direction[1]
    by_yaw = normal[0] * nearest_y - normal[1] * nearest_x
    normal_x, normal_y = cosine * normal[0] - sine * normal[1], sine * normal[0] + cosine * normal[1]  # in the world
    return (
        distance - CUBE_EDGE_RADIUS,
        length * (normal_x * rays.slope_u[0] + normal_y * rays.slope_u[1]),
        length * (normal_x * rays.slope_v[0] + normal_y * rays.slope_v[1]),
        np.stack([-normal_x, -normal_y, by_yaw]),
    )


_WORLD_DISTANCE = {CUBE: _cube, SPHERE: _sphere, CYLINDER: _cylinder}
