"""The floor of a picture cut into small blocks: a shadow is worked out only in those that it can touch.

Shadows are long and thin and lie across the picture, so a rectangle around one is mostly not in it; and blocks are all
of one size, so that the shadows of many frames are worked out in a few large steps, whole rows of memory at a time.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from vidseg_utils.world.camera import unproject

MOST_ROWS, MOST_COLUMNS = 8, 16  # of a block, which must divide the picture evenly
MARGIN = 0.02  # world units by which a shadow may be wider than it was reckoned


@dataclass(frozen=True)
class Hulls:
    """Places on the floor: each the hull of two discs, the second at least as large."""

    start: np.ndarray  # (U, 2) centres
    start_radius: np.ndarray  # (U,)
    end: np.ndarray  # (U, 2)
    end_radius: np.ndarray  # (U,)


@dataclass(frozen=True)
class Blocks:
    """The N blocks of a picture, row by row, each of P pixels."""

    rows: int  # of blocks
    edges: np.ndarray  # (N, 4) first and past-the-last column, first and past-the-last row
    centre: np.ndarray  # (N, 2) of a circle on the floor around all that the block's pixels show
    reach: np.ndarray  # (N,) its radius, world units
    block: Tensor  # (H * W,) number of each pixel's block
    place: Tensor  # (H * W,) and its place in there

    @property
    def pixels(self) -> int:
        """P, of one block."""
        return len(self.block) // len(self.edges)

    def cut(self, picture: Tensor, height: int) -> Tensor:
        """(..., H * W) -> (..., N, P)"""
        columns = len(self.edges) // self.rows
        axes = {"rows": self.rows, "columns": columns, "h": height // self.rows}
        return rearrange(picture, "... (rows h columns w) -> ... (rows columns) (h w)", **axes)

    def join(self, blocks: Tensor, height: int) -> Tensor:
        """(..., N, P) -> (..., H * W)"""
        columns = len(self.edges) // self.rows
        axes = {"rows": self.rows, "columns": columns, "h": height // self.rows}
        return rearrange(blocks, "... (rows columns) (h w) -> ... (rows h columns w)", **axes)

    def over(self, rectangles: np.ndarray) -> np.ndarray:
        """(U, 4) rectangles as of `tiles.bounding_rectangles` -> (U, N) whether a block shares a pixel with one."""
        x0, x1, y0, y1 = rectangles.T[:, :, None]
        left, right, top, bottom = self.edges.T
        return (left < x1) & (right > x0) & (top < y1) & (bottom > y0)

    def near(self, rectangles: np.ndarray, hulls: Hulls) -> np.ndarray:
        """(U, N) whether a block is over a rectangle (U, 4) and may show some of the hull that lies in there."""
        near = self.over(rectangles)
        u, block = near.nonzero()
        start, step = hulls.start[u], hulls.end[u] - hulls.start[u]
        length = np.sqrt((step * step).sum(axis=1))
        unit = step / np.maximum(length, 1e-9)[:, None]
        widening = (hulls.end_radius - hulls.start_radius)[u] / np.maximum(length, 1e-9)
        away = self.centre[block] - start
        along = (away * unit).sum(axis=1)
        across = np.abs(away[:, 0] * unit[:, 1] - away[:, 1] * unit[:, 0])
        # of the discs from one to the other, the one whose edge is nearest
        nearest = along + across * widening / np.sqrt(np.maximum(1 - widening**2, 1e-9))
        nearest = np.clip(nearest, 0, length)
        gap = np.hypot(along - nearest, across) - hulls.start_radius[u] - widening * nearest
        near[u, block] = gap <= self.reach[block] + MARGIN
        return near


@functools.lru_cache(maxsize=8)
def build_blocks(height: int, width: int, device: torch.device | str = "cpu") -> Blocks:
    """The blocks of pictures of that size."""
    h, w = (max(n for n in range(1, most + 1) if size % n == 0)
            for size, most in ((height, MOST_ROWS), (width, MOST_COLUMNS)))  # fmt: skip
    top, left = (grid.ravel() for grid in np.mgrid[0:height:h, 0:width:w])
    y, x = np.mgrid[:height, :width]
    block = (y // h) * (width // w) + x // w
    ground = unproject(np.stack([x, y], axis=-1) + 0.5, height=height, width=width)
    ground = rearrange(ground, "(rows h) (columns w) xy -> (rows columns) (h w) xy", h=h, w=w)
    centre = (ground.min(axis=1) + ground.max(axis=1)) / 2
    return Blocks(
        rows=height // h,
        edges=np.stack([left, left + w, top, top + h], axis=1),
        centre=centre,
        reach=np.linalg.norm(ground - centre[:, None], axis=2).max(axis=1),
        block=torch.as_tensor(block.reshape(-1)).to(device),
        place=torch.as_tensor((y % h * w + x % w).reshape(-1)).to(device),
    )
