"""A picture divided into small blocks of equal size, so that shadows are computed only in the blocks they can touch.

Shadows are long, thin and oblique, so most of a bounding rectangle is not in shadow. Blocks of one size let the shadows
of many frames be computed in a few large operations on contiguous memory.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from vidseg_utils.world.camera import unproject

MAX_BLOCK_ROWS, MAX_BLOCK_COLUMNS = 8, 16  # pixels; the block's actual size divides the picture evenly
SAFETY_MARGIN = 0.06  # world units that are added to the estimated width of a shadow


@dataclass(frozen=True)
class DiscHulls:
    """Regions on the ground: each the convex hull of two discs, the second at least as large. World units."""

    start: Float[np.ndarray, "U 2"]  # centre of the first disc
    start_radius: Float[np.ndarray, "U"]
    end: Float[np.ndarray, "U 2"]  # centre of the second disc
    end_radius: Float[np.ndarray, "U"]


@dataclass(frozen=True)
class PixelBlocks:
    """The N blocks of a picture, row by row, each of P pixels."""

    n_rows: int  # rows of blocks
    edges: Int[np.ndarray, "N 4"]  # first and past-the-last column, first and past-the-last row of pixels
    centre: Float[np.ndarray, "N 2"]  # world (x, y) of a circle around the ground that the block shows
    radius: Float[np.ndarray, "N"]  # of that circle
    block_of_pixel: Int[Tensor, "HW"]
    offset_in_block: Int[Tensor, "HW"]  # 0..P-1 for each pixel of the picture

    @property
    def n_pixels(self) -> int:
        """P, the pixels of one block."""
        return len(self.block_of_pixel) // len(self.edges)

    def split(self, picture: Shaped[Tensor, "*channels HW"], height: int) -> Shaped[Tensor, "*channels N P"]:
        """Divide a flattened picture of that height into blocks."""
        columns = len(self.edges) // self.n_rows
        axes = {"rows": self.n_rows, "columns": columns, "h": height // self.n_rows}
        return rearrange(picture, "... (rows h columns w) -> ... (rows columns) (h w)", **axes)

    def merge(self, blocks: Shaped[Tensor, "*channels N P"], height: int) -> Shaped[Tensor, "*channels HW"]:
        """Assemble the flattened picture from its blocks; the inverse of `split`."""
        columns = len(self.edges) // self.n_rows
        axes = {"rows": self.n_rows, "columns": columns, "h": height // self.n_rows}
        return rearrange(blocks, "... (rows columns) (h w) -> ... (rows h columns w)", **axes)

    def overlap_rectangles(self, rectangles: Int[np.ndarray, "U 4"]) -> Bool[np.ndarray, "U N"]:
        """Whether each block shares a pixel with each rectangle (as `windows.bounding_rectangles` returns them)."""
        x0, x1, y0, y1 = rectangles.T[:, :, None]
        left, right, top, bottom = self.edges.T
        return (left < x1) & (right > x0) & (top < y1) & (bottom > y0)

    def overlap_hulls(self, rectangles: Int[np.ndarray, "U 4"], hulls: DiscHulls) -> Bool[np.ndarray, "U N"]:
        """Whether each block may show a part of each hull. rectangles: around the hulls' pixels."""
        overlap = self.overlap_rectangles(rectangles)
        hull, block = overlap.nonzero()
        start, step = hulls.start[hull], hulls.end[hull] - hulls.start[hull]
        length = np.sqrt((step * step).sum(axis=1))
        unit = step / np.maximum(length, 1e-9)[:, None]
        widening = (hulls.end_radius - hulls.start_radius)[hull] / np.maximum(length, 1e-9)
        from_start = self.centre[block] - start
        along = (from_start * unit).sum(axis=1)
        across = np.abs(from_start[:, 0] * unit[:, 1] - from_start[:, 1] * unit[:, 0])
        # The hull is a row of discs from the first to the second. Take the disc whose edge is nearest to the block.
        nearest = along + across * widening / np.sqrt(np.maximum(1 - widening**2, 1e-9))
        nearest = np.clip(nearest, 0, length)
        gap = np.hypot(along - nearest, across) - hulls.start_radius[hull] - widening * nearest
        overlap[hull, block] = gap <= self.radius[block] + SAFETY_MARGIN
        return overlap


@functools.lru_cache(maxsize=8)
def build_pixel_blocks(height: int, width: int, device: torch.device | str = "cpu") -> PixelBlocks:
    """The blocks of pictures of that size; built once and cached."""
    h = max(n for n in range(1, MAX_BLOCK_ROWS + 1) if height % n == 0)
    w = max(n for n in range(1, MAX_BLOCK_COLUMNS + 1) if width % n == 0)
    top, left = (grid.ravel() for grid in np.mgrid[0:height:h, 0:width:w])
    y, x = np.mgrid[:height, :width]
    block = (y // h) * (width // w) + x // w
    ground = unproject(np.stack([x, y], axis=-1) + 0.5, height=height, width=width)
    ground = rearrange(ground, "(rows h) (columns w) xy -> (rows columns) (h w) xy", h=h, w=w)
    centre = (ground.min(axis=1) + ground.max(axis=1)) / 2
    return PixelBlocks(
        n_rows=height // h,
        edges=np.stack([left, left + w, top, top + h], axis=1),
        centre=centre,
        radius=np.linalg.norm(ground - centre[:, None], axis=2).max(axis=1),
        block_of_pixel=torch.as_tensor(block.reshape(-1)).to(device),
        offset_in_block=torch.as_tensor((y % h * w + x % w).reshape(-1)).to(device),
    )
