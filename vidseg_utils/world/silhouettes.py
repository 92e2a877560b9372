"""The outline of an object on the floor as seen by the exact camera, in closed form.

A pixel's ray, seen from above, is a segment: from where it enters the layer that objects stand in (z = 0.4) to where it
meets the floor. A standing cylinder or cube covers the pixel where that segment crosses its footprint, a sphere where
the ray passes its centre within its radius. `signed_distance` says by how much, with all derivatives, so that fitting
an outline and drawing one are the same few lines.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vidseg_utils.classes import shape_code
from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.world.camera import CAMERA_POSITION, FOCAL_LENGTH, camera_matrix, project
from vidseg_utils.world.solids import CUBE, CYLINDER, OBJECT_RADIUS, SPHERE, VISIBLE_HALF_SIZE

_EYE = CAMERA_POSITION[:2]
_TOP, _BOTTOM = (CAMERA_POSITION[2] - OBJECT_RADIUS + sign * VISIBLE_HALF_SIZE for sign in (-1, 1))  # ray lengths there


@dataclass(frozen=True)
class PixelRays:
    """Rays of P pixels (the point at length s is the camera + s (x, y, -1)), and how they turn from pixel to pixel."""

    slope: np.ndarray  # (P, 2) x and y
    slope_u: np.ndarray  # (P, 2) their change a pixel to the right
    slope_v: np.ndarray  # (P, 2) their change a pixel down

    def __getitem__(self, index: np.ndarray) -> "PixelRays":
        return PixelRays(self.slope[index], self.slope_u[index], self.slope_v[index])


def pixel_rays(u: np.ndarray, v: np.ndarray, *, height: int, width: int) -> PixelRays:
    """PixelRays through pixel coordinates u (right) and v (down) of a picture of that size; both (P,)."""
    inverse = np.linalg.inv(camera_matrix(height, width)[:, :3])
    direction = inverse @ np.stack([u, v, np.ones_like(u)])  # (3, P)
    down = -direction[2]

    def turn(column: np.ndarray) -> np.ndarray:
        return ((column[:2, None] + direction[:2] * column[2] / down) / down).T

    return PixelRays((direction[:2] / down).T, turn(inverse[:, 0]), turn(inverse[:, 1]))


@lru_cache(maxsize=8)
def mask_sample_points(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a mask of that size was sampled: u (W,) and v (H,) in its own pixels.

    Smaller masks take every n-th pixel of the 160 x 240 original, whose centres are not those of the larger pixels.
    """
    v = (np.floor((np.arange(height) + 0.5) * HEIGHT / height) + 0.5) * height / HEIGHT
    u = (np.floor((np.arange(width) + 0.5) * WIDTH / width) + 0.5) * width / WIDTH
    return u, v


@dataclass(frozen=True)
class SignedDistance:
    """Signed distance of P rays from their objects (negative: covered), in pixels, with derivatives by the pose."""

    pixels: np.ndarray  # (P,)
    by_pose: np.ndarray  # (3, P) by x, y (a world unit) and yaw (a radian)


def signed_distance(rays: PixelRays, shapes: np.ndarray, poses: np.ndarray) -> SignedDistance:
    """rays of P pixels, the shape (P,) and pose (P, 3: x, y, yaw) of the object that each is held against."""
    value, by_u, by_v = (np.empty(len(shapes)) for _ in range(3))
    by_pose = np.zeros((3, len(shapes)))
    for shape, function in ((CUBE, _cube), (SPHERE, _sphere), (CYLINDER, _cylinder)):
        index = np.flatnonzero(shapes == shape)
        if len(index):
            value[index], by_u[index], by_v[index], by_pose[:, index] = function(rays[index], poses[index])
    scale = np.maximum(np.hypot(by_u, by_v), 1e-6)
    return SignedDistance(value / scale, by_pose / scale)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1]


