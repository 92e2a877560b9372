"""Masks of a trajectory: each pixel is the class of the nearest object in the ray through the pixel's centre.

Labels as the course has them are cast through other points of the pixel: see `LabelOffset.sample_points`.
"""

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8

from vidseg_utils.classes import N_CLASSES, class_attributes
from vidseg_utils.renderer.rays import cast_rays, entry_depths
from vidseg_utils.renderer.windows import batch_windows, bounding_rectangles
from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.world.label_offset import EXACT_LABELS, LabelOffset
from vidseg_utils.world.trajectory import Trajectory

MASKS_PER_CHUNK = 64


def render_masks(
    trajectory: Trajectory,
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    offset: LabelOffset = EXACT_LABELS,
    device: torch.device | str = "cpu",
) -> UInt8[np.ndarray, "T H W"]:
    """Class ids in every frame of the trajectory; see `cast_masks`."""
    return cast_masks(
        trajectory.class_ids,
        trajectory.positions,
        trajectory.rotations,
        height=height,
        width=width,
        offset=offset,
        device=device,
    )


@torch.inference_mode()
def cast_masks(
    class_ids: Integer[np.ndarray, "N"],
    positions: Float[np.ndarray, "T N 3"],
    rotations: Float[np.ndarray, "T N 3 3"],
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    offset: LabelOffset = EXACT_LABELS,
    device: torch.device | str = "cpu",
) -> UInt8[np.ndarray, "T H W"]:
    """Class ids of T frames of a video, or of T unrelated scenes with the same objects.

    class_ids: 1..48; positions: centres in world units, NaN where an object is absent; rotations: object -> world.
    offset: how labels lie against the exact mask, in pixels of a mask of 160 x 240
    Raises ValueError for class ids that are no objects, for arrays that do not fit and for labels thinner than exact.
    """
    positions, rotations = np.asarray(positions, dtype=float), np.asarray(rotations, dtype=float)
    check_objects(class_ids, positions, rotations)
    points = offset.scaled_to(width).sample_points()
    margin_px = max(max(abs(x), abs(y)) for x, y in points)
    shapes = [class_attributes(int(class_id))[0] for class_id in class_ids]
    masks = torch.zeros((len(positions), height, width), dtype=torch.uint8, device=device)
    depth_buffer = torch.empty(min(MASKS_PER_CHUNK, len(positions)) * height * width, device=device)
    for start in range(0, len(positions), MASKS_PER_CHUNK):
        chunk = slice(start, start + MASKS_PER_CHUNK)
        mask = masks[chunk].view(-1)
        nearest = depth_buffer[: len(mask)].fill_(torch.inf)
        for n, shape in enumerate(shapes):
            pose = positions[chunk, n], rotations[chunk, n]
            rectangles = bounding_rectangles(shape, *pose, height=height, width=width, margin_px=margin_px)
            for windows in batch_windows(rectangles, height=height, width=width, device=device):
                rays = cast_rays(shape, windows, *pose, height=height, width=width, offsets=points)
                depth = entry_depths(rays).amin(0).view(-1)
                first_pixel = torch.as_tensor(windows.poses * (height * width)).to(device)[:, None, None]
                pixel = (first_pixel + windows.rows * width + windows.columns).view(-1)
                depth_before = nearest.index_select(0, pixel)
                class_at_pixel = mask.index_select(0, pixel).masked_fill_(depth < depth_before, int(class_ids[n]))
                nearest.scatter_(0, pixel, torch.minimum(depth, depth_before))
                mask.scatter_(0, pixel, class_at_pixel)
    return masks.cpu().numpy()


def check_objects(class_ids: np.ndarray, positions: np.ndarray, rotations: np.ndarray) -> None:
    """Raise ValueError for class ids that are no objects and for arrays whose shapes do not fit together."""
    ids = np.asarray(class_ids)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"class_ids are {ids.dtype} of shape {ids.shape}; expected integers of shape (objects,)")
    if ids.size and not (ids.min() >= 1 and ids.max() < N_CLASSES):
        raise ValueError(f"class_ids range from {ids.min()} to {ids.max()}; objects have 1 to {N_CLASSES - 1}")
    expected = (len(positions), len(ids), 3)
    if positions.shape != expected or rotations.shape != (*expected, 3):
        raise ValueError(
            f"positions {positions.shape} and rotations {rotations.shape} do not fit {len(ids)} objects; "
            f"expected (T, {len(ids)}, 3) and (T, {len(ids)}, 3, 3)"
        )
