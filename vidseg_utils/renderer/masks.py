"""Masks of a trajectory: each pixel is the class of the nearest object in the ray through the pixel's centre.

Labels as the course has them are cast through other points of the pixel: see `LabelOffset.sample_points`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8

from vidseg_utils.classes import N_CLASSES, class_attributes
from vidseg_utils.renderer.groups import PosedObjects, group_objects
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
    poses = trajectory.class_ids, trajectory.positions, trajectory.rotations
    return cast_masks(*poses, height=height, width=width, offset=offset, device=device)


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
    objects = posed_objects(class_ids, positions, rotations)
    return cast_masks_of_videos([objects], height=height, width=width, offset=offset, device=device)[0]


@torch.inference_mode()
def cast_masks_of_videos(
    videos: Sequence[PosedObjects],
    *,
    height: int,
    width: int,
    offset: LabelOffset,
    device: torch.device | str,
) -> UInt8[np.ndarray, "V T H W"]:
    """Class ids of V videos of T frames each; see `cast_masks`."""
    points = offset.scaled_to(width).sample_points()
    margin_px = max(max(abs(x), abs(y)) for x, y in points)
    n_frames, n_pixels = len(videos[0].positions), height * width
    masks = np.empty((len(videos), n_frames, height, width), np.uint8)
    depth_buffer = torch.empty(len(videos) * min(MASKS_PER_CHUNK, n_frames) * n_pixels, device=device)
    for start in range(0, n_frames, MASKS_PER_CHUNK):
        chunk = slice(start, min(start + MASKS_PER_CHUNK, n_frames))
        mask = torch.zeros(len(videos) * (chunk.stop - start) * n_pixels, dtype=torch.uint8, device=device)
        nearest = depth_buffer[: len(mask)].fill_(torch.inf)
        for group in group_objects([video.select_frames(chunk) for video in videos], kind=_shape):
            shape = _shape(int(group.class_ids[0]))
            pose = group.positions.reshape(-1, 3), group.rotations.reshape(-1, 3, 3)
            class_ids = np.repeat(group.class_ids, chunk.stop - start).astype(np.uint8)
            rectangles = bounding_rectangles(shape, *pose, height=height, width=width, margin_px=margin_px)
            for windows in batch_windows(rectangles, height=height, width=width, device=device):
                rays = cast_rays(shape, windows, *pose, height=height, width=width, offsets=points)
                depth = entry_depths(rays).amin(0)
                first_pixel, class_id = (
                    torch.as_tensor(array[windows.poses]).to(device)[:, None, None]
                    for array in (group.frames * n_pixels, class_ids)
                )
                pixel = (first_pixel + windows.rows * width + windows.columns).view(-1)
                class_id, depth = class_id.expand(depth.shape).reshape(-1), depth.view(-1)
                depth_before = nearest.index_select(0, pixel)
                class_at_pixel = torch.where(depth < depth_before, class_id, mask.index_select(0, pixel))
                nearest.scatter_(0, pixel, torch.minimum(depth, depth_before))
                mask.scatter_(0, pixel, class_at_pixel)
        masks[:, chunk] = mask.view(len(videos), -1, height, width).cpu().numpy()
    return masks


def posed_objects(class_ids: np.ndarray, positions: np.ndarray, rotations: np.ndarray) -> PosedObjects:
    """The objects. Raises ValueError for class ids that are no objects and for arrays that do not fit."""
    positions, rotations = np.asarray(positions, dtype=float), np.asarray(rotations, dtype=float)
    _check_objects(class_ids, positions, rotations)
    return PosedObjects(np.asarray(class_ids), positions, rotations)


def _shape(class_id: int) -> str:
    return class_attributes(class_id)[0]


def _check_objects(class_ids: np.ndarray, positions: np.ndarray, rotations: np.ndarray) -> None:
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