def _cylinder(rays: PixelRays, poses: np.ndarray) -> tuple:
    offset = poses[:, :2] - _EYE
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
    offset = poses[:, :2] - _EYE
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
    """The widest gap between the segment and the square, over the square's two axes and across the segment."""
    offset = poses[:, :2] - _EYE
    cosine, sine = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    axis_x, axis_y = np.stack([cosine, sine], axis=1), np.stack([-sine, cosine], axis=1)
    half, top, bottom = VISIBLE_HALF_SIZE[CUBE], _TOP[CUBE], _BOTTOM[CUBE]
    near, far = top * rays.slope - offset, bottom * rays.slope - offset
    gaps, by_x, by_y, by_yaw, weights = [], [], [], [], []
    for axis, turned in ((axis_x, axis_y), (axis_y, -axis_x)):
        ends = np.stack([_dot(near, axis), _dot(far, axis)])
        side = np.where(ends.sum(0) > 0, 1.0, -1.0)
        nearest_far = side * ends[1] < side * ends[0]
        gap = np.where(nearest_far, side * ends[1], side * ends[0]) - half
        end = np.where(nearest_far[:, None], far, near)
        gaps.append(gap)
        by_x.append(-side * axis[:, 0])
        by_y.append(-side * axis[:, 1])
        by_yaw.append(side * _dot(end, turned))
        weights.append((side * np.where(nearest_far, bottom, top))[:, None] * axis)
    norm = np.hypot(rays.slope[:, 0], rays.slope[:, 1])
    across = np.stack([-rays.slope[:, 1], rays.slope[:, 0]], axis=1) / norm[:, None]
    past = -_dot(across, offset)
    side = np.where(past > 0, 1.0, -1.0)
    along_x, along_y = _dot(across, axis_x), _dot(across, axis_y)
    gaps.append(np.abs(past) - half * (np.abs(along_x) + np.abs(along_y)))
    by_x.append(-side * across[:, 0])
    by_y.append(-side * across[:, 1])
    by_yaw.append(-half * (np.sign(along_x) * along_y - np.sign(along_y) * along_x))
    weights.append((side * _dot(offset, rays.slope) / norm**2)[:, None] * across)

    gaps = np.stack(gaps)
    best, all_ = gaps.argmax(axis=0), np.arange(len(norm))
    weight = np.stack(weights)[best, all_]
    by_pose = np.stack([np.stack(column)[best, all_] for column in (by_x, by_y, by_yaw)])
    return gaps[best, all_], _dot(weight, rays.slope_u), _dot(weight, rays.slope_v), by_pose


@lru_cache(maxsize=8)
def _picture_rays(height: int, width: int) -> PixelRays:
    u, v = mask_sample_points(height, width)
    uu, vv = np.meshgrid(u, v)
    return pixel_rays(uu.ravel(), vv.ravel(), height=height, width=width)


def covered_pixels(
    shapes: np.ndarray, poses: np.ndarray, *, height: int, width: int, every: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels each of N objects covers, as if it were alone; of every `every`-th row and column.

    shapes: (N,); poses: (N, 3) x, y, yaw -> two (P,) arrays: object, and pixel as row * width + column.
    """
    if not len(shapes):
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    centre = project(np.column_stack([poses[:, :2], np.full(len(poses), OBJECT_RADIUS)]), height=height, width=width)
    depth = np.where(centre[:, 2] > 0.5, centre[:, 2], np.inf)
    reach = 1.6 * OBJECT_RADIUS * FOCAL_LENGTH * height / np.maximum(depth - 0.35, 0.3)
    low = np.floor(centre[:, :2] - reach[:, None])
    high = np.ceil(centre[:, :2] + reach[:, None])
    low = np.clip(low, 0, [width, height]).astype(int)
    high = np.clip(high, 0, [width, height]).astype(int)
    wide, tall = np.maximum(-((low - high) // every), 0).T  # rounded up
    wide[~np.isfinite(depth)] = 0
    counts = wide * tall
    objects = np.repeat(np.arange(len(shapes)), counts)
    place = np.arange(len(objects)) - np.repeat(np.cumsum(counts) - counts, counts)
    row, column = np.divmod(place, wide[objects])
    pixel = (row * every + low[objects, 1]) * width + column * every + low[objects, 0]
    inside = signed_distance(_picture_rays(height, width)[pixel], shapes[objects], poses[objects]).pixels < 0
    return objects[inside], pixel[inside]


def draw_masks(class_ids: np.ndarray, poses: np.ndarray, present: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Masks of M pictures, the nearer object before the farther.

    class_ids: (M, N); poses: (M, N, 3) x, y, yaw; present: (M, N) bool -> (M, height, width) uint8
    """
    pictures, slots = np.nonzero(present)
    chosen = poses[pictures, slots]
    depth = project(np.column_stack([chosen[:, :2], np.full(len(chosen), OBJECT_RADIUS)]))[:, 2]
    order = np.argsort(-depth, kind="stable")  # far ones first, so that near ones are written over them
    pictures, slots, chosen = pictures[order], slots[order], chosen[order]
    ids = class_ids[pictures, slots]
    objects, pixels = covered_pixels(shape_code(ids), chosen, height=height, width=width)
    masks = np.zeros((len(class_ids), height * width), dtype=np.uint8)
    masks[pictures[objects], pixels] = ids[objects]
    return masks.reshape(-1, height, width)
