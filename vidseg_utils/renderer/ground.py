"""The empty ground of a picture: its light, its image, and the colours that metal objects mirror."""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from vidseg_utils.renderer.lights import LIGHT_COLOURS, ground_light
from vidseg_utils.world.camera import unproject

REFLECTION_AREA = (-12.0, 6.0, -9.0, 9.0)  # lowest and highest x, lowest and highest y of the ground that metal mirrors
REFLECTION_CELLS = 180  # side of the table of that area's colours
SRGB_TABLE_SIZE = 8192  # entries of the table from linear light to sRGB


class Ground(NamedTuple):
    """The empty ground of an H x W picture."""

    x: Float[np.ndarray, "H"]  # world x of each row
    y: Float[np.ndarray, "H W"]  # world y of each pixel
    light: Float[np.ndarray, "H 5 W"]  # linear light from key, fill, back, sun and sky
    picture: UInt8[np.ndarray, "3 H W"]  # exact sRGB
    reflection_table: Float[np.ndarray, "cells cells 3"]  # linear colours of REFLECTION_AREA, by y and x
    levels: UInt8[np.ndarray, "SRGB_TABLE_SIZE"]  # sRGB of linear light from 0 to 1


@functools.lru_cache(maxsize=8)
def build_ground(height: int, width: int) -> Ground:
    """The ground of pictures of that size; built once and cached."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    points = unproject(np.stack([columns, rows], axis=-1), height=height, width=width)
    light = ground_light(np.concatenate([points, np.zeros_like(points[..., :1])], axis=-1))  # (H, W, 5)
    middle = (np.arange(SRGB_TABLE_SIZE) + 0.5) / SRGB_TABLE_SIZE
    tables = (
        points[:, 0, 0],
        points[..., 1],
        light.swapaxes(1, 2),
        to_srgb(light @ LIGHT_COLOURS).round().astype(np.uint8).transpose(2, 0, 1),
        ground_light(_reflection_points()) @ LIGHT_COLOURS,
        to_srgb(middle).round().astype(np.uint8),
    )
    return Ground(*(np.ascontiguousarray(table) for table in tables))


def to_srgb(light: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Linear light (0..1, clipped) to sRGB, 0..255."""
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-4) ** (1 / 2.4) - 0.055)


def _reflection_points() -> Float[np.ndarray, "cells cells 3"]:
    """World positions of the centres of the cells of REFLECTION_AREA, by y and x."""
    x0, x1, y0, y1 = REFLECTION_AREA
    middle = (np.arange(REFLECTION_CELLS) + 0.5) / REFLECTION_CELLS
    y, x = np.meshgrid(y0 + (y1 - y0) * middle, x0 + (x1 - x0) * middle, indexing="ij")
    return np.stack([x, y, np.zeros_like(x)], axis=-1)
