"""Bounding rectangles of objects in the picture, and batches of equally large windows around them.

Rays are cast only through the pixels of these windows.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vidseg_utils.world.camera import camera_matrix
from vidseg_utils.world.solids import CUBE_EDGE_RADIUS, visible_half_size

NEAREST_DEPTH = 0.4  # world units; an object nearer to the camera is not drawn. No object of the world comes that near.
LOG_AREA_STEP = np.log(30)  # windows of one batch differ in area by about this factor at most; smaller is not faster
PIXELS_PER_BATCH = 80_000  # the arrays of one batch then fit the processor's cache
GPU_PIXELS_PER_BATCH = 1_000_000  # the arrays of one batch then take less than 1 GB
_CUBE_CORNERS = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), axis=-1).reshape(8, 3)


@dataclass(frozen=True)
class WindowBatch:
    """Windows of one size, h x w pixels. Each lies around one of U poses of an object."""

    poses: Int[np.ndarray, "U"]  # index of the pose that each window surrounds
    corners: Int[np.ndarray, "U 2"]  # first column and first row
    size: tuple[int, int]  # h, w
    columns: Int[Tensor, "U 1 w"]
    rows: Int[Tensor, "U h 1"]

    def pixel_indices(
        self, pose_of_frame: Int[np.ndarray, "F"], *, width: int
    ) -> tuple[Int[np.ndarray, "G"], Int[Tensor, "G"], Int[Tensor, "G hw"]]:
        """Find the windows in every frame that shows one of the batch's poses.

        pose_of_frame: the pose that each of F frames shows; width: of a frame.
        returns: the G frames that show one of the poses; the index of that pose's window in the batch; the window's
        pixels as indices into a flattened frame.
        """
        window_of_pose = np.full(pose_of_frame.max() + 1, -1)
        window_of_pose[self.poses] = np.arange(len(self.poses))
        window_of_frame = window_of_pose[pose_of_frame]
        frames = (window_of_frame >= 0).nonzero()[0]
        windows = window_of_frame[frames]
        first_pixel = self.corners[windows] @ [1, width]
        windows, first_pixel = (torch.as_tensor(array).to(self.columns.device) for array in (windows, first_pixel))
        h, w = self.size
        offsets = torch.arange(h, device=windows.device)[:, None] * width + torch.arange(w, device=windows.device)
        return frames, windows, first_pixel[:, None] + offsets.view(-1)


def pixels_per_batch(device: torch.device | str) -> int:
    """How many pixels are computed at once on that device."""
    return PIXELS_PER_BATCH if torch.device(device).type == "cpu" else GPU_PIXELS_PER_BATCH


def ellipse_bounds(
    centres: Float[np.ndarray, "*shapes 3"], half_axes: Float[np.ndarray, "*shapes 3 K"]
) -> Float[np.ndarray, "*shapes 2 2"]:
    """Lowest and highest (x, y), in pixels, of the pictures of ellipses or ellipsoids, from their dual conics.

    centres and the K half axes are in homogeneous pixel coordinates.
    """
    conic = half_axes @ np.swapaxes(half_axes, -1, -2) - centres[..., :, None] * centres[..., None, :]
    middle = conic[..., :2, 2] / conic[..., 2, 2, None]
    diagonal = np.stack([conic[..., 0, 0], conic[..., 1, 1]], axis=-1) / conic[..., 2, 2, None]
    half_width = np.sqrt(np.maximum(middle**2 - diagonal, 0))
    return np.stack([middle - half_width, middle + half_width], axis=-2)


def bounding_rectangles(
    shape: str,
    positions: Float[np.ndarray, "U 3"],
    rotations: Float[np.ndarray, "U 3 3"],
    *,
    height: int,
    width: int,
    margin_px: float = 0.0,
) -> Int[np.ndarray, "U 4"]:
    """The pixels that an object can cover in each of U poses, exactly.

    A pixel counts when its centre, or a point up to `margin_px` pixels from it in x and y, can be covered.
    returns: first and past-the-last column, first and past-the-last row; all 0 where the object is outside the
    picture, absent (NaN) or too near to the camera.
    """
    matrix, half_size = camera_matrix(height, width), visible_half_size(shape)
    centre = positions @ matrix[:, :3].T + matrix[:, 3]  # (U, 3) in homogeneous pixels
    with np.errstate(invalid="ignore", divide="ignore"):
        half_axes = matrix[:, :3] @ rotations * half_size  # (U, 3, 3)
        if shape == "cube":  # the convex hull of balls at its corners
            inner_axes = half_axes * (1 - CUBE_EDGE_RADIUS / half_size)
            corners = centre[:, None] + _CUBE_CORNERS @ np.swapaxes(inner_axes, 1, 2)  # (U, 8, 3)
            balls = ellipse_bounds(corners, np.broadcast_to(matrix[:, :3] * CUBE_EDGE_RADIUS, (*corners.shape, 3)))
            low, high = balls[..., 0, :].min(axis=1), balls[..., 1, :].max(axis=1)
        elif shape == "sphere":
            low, high = np.moveaxis(ellipse_bounds(centre, half_axes), 1, 0)
        else:  # a cylinder is the convex hull of its two lids
            lids = [ellipse_bounds(centre + sign * half_axes[:, :, 1], half_axes[:, :, ::2]) for sign in (-1, 1)]
            low, high = np.minimum(lids[0], lids[1])[:, 0], np.maximum(lids[0], lids[1])[:, 1]
        low[~(centre[:, 2] > NEAREST_DEPTH)] = np.nan  # also where the depth is NaN
    return pixels_between(low - margin_px, high + margin_px, height=height, width=width)


def pixels_between(
    low: Float[np.ndarray, "U 2"], high: Float[np.ndarray, "U 2"], *, height: int, width: int
) -> Int[np.ndarray, "U 4"]:
    """Rectangles of the pixels whose centres (at .5) lie from low to high (x, y), as `bounding_rectangles` returns."""
    size = np.array([width, height])
    with np.errstate(invalid="ignore"):
        first = np.clip(np.nan_to_num(np.ceil(low - 0.5)), 0, size)
        past = np.clip(np.nan_to_num(np.floor(high - 0.5) + 1), 0, size)
    rectangles = np.stack([first[:, 0], past[:, 0], first[:, 1], past[:, 1]], axis=1).astype(np.int64)
    rectangles[(past <= first).any(axis=1)] = 0
    return rectangles


def batch_windows(
    rectangles: Int[np.ndarray, "U 4"], *, width: int, height: int, device: torch.device | str
) -> list[WindowBatch]:
    """Windows around the rectangles of U poses, grouped into a few sizes. An empty rectangle gets no window."""
    left, right, top, bottom = rectangles.T
    area = (right - left) * (bottom - top)
    size_class = np.where(area > 0, np.round(np.log(np.maximum(area, 1)) / LOG_AREA_STEP), -1)
    batches = []
    for value in np.unique(size_class[size_class >= 0]):
        poses = (size_class == value).nonzero()[0]
        w, h = (right - left)[poses].max(), (bottom - top)[poses].max()
        corners = np.stack([np.minimum(left[poses], width - w), np.minimum(top[poses], height - h)], axis=1)
        columns, rows = torch.as_tensor(corners.T).to(device)[:, :, None, None]
        columns, rows = columns + torch.arange(w, device=device), rows + torch.arange(h, device=device)[:, None]
        windows_per_batch = max(1, pixels_per_batch(device) // int(w * h))
        for start in range(0, len(poses), windows_per_batch):
            part = slice(start, start + windows_per_batch)
            batches.append(WindowBatch(poses[part], corners[part], (int(h), int(w)), columns[part], rows[part]))
    return batches
