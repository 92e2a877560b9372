"""Masks drawn from poses on the ground: the pixels that each object covers, nearer objects in front.

Drawing needs only the closed form of `silhouettes`, so it is faster than casting rays (`renderer.masks`).
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from vidseg_utils.classes import shape_code
from vidseg_utils.world.camera import FOCAL_LENGTH, MIN_DEPTH, project
from vidseg_utils.world.label_offset import EXACT_LABELS, LabelOffset
from vidseg_utils.world.silhouettes import PixelRays, mask_sample_points, pixel_rays, signed_distance
from vidseg_utils.world.solids import OBJECT_RADIUS

# No silhouette reaches further from its middle than this, in OBJECT_RADIUS, at the depth of the object's near side.
_CORNER_REACH = 1.6
_NEAR_SIDE = 0.35  # world units from an object's centre to its nearest point, at most, with a margin
_MIN_NEAR_DEPTH = 0.3  # world units: keeps the size of a silhouette finite close to the camera


@lru_cache(maxsize=8)
def _image_rays(height: int, width: int, offset: LabelOffset) -> PixelRays:
    u, v = mask_sample_points(height, width, offset)
    uu, vv = np.meshgrid(u, v)
    return pixel_rays(uu.ravel(), vv.ravel(), height=height, width=width)


def covered_pixels(
    shapes: Integer[np.ndarray, " N"],
    poses: Float[np.ndarray, "N 3"],
    *,
    height: int,
    width: int,
    stride: int = 1,
    offset: LabelOffset = EXACT_LABELS,
) -> tuple[Integer[np.ndarray, " P"], Integer[np.ndarray, " P"]]:
    """Find the pixels that each object would cover if it were alone, in every `stride`-th row and column.

    poses: x, y (world units) and yaw (radians); offset: of the labels against the exact masks
    returns: for each of P covered pixels the index of its object, and the pixel as row * width + column
    """
    if not len(shapes):
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    centre = project(np.column_stack([poses[:, :2], np.full(len(poses), OBJECT_RADIUS)]), height=height, width=width)
    depth = np.where(centre[:, 2] > MIN_DEPTH, centre[:, 2], np.inf)
    reach = _CORNER_REACH * OBJECT_RADIUS * FOCAL_LENGTH * height / np.maximum(depth - _NEAR_SIDE, _MIN_NEAR_DEPTH)
    scaled = offset.scaled_to(width)
    middle, reach = centre[:, :2] + [scaled.x, scaled.y], reach[:, None] + max(scaled.fatness, 0.0)
    low, high = np.floor(middle - reach), np.ceil(middle + reach)
    low = np.clip(low, 0, [width, height]).astype(int)
    high = np.clip(high, 0, [width, height]).astype(int)
    columns, rows = np.maximum(-((low - high) // stride), 0).T  # rounded up
    columns[~np.isfinite(depth)] = 0
    counts = columns * rows
    objects = np.repeat(np.arange(len(shapes)), counts)
    position = np.arange(len(objects)) - np.repeat(np.cumsum(counts) - counts, counts)
    row, column = np.divmod(position, columns[objects])
    pixel = (row * stride + low[objects, 1]) * width + column * stride + low[objects, 0]
    rays = _image_rays(height, width, offset)[pixel]
    inside = signed_distance(rays, shapes[objects], poses[objects]).pixels < scaled.fatness
    return objects[inside], pixel[inside]


def draw_masks(
    class_ids: Integer[np.ndarray, "M N"],
    poses: Float[np.ndarray, "M N 3"],
    present: Bool[np.ndarray, "M N"],
    *,
    height: int,
    width: int,
    offset: LabelOffset = EXACT_LABELS,
) -> UInt8[np.ndarray, "M height width"]:
    """Draw the masks of M images; a nearer object hides a farther one.

    poses: x, y (world units) and yaw (radians); present: which objects are drawn; offset: of the labels against the
    exact masks
    """
    images, slots = np.nonzero(present)
    drawn = poses[images, slots]
    depth = project(np.column_stack([drawn[:, :2], np.full(len(drawn), OBJECT_RADIUS)]))[:, 2]
    order = np.argsort(-depth, kind="stable")  # from far to near, so that near objects overwrite far ones
    images, slots, drawn = images[order], slots[order], drawn[order]
    ids = class_ids[images, slots]
    objects, pixels = covered_pixels(shape_code(ids), drawn, height=height, width=width, offset=offset)
    masks = np.zeros((len(class_ids), height * width), dtype=np.uint8)
    masks[images[objects], pixels] = ids[objects]
    return masks.reshape(-1, height, width)
