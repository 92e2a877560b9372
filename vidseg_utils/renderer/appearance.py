"""The look of CLEVRER in numbers: lamps, floor, materials. Light is linear, lengths are world units.

The lamps' places are CLEVR's own (Johnson et al., CVPR 2017), found again from where they shine in metal spheres; the
rest was fitted to real frames by gradient descent on the squared error in the picture.
"""

import functools
from dataclasses import dataclass, fields
from types import SimpleNamespace

import numpy as np
import torch

from vidseg_utils.classes import COLOUR_RGB, COLOURS, SHAPES, class_attributes


@dataclass(frozen=True)
class Look:
    """Three area lamps (key, fill, back) that face the origin, a sun, and an even sky.

    Tuples of four go by key, fill, back, sun; tuples of three by red, green, blue or by cube, sphere, cylinder.
    """

    # the floor is what these make of it, its own grey included
    lamp_positions: tuple = ((6.4467, -2.9052, 4.2584), (-4.6711, -4.0136, 3.0112), (-1.1685, 2.6460, 5.8157))
    lamp_colours: tuple = ((5.1098, 4.7863, 3.7846), (1.2396, 1.2991, 1.7315), (2.6470, 2.7872, 2.7004))
    sun_direction: tuple = (0.420, -0.194, 0.887)  # towards it
    ambient: tuple = (0.1334, 0.1316, 0.1322)  # light of sun and sky together on the floor
    sun_share: float = 0.728  # of that light
    # shadows
    lamp_radii: tuple = (0.325, 0.426, 0.758, 0.064)  # how soft; the sun's in radians
    ambient_occlusion: float = 1.25  # how much of the sky an object hides from the floor beside it
    floor_bounce: tuple = (0.94, 0.585)  # metal, rubber: the object's colour that it throws on the floor
    # rubber
    rubber_gain: float = 1.167  # brightness over the floor's, of a colour's RGB / 255
    rubber_floor_light: float = 0.76  # light that comes back from the floor
    # metal: a tinted mirror of the floor below and a sky above
    metal_gain: float = 0.533
    floor_reflection: float = 1.74
    reflected_shadow: tuple = (0.49, 0.91, 0.6)  # by shape: how dark the floor under an object mirrors in itself
    reflected_shadow_reach: float = 0.69  # of the object's radius
    # sky: of 1, x, y, z, xy, yz, xz, xx - yy, zz of the direction
    sky: tuple = (0.111, -0.082, 0.026, 0.055, -0.130, 0.002, 0.098, 0.033, -0.103)
    horizon_width: float = 0.212
    highlight: tuple = (5.5, 3.3, 8.3, 14.5)
    glow: tuple = (0.31, 0.136, 0.346, 0.67)  # a wide halo around each highlight
    bevel: tuple = (0.0363, 0.0, 0.008)  # by shape: how wide the rounded edges are


LOOK = Look()


@functools.lru_cache(maxsize=8)
def look_tensors(device: torch.device | str) -> SimpleNamespace:
    """Every field of the look as a float32 tensor on the device."""
    return SimpleNamespace(
        **{f.name: torch.tensor(getattr(LOOK, f.name), dtype=torch.float32, device=device) for f in fields(LOOK)}
    )


def material_of(class_id: int) -> tuple[str, np.ndarray]:
    """Material of a class, and its colour in linear light before the material's gain: RGB / 255, as CLEVR has it."""
    _, material, colour = class_attributes(class_id)
    return material, np.array(COLOUR_RGB[COLOURS.index(colour)], dtype=np.float32) / 255


def by_shape(values: torch.Tensor, shape: str) -> torch.Tensor:
    """The value of a field that goes by shape."""
    return values[SHAPES.index(shape)]
