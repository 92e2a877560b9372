"""The empty ground of a picture: its light, its image, and the colours that metal objects mirror."""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vidseg_utils.renderer.appearance import appearance_tensors
from vidseg_utils.renderer.lights import ground_light, light_colours
from vidseg_utils.renderer.pixel_blocks import build_pixel_blocks
from vidseg_utils.renderer.shading import srgb_levels, to_srgb
from vidseg_utils.world.camera import unproject

REFLECTION_AREA = (-12.0, 6.0, -9.0, 9.0)  # lowest and highest x, lowest and highest y of the ground that metal mirrors
REFLECTION_CELLS = 180  # side of the table of that area's colours


@dataclass(frozen=True)
class Ground:
    """The empty ground of an H x W picture, in N blocks of P pixels (`pixel_blocks`)."""

    positions: Float[Tensor, "2 N P"]  # world x, y that each pixel shows
    light: Float[Tensor, "5 N P"]  # linear light from key, fill, back, sun and sky
    picture: UInt8[Tensor, "3 HW"]  # exact sRGB
    picture_blocks: UInt8[Tensor, "3 N P"]  # the same picture from `srgb_levels`; it may differ by one
    reflection_table: Float[Tensor, "3 cells"]  # linear colours of REFLECTION_AREA, row by row (y)

    def reflected_colour(self, x: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "3 *shape"]:
        """Linear colour of the ground at world positions x, y; outside of REFLECTION_AREA that of its border."""
        x0, x1, y0, y1 = REFLECTION_AREA
        column = ((x - x0) * (REFLECTION_CELLS / (x1 - x0))).clamp(0, REFLECTION_CELLS - 1).int()
        row = ((y - y0) * (REFLECTION_CELLS / (y1 - y0))).clamp(0, REFLECTION_CELLS - 1).int()
        cell = row.mul_(REFLECTION_CELLS).add_(column).view(-1)
        return torch.stack([colour.index_select(0, cell) for colour in self.reflection_table]).view(3, *x.shape)


@functools.lru_cache(maxsize=8)
def build_ground(height: int, width: int, device: torch.device | str = "cpu") -> Ground:
    """The ground of pictures of that size; built once and cached."""
    appearance = appearance_tensors("cpu")
    y, x = np.mgrid[:height, :width] + 0.5
    positions = unproject(np.stack([x, y], axis=-1).reshape(-1, 2), height=height, width=width).T
    positions = torch.as_tensor(np.ascontiguousarray(positions), dtype=torch.float32)
    light = ground_light(torch.cat([positions, torch.zeros_like(positions[:1])]), appearance)
    colours = light_colours(appearance)
    picture = to_srgb(colours @ light).round().to(torch.uint8)
    blocks = build_pixel_blocks(height, width)
    tables = (
        blocks.split(positions, height),
        blocks.split(light, height),
        picture,
        blocks.split(srgb_levels(colours @ light), height),
        colours @ ground_light(_reflection_points(), appearance),
    )
    return Ground(*(table.contiguous().to(device) for table in tables))


def _reflection_points() -> Tensor:
    """(3, cells) world positions of the centres of the cells of REFLECTION_AREA."""
    x0, x1, y0, y1 = REFLECTION_AREA
    middle = (torch.arange(REFLECTION_CELLS) + 0.5) / REFLECTION_CELLS
    y, x = torch.meshgrid(y0 + (y1 - y0) * middle, x0 + (x1 - x0) * middle, indexing="ij")
    return torch.stack([x.reshape(-1), y.reshape(-1), torch.zeros(REFLECTION_CELLS**2)])
