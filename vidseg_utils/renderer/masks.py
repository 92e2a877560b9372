"""Masks of a trajectory: each pixel is the class of the nearest object in the ray through the pixel's centre.

Labels as the course has them are cast through other points of the pixel: see `LabelOffset.sample_points`.
"""

import numpy as np
from jaxtyping import Float, Integer, UInt8

from vidseg_utils.renderer.rectangles import object_rectangles
from vidseg_utils.renderer.scene import check_objects, own_rays
from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.world.label_offset import EXACT_LABELS, LabelOffset
from vidseg_utils.world.trajectory import Trajectory


def render_masks(
    trajectory: Trajectory,
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    offset: LabelOffset = EXACT_LABELS,
) -> UInt8[np.ndarray, "T H W"]:
    """Class ids in every frame of the trajectory; see `cast_masks`."""
    poses = trajectory.class_ids, trajectory.positions, trajectory.rotations
    return cast_masks(*poses, height=height, width=width, offset=offset)


def cast_masks(
    class_ids: Integer[np.ndarray, "N"],
    positions: Float[np.ndarray, "T N 3"],
    rotations: Float[np.ndarray, "T N 3 3"],
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    offset: LabelOffset = EXACT_LABELS,
) -> UInt8[np.ndarray, "T H W"]:
    """Class ids of T frames of a video, or of T unrelated scenes with the same objects.

    class_ids: 1..48; positions: centres in world units, NaN where an object is absent; rotations: object -> world.
    offset: how labels lie against the exact mask, in pixels of a mask of 160 x 240
    Raises ValueError for class ids that are no objects, for arrays that do not fit and for labels thinner than exact.
    """
    from vidseg_utils.renderer.kernels.masks import draw_masks  # here, because it loads numba

    objects = check_objects(class_ids, positions, rotations)
    points, poses = np.array(offset.scaled_to(width).sample_points()), (objects.positions, objects.rotations)
    size, margin_px = {"height": height, "width": width}, float(abs(points).max())
    rectangles = object_rectangles(objects.shapes, *poses, **size, margin_px=margin_px)
    masks = np.zeros((len(objects.positions), height, width), np.uint8)
    draw_masks(masks, objects.class_ids, objects.shapes, *own_rays(*poses, **size), rectangles, points)
    return masks
