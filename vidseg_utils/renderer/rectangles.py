"""Rectangles of pixels around objects and their shadows in the picture: only there anything is computed.

A rectangle is the first and past-the-last column, and the first and past-the-last row; all are 0 where the object is
outside the picture, absent (NaN) or too near to the camera. Shapes of objects are codes of `solids`.
"""

import numpy as np
from jaxtyping import Float, Int

from vidseg_utils.renderer.lights import FOOTPRINT_RADIUS, SKY_SHADOW_REACH, shadow_tips
from vidseg_utils.world.camera import camera_matrix
from vidseg_utils.world.solids import CUBE, CUBE_EDGE_RADIUS, CYLINDER, SPHERE, VISIBLE_HALF_SIZE

NEAREST_DEPTH = 0.4  # world units; an object nearer to the camera is not drawn. No object of the world comes that near.
_CUBE_CORNERS = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), axis=-1).reshape(8, 3)


def object_rectangles(
    shapes: Int[np.ndarray, "N"],
    positions: Float[np.ndarray, "T N 3"],
    rotations: Float[np.ndarray, "T N 3 3"],
    *,
    height: int,
    width: int,
    margin_px: float = 0.0,
) -> Int[np.ndarray, "T N 4"]:
    """The pixels that each object can cover, exactly.

    A pixel counts when its centre, or a point up to `margin_px` pixels from it in x and y, can be covered.
    """
    matrix = camera_matrix(height, width)
    centre = positions @ matrix[:, :3].T + matrix[:, 3]  # (T, N, 3) in homogeneous pixels
    low, high = np.empty((2, *positions.shape[:2], 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        half_axes = matrix[:, :3] @ rotations * VISIBLE_HALF_SIZE[shapes][:, None, None]  # (T, N, 3, 3)
        for shape, bounds in ((CUBE, _cube_bounds), (SPHERE, _ellipse_bounds), (CYLINDER, _cylinder_bounds)):
            chosen = shapes == shape
            low[:, chosen], high[:, chosen] = np.moveaxis(bounds(centre[:, chosen], half_axes[:, chosen]), -2, 0)
        absent = ~(centre[..., 2] > NEAREST_DEPTH)  # also where the depth is NaN
        low[absent] = high[absent] = np.nan
    return _pixels_between(low - margin_px, high + margin_px, height=height, width=width)


def shadow_rectangles(
    shapes: Int[np.ndarray, "N"],
    positions: Float[np.ndarray, "T N 3"],
    *,
    height: int,
    width: int,
) -> Int[np.ndarray, "T N 5 4"]:
    """The pixels that show the ground that an object can hide from key, fill, back, sun and sky.

    A lamp's shadow is the convex hull of the object's footprint and the shadow of its top. The sky's is a disc around
    the object.
    """
    tips = shadow_tips(shapes, positions)
    size, centre = {"height": height, "width": width}, positions[..., :2]
    foot = _disc_bounds(centre, np.broadcast_to(FOOTPRINT_RADIUS[shapes], centre.shape[:2]), **size)[:, :, None]
    tip = _disc_bounds(tips[..., :2], tips[..., 2], **size)  # (T, N, 4, 2, 2)
    sky = _disc_bounds(centre, np.full(centre.shape[:2], SKY_SHADOW_REACH), **size)[:, :, None]
    lamps = np.stack([np.minimum(foot, tip)[..., 0, :], np.maximum(foot, tip)[..., 1, :]], axis=-2)
    bounds = np.concatenate([lamps, sky], axis=2)
    return _pixels_between(bounds[..., 0, :], bounds[..., 1, :], **size)


def _cube_bounds(
    centre: Float[np.ndarray, "*objects 3"], half_axes: Float[np.ndarray, "*objects 3 3"]
) -> Float[np.ndarray, "*objects 2 2"]:
    """A cube with rounded edges is the convex hull of balls at its corners."""
    inner_share = 1 - CUBE_EDGE_RADIUS / VISIBLE_HALF_SIZE[CUBE]
    corners = centre[..., None, :] + inner_share * _CUBE_CORNERS @ np.swapaxes(half_axes, -1, -2)  # (…, 8, 3)
    ball_axes = half_axes[..., None, :, :] * (CUBE_EDGE_RADIUS / VISIBLE_HALF_SIZE[CUBE])
    balls = _ellipse_bounds(corners, ball_axes)
    return np.stack([balls[..., 0, :].min(axis=-2), balls[..., 1, :].max(axis=-2)], axis=-2)


def _cylinder_bounds(
    centre: Float[np.ndarray, "*objects 3"], half_axes: Float[np.ndarray, "*objects 3 3"]
) -> Float[np.ndarray, "*objects 2 2"]:
    """A cylinder is the convex hull of its two lids."""
    lids = [_ellipse_bounds(centre + sign * half_axes[..., 1], half_axes[..., ::2]) for sign in (-1, 1)]
    return np.stack([np.minimum(*lids)[..., 0, :], np.maximum(*lids)[..., 1, :]], axis=-2)


def _ellipse_bounds(
    centre: Float[np.ndarray, "*shapes 3"], half_axes: Float[np.ndarray, "*#shapes 3 K"]
) -> Float[np.ndarray, "*shapes 2 2"]:
    """Lowest and highest (x, y), in pixels, of the pictures of ellipses or ellipsoids, from their dual conics.

    centre and the K half axes are in homogeneous pixel coordinates.
    """
    conic = half_axes @ np.swapaxes(half_axes, -1, -2) - centre[..., :, None] * centre[..., None, :]
    middle = conic[..., :2, 2] / conic[..., 2, 2, None]
    diagonal = np.stack([conic[..., 0, 0], conic[..., 1, 1]], axis=-1) / conic[..., 2, 2, None]
    half_width = np.sqrt(np.maximum(middle**2 - diagonal, 0))
    return np.stack([middle - half_width, middle + half_width], axis=-2)


def _disc_bounds(
    centre: Float[np.ndarray, "*discs 2"], radius: Float[np.ndarray, "*discs"], *, height: int, width: int
) -> Float[np.ndarray, "*discs 2 2"]:
    """Lowest and highest pixel (x, y) of discs on the ground."""
    matrix = camera_matrix(height, width)
    with np.errstate(invalid="ignore", divide="ignore"):
        homogeneous = centre @ matrix[:, :2].T + matrix[:, 3]
        bounds = _ellipse_bounds(homogeneous, radius[..., None, None] * matrix[:, :2])
        bounds[~(homogeneous[..., 2] - radius > NEAREST_DEPTH / 2)] = np.nan
    return bounds


def _pixels_between(
    low: Float[np.ndarray, "*objects 2"], high: Float[np.ndarray, "*objects 2"], *, height: int, width: int
) -> Int[np.ndarray, "*objects 4"]:
    """Rectangles of the pixels whose centres (at .5) lie from low to high (x, y)."""
    size = np.array([width, height])
    with np.errstate(invalid="ignore"):
        first = np.clip(np.nan_to_num(np.ceil(low - 0.5)), 0, size)
        past = np.clip(np.nan_to_num(np.floor(high - 0.5) + 1), 0, size)
    rectangles = np.stack([first[..., 0], past[..., 0], first[..., 1], past[..., 1]], axis=-1).astype(np.int64)
    rectangles[(past <= first).any(axis=-1)] = 0
    return rectangles
