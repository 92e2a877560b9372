"""Which pixels can an object cover? Its bounding rectangle in the picture, exactly, and batches of such rectangles.

Everything else in the renderer looks only at these pixels.
"""

from dataclasses import dataclass

import numpy as np
import torch

from vidseg_utils.world.camera import camera_matrix
from vidseg_utils.world.solids import visible_half_size

NEAREST_CENTRE = 0.4  # depth in world units below which an object is not drawn: no object of the world comes that close
LOG_STEP = np.log(30)  # windows of one tile differ in area by about this factor at most; smaller ones gain nothing
PIXELS_AT_ONCE = 80_000  # of one tile: its work then stays in the processor's cache
_CORNERS = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), axis=-1).reshape(8, 3)


@dataclass(frozen=True)
class Tile:
    """Windows of one size, h x w pixels, in pictures of U poses of an object."""

    poses: np.ndarray  # (U,) int64 which of the poses
    corners: np.ndarray  # (U, 2) int64 first column and first row
    shape: tuple[int, int]  # h, w
    x: torch.Tensor  # (U, 1, w) int64 columns
    y: torch.Tensor  # (U, h, 1) int64 rows

    def places(self, pose: np.ndarray, *, height: int, width: int) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
        """Where the tile lies in the pictures that show its poses. pose: (F,) which pose each of F pictures shows.

        returns: (G,) numbers of those pictures; (G,) which of the tile's poses each shows; (G, h * w) places in the
        flattened picture (H, W).
        """
        row = np.full(pose.max() + 1, -1)
        row[self.poses] = np.arange(len(self.poses))
        row = row[pose]
        picture = (row >= 0).nonzero()[0]
        row, corner = row[picture], self.corners[row[picture]] @ [1, width]
        row, corner = (torch.as_tensor(a).to(self.x.device) for a in (row, corner))
        h, w = self.shape
        within = torch.arange(h, device=row.device)[:, None] * width + torch.arange(w, device=row.device)
        return picture, row, corner[:, None] + within.view(-1)


def disc_extremes(centres: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Bounding rectangles of ellipses (or ellipsoids) in the picture, from their dual conics.

    centres: (..., 3) in homogeneous pixels; axes: (..., 3, K) their K half axes likewise.
    returns: (..., 2, 2): lowest and highest (x, y) in pixels.
    """
    conic = axes @ np.swapaxes(axes, -1, -2) - centres[..., :, None] * centres[..., None, :]
    middle = conic[..., :2, 2] / conic[..., 2, 2, None]
    diagonal = np.stack([conic[..., 0, 0], conic[..., 1, 1]], axis=-1) / conic[..., 2, 2, None]
    half = np.sqrt(np.maximum(middle**2 - diagonal, 0))
    return np.stack([middle - half, middle + half], axis=-2)


def bounding_rectangles(
    shape: str, positions: np.ndarray, rotations: np.ndarray, *, height: int, width: int, spread: float = 0.0
) -> np.ndarray:
    """The pixels that an object can cover, where a pixel is its centre and all points within `spread` pixels of it.

    positions: (F, 3); rotations: (F, 3, 3). returns: (F, 4) int64: first and past-the-last column, first and
    past-the-last row; all 0 where the object is out of the picture, absent (NaN) or too near the camera.
    """
    matrix, half = camera_matrix(height, width), visible_half_size(shape)
    centre = positions @ matrix[:, :3].T + matrix[:, 3]  # (F, 3) in homogeneous pixels
    with np.errstate(invalid="ignore", divide="ignore"):
        axes = matrix[:, :3] @ rotations * half  # (F, 3, 3)
        if shape == "cube":
            corners = centre[:, None] + _CORNERS @ np.swapaxes(axes, 1, 2)  # (F, 8, 3)
            places = corners[..., :2] / corners[..., 2:]
            low, high = places.min(axis=1), places.max(axis=1)
        elif shape == "sphere":
            low, high = np.moveaxis(disc_extremes(centre, axes), 1, 0)
        else:  # the hull of its two lids
            lids = [disc_extremes(centre + sign * axes[:, :, 1], axes[:, :, ::2]) for sign in (-1, 1)]
            low, high = np.minimum(lids[0], lids[1])[:, 0], np.maximum(lids[0], lids[1])[:, 1]
        low[~(centre[:, 2] > NEAREST_CENTRE)] = np.nan  # NaN too
    return rectangles_between(low - spread, high + spread, height=height, width=width)


def rectangles_between(low: np.ndarray, high: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Pixels whose centres (at .5) lie between the places low and high (F, 2): rectangles (F, 4) as above."""
    size = np.array([width, height])
    with np.errstate(invalid="ignore"):
        first = np.clip(np.nan_to_num(np.ceil(low - 0.5)), 0, size)
        past = np.clip(np.nan_to_num(np.floor(high - 0.5) + 1), 0, size)
    rectangles = np.stack([first[:, 0], past[:, 0], first[:, 1], past[:, 1]], axis=1).astype(np.int64)
    rectangles[(past <= first).any(axis=1)] = 0
    return rectangles


def tiles(rectangles: np.ndarray, *, width: int, height: int, device: torch.device | str) -> list[Tile]:
    """Windows around rectangles (U, 4), sorted into a few sizes; none around empty rectangles."""
    x0, x1, y0, y1 = rectangles.T
    area = (x1 - x0) * (y1 - y0)
    size_class = np.where(area > 0, np.round(np.log(np.maximum(area, 1)) / LOG_STEP), -1)
    made = []
    for value in np.unique(size_class[size_class >= 0]):
        poses = (size_class == value).nonzero()[0]
        w, h = (x1 - x0)[poses].max(), (y1 - y0)[poses].max()
        corners = np.stack([np.minimum(x0[poses], width - w), np.minimum(y0[poses], height - h)], axis=1)
        x, y = torch.as_tensor(corners.T).to(device)[:, :, None, None]
        x, y = x + torch.arange(w, device=device), y + torch.arange(h, device=device)[:, None]
        step = max(1, PIXELS_AT_ONCE // int(w * h))
        for start in range(0, len(poses), step):
            some = slice(start, start + step)
            made.append(Tile(poses[some], corners[some], (int(h), int(w)), x[some], y[some]))
    return made
