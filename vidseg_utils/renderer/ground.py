"""The floor of a picture: its light without objects, and which of its pixels a shadow can touch."""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from vidseg_utils.renderer.appearance import LOOK, look_tensors
from vidseg_utils.renderer.shading import floor_light, light_colours, to_levels, to_picture
from vidseg_utils.renderer.shadow_blocks import Hulls, build_blocks
from vidseg_utils.renderer.windows import NEAREST_CENTRE, disc_extremes, rectangles_between
from vidseg_utils.world.camera import camera_matrix, unproject

SUN_DISTANCE = 100.0  # for shadows the sun is a lamp that far away
TOP = 0.42  # of what casts shadows, world units
FOOTPRINT = {"cube": 0.28, "sphere": 0.2, "cylinder": 0.21}  # radius around an object on the floor
SKY_REACH = 0.5  # around an object's centre, beyond which it hides too little of the sky to be seen
REFLECTED = (-12.0, 6.0, -9.0, 9.0)  # lowest and highest x, lowest and highest y of the floor that metal mirrors
CELLS = 180  # a side of the table of that floor


@dataclass(frozen=True)
class Floor:
    """The empty floor of an H x W picture."""

    place: torch.Tensor  # (2, N, P) world x, y that each pixel of each block shows
    light: torch.Tensor  # (5, N, P) from key, fill, back, sun and sky
    picture: torch.Tensor  # (3, H * W) uint8
    levels: torch.Tensor  # (3, N, P) uint8, the same through `to_levels`: may differ by one
    reflected: torch.Tensor  # (3, CELLS * CELLS) linear colour of the floor around, for metal

    def reflection(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """x, y: places on the floor, of one shape. returns: (3, *shape) linear colour."""
        x0, x1, y0, y1 = REFLECTED
        column = ((x - x0) * (CELLS / (x1 - x0))).clamp(0, CELLS - 1).int()
        row = ((y - y0) * (CELLS / (y1 - y0))).clamp(0, CELLS - 1).int()
        cell = row.mul_(CELLS).add_(column).view(-1)
        return torch.stack([colour.index_select(0, cell) for colour in self.reflected]).view(3, *x.shape)


@functools.lru_cache(maxsize=8)
def build_floor(height: int, width: int, device: torch.device | str = "cpu") -> Floor:
    """The floor of pictures of that size; made once, then remembered."""
    tensors = look_tensors("cpu")
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
    blocks = build_blocks(height, width)
    levels = blocks.cut(to_levels(colours @ light), height)
    place, light = blocks.cut(place, height), blocks.cut(light, height)
    tables = place, light, picture, levels, colours @ floor_light(around, tensors)
    return Floor(*(table.contiguous().to(device) for table in tables))


def lamp_places(positions: np.ndarray) -> np.ndarray:
    """(4, U, 3) where key, fill, back and sun are for objects at positions (U, 3); the sun is far off each of them."""
    lamps = np.broadcast_to(np.array(LOOK.lamp_positions)[:, None], (3, *positions.shape))
    sun = np.array(LOOK.sun_direction) / np.linalg.norm(LOOK.sun_direction)
    return np.concatenate([lamps, (positions + SUN_DISTANCE * sun)[None]])


def lamp_radii() -> tuple[float, ...]:
    """Of key, fill, back and sun, in world units."""
    return (*LOOK.lamp_radii[:3], LOOK.lamp_radii[3] * SUN_DISTANCE)


def shadow_reach(shape: str, positions: np.ndarray) -> Hulls:
    """The floor that an object's shadows can touch: from its foot to where the shadow of its top lies; around it for
    the sky. positions: (U, 3). returns: 5 x U hulls, by key, fill, back, sun and sky.
    """
    place, foot = positions[:, :2], FOOTPRINT[shape]
    lamps = lamp_places(positions)
    share = TOP / (lamps[..., 2] - TOP)  # (4, U) of the lamp's way down, that is left below the object's top
    tip = place + (place - lamps[..., :2]) * share[..., None]
    tip_radius = foot * (1 + share) + np.array(lamp_radii())[:, None] * share
    sky = np.full(len(place), SKY_REACH)
    return Hulls(
        start=np.tile(place, (5, 1)),
        start_radius=np.concatenate([np.full(share.size, foot), sky]),
        end=np.concatenate([tip.reshape(-1, 2), place]),
        end_radius=np.concatenate([tip_radius.ravel(), sky]),
    )


def shadow_rectangles(hulls: Hulls, *, height: int, width: int) -> np.ndarray:
    """(U, 4) rectangles around those pixels of hulls on the floor, as `tiles.bounding_rectangles` has them."""
    start = _around_discs(hulls.start, hulls.start_radius, height=height, width=width)
    end = _around_discs(hulls.end, hulls.end_radius, height=height, width=width)
    low, high = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 1], end[:, 1])
    return rectangles_between(low, high, height=height, width=width)


def _around_discs(centre: np.ndarray, radius: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """(U, 2, 2) lowest and highest (x, y) in the picture of discs on the floor with centres (U, 2) and radii (U,)."""
    matrix = camera_matrix(height, width)
    with np.errstate(invalid="ignore", divide="ignore"):
        place = centre @ matrix[:, :2].T + matrix[:, 3]  # (U, 3) homogeneous
        ends = disc_extremes(place, radius[:, None, None] * matrix[:, :2])
        ends[~(place[:, 2] - radius > NEAREST_CENTRE / 2)] = np.nan
    return ends
