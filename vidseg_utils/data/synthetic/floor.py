"""The floor of a picture: its light without objects, and which of its pixels a shadow can touch."""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from vidseg_utils.data.camera import camera_matrix, unproject
from vidseg_utils.data.synthetic.lighting import floor_light, light_colours, to_picture
from vidseg_utils.data.synthetic.look import LOOK, Look, look_tensors
from vidseg_utils.data.synthetic.tiles import NEAREST_CENTRE, disc_extremes, rectangles_between

SUN_DISTANCE = 100.0  # for shadows the sun is a lamp that far away
TOP = 0.42  # of what casts shadows, world units
FOOTPRINT = {"cube": 0.28, "sphere": 0.2, "cylinder": 0.21}  # radius around an object on the floor
SKY_REACH = 0.5  # around an object's centre, beyond which it hides too little of the sky to be seen
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
        """x, y: places on the floor, of one shape. returns: (3, *shape) linear colour."""
        x0, x1, y0, y1 = REFLECTED
        column = ((x - x0) * (CELLS / (x1 - x0))).clamp(0, CELLS - 1).int()
        row = ((y - y0) * (CELLS / (y1 - y0))).clamp(0, CELLS - 1).int()
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
    """(4, U, 3) where key, fill, back and sun are for objects at positions (U, 3); the sun is far off each of them."""
    lamps = np.broadcast_to(np.array(look.lamp_positions)[:, None], (3, *positions.shape))
    sun = np.array(look.sun_direction) / np.linalg.norm(look.sun_direction)
    return np.concatenate([lamps, (positions + SUN_DISTANCE * sun)[None]])


def lamp_radii(look: Look = LOOK) -> tuple[float, ...]:
    """Of key, fill, back and sun, in world units."""
    return (*look.lamp_radii[:3], look.lamp_radii[3] * SUN_DISTANCE)


def shadow_rectangles(shape: str, positions: np.ndarray, *, height: int, width: int, look: Look = LOOK) -> np.ndarray:
    """The pixels that an object's shadow can touch. positions: (U, 3).

    returns: (5, U, 4) rectangles for key, fill, back, sun and sky, as `casting.bounding_rectangles` has them.
    """
    foot, place, rectangles = FOOTPRINT[shape], positions[:, :2], []
    for lamp, radius in zip(lamp_places(positions, look), lamp_radii(look), strict=True):
        share = TOP / (lamp[:, 2] - TOP)  # of the lamp's way down, that is left below the object's top
        tip = place + (place - lamp[:, :2]) * share[:, None]
        rectangles.append(
            _around_discs([(place, foot), (tip, foot * (1 + share) + radius * share)], height=height, width=width)
        )
    rectangles.append(_around_discs([(place, SKY_REACH)], height=height, width=width))
    return np.stack(rectangles)


def _around_discs(discs: list, *, height: int, width: int) -> np.ndarray:
    """(U, 4) rectangles around discs on the floor, each with centres (U, 2) and a radius or radii (U,)."""
    matrix = camera_matrix(height, width)
    extremes = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for centre, radius in discs:
            radius = np.broadcast_to(radius, len(centre))
            place = centre @ matrix[:, :2].T + matrix[:, 3]  # (U, 3) homogeneous
            ends = disc_extremes(place, radius[:, None, None] * matrix[:, :2])
            ends[~(place[:, 2] - radius > NEAREST_CENTRE / 2)] = np.nan
            extremes.append(ends)
    low = np.minimum.reduce([ends[:, 0] for ends in extremes])
    high = np.maximum.reduce([ends[:, 1] for ends in extremes])
    return rectangles_between(low, high, height=height, width=width)
