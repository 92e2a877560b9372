"""The floor of a picture: its light without objects, and which of its pixels a shadow can touch."""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from vidseg_utils.data.camera import camera_matrix, unproject
from vidseg_utils.data.synthetic.casting import NEAREST_CENTRE, disc_extremes, rectangles_between
from vidseg_utils.data.synthetic.lighting import SUN_DISTANCE, floor_light, light_colours, to_picture
from vidseg_utils.data.synthetic.look import LOOK, Look, look_tensors

TOP = 0.42  # of what casts shadows, world units
FOOTPRINT = {"cube": 0.28, "sphere": 0.2, "cylinder": 0.21}  # radius around an object on the floor
SKY_REACH = 0.65  # around an object's centre, beyond which it hides too little of the sky to be seen
REFLECTED = (-12.0, 6.0, -9.0, 9.0)  # lowest and highest x, lowest and highest y of the floor that metal mirrors
CELLS = 180  # a side of the table of that floor


@dataclass(frozen=True)
class Floor:
    """The empty floor of an H x W picture."""

    place: torch.Tensor  # (2, H * W) world x, y that each pixel shows
    light: torch.Tensor  # (5, H * W) from key, fill, back, sun and sky
    picture: torch.Tensor  # (3, H * W) uint8
    reflected: torch.Tensor  # (3, CELLS * CELLS) linear colour of the floor around, for metal

    def reflection(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """x, y: (P, S) places on the floor. returns: (3, P, S) linear colour."""
        x0, x1, y0, y1 = REFLECTED
        column = ((x - x0) * (CELLS / (x1 - x0))).clamp(0, CELLS - 1).long()
        row = ((y - y0) * (CELLS / (y1 - y0))).clamp(0, CELLS - 1).long()
        cell = row.mul_(CELLS).add_(column).view(-1)
        return torch.stack([colour.index_select(0, cell) for colour in self.reflected]).view(3, *x.shape)


@functools.lru_cache(maxsize=8)
def build_floor(height: int, width: int, device: torch.device | str = "cpu", look: Look = LOOK) -> Floor:
    """The floor of pictures of that size; made once, then remembered."""
    tensors = look_tensors("cpu", look)
    y, x = np.mgrid[:height, :width] + 0.5
    place = unproject(np.stack([x, y], axis=-1).reshape(-1, 2), height=height, width=width).T
    place = torch.as_tensor(np.ascontiguousarray(place), dtype=torch.float32)
    light = floor_light(torch.cat([place, torch.zeros_like(place[:1])]), tensors)
    x0, x1, y0, y1 = REFLECTED
    middle = (torch.arange(CELLS) + 0.5) / CELLS
    y, x = torch.meshgrid(y0 + (y1 - y0) * middle, x0 + (x1 - x0) * middle, indexing="ij")
    around = torch.stack([x.reshape(-1), y.reshape(-1), torch.zeros(CELLS * CELLS)])
    colours = light_colours(tensors)
    picture = to_picture(colours @ light).round().to(torch.uint8)
    tables = place, light, picture, colours @ floor_light(around, tensors)
    return Floor(*(table.contiguous().to(device) for table in tables))


def lamp_places(positions: np.ndarray, look: Look = LOOK) -> np.ndarray:
    """(4, F, 3) where key, fill, back and sun are for objects at positions (F, 3); the sun is far off each of them."""
    lamps = np.broadcast_to(np.array(look.lamp_positions)[:, None], (3, *positions.shape))
    sun = np.array(look.sun_direction) / np.linalg.norm(look.sun_direction)
    return np.concatenate([lamps, (positions + SUN_DISTANCE * sun)[None]])


def shadow_rectangles(shape: str, positions: np.ndarray, *, height: int, width: int, look: Look = LOOK) -> np.ndarray:
    """The pixels that an object's shadow can touch. positions: (F, 3).

    returns: (5, F, 4) rectangles for key, fill, back, sun and sky, as `casting.bounding_rectangles` has them.
    """
    radii = (*look.lamp_radii[:3], look.lamp_radii[3] * SUN_DISTANCE)
    foot, rectangles = FOOTPRINT[shape], []
    for lamp, radius in zip(lamp_places(positions, look), radii, strict=True):
        share = TOP / (lamp[:, 2] - TOP)
        tip = positions[:, :2] + (positions[:, :2] - lamp[:, :2]) * share[:, None]
        discs = [(positions[:, :2], foot), (tip, foot * (1 + share) + radius * share)]
        rectangles.append(_around_discs(discs, height=height, width=width))
    rectangles.append(_around_discs([(positions[:, :2], SKY_REACH)], height=height, width=width))
    return np.stack(rectangles)


def _around_discs(discs: list, *, height: int, width: int) -> np.ndarray:
    """(F, 4) rectangles around discs on the floor, each with centres (F, 2) and a radius or radii (F,)."""
    matrix = camera_matrix(height, width)
    low, high = [], []
    with np.errstate(invalid="ignore", divide="ignore"):
        for centre, radius in discs:
            place = centre @ matrix[:, :2].T + matrix[:, 3]  # (F, 3) homogeneous
            axes = np.broadcast_to(radius, len(centre))[:, None, None] * matrix[:, :2]
            extremes = disc_extremes(place, axes)
            extremes[~(place[:, 2] - np.broadcast_to(radius, len(centre)) > NEAREST_CENTRE / 2)] = np.nan
            low.append(extremes[:, 0])
            high.append(extremes[:, 1])
    return rectangles_between(np.minimum.reduce(low), np.maximum.reduce(high), height=height, width=width)
