"""One object in the pictures of a video: what its rays hit, what light comes from there, and what shadow it casts.

An object that rests has the same pose in many frames; everything that does not depend on the other objects is worked
out once a pose.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vidseg_utils.classes import class_attributes
from vidseg_utils.data.synthetic.casting import camera_rays, cast_rays, enter_depths, points, to_tensors
from vidseg_utils.data.synthetic.floor import (
    SKY_REACH,
    build_floor,
    lamp_places,
    lamp_radii,
    shadow_rectangles,
)
from vidseg_utils.data.synthetic.lighting import (
    dot,
    hidden_sky,
    lamp_light,
    local_normal,
    shade_metal,
    shade_rubber,
    shadow,
    unit,
)
from vidseg_utils.data.synthetic.look import Look, look_tensors, material_of
from vidseg_utils.data.synthetic.tiles import HALF_SIZE, Tile, bounding_rectangles, tiles

SAME_PLACE, SAME_TURN = 5e-4, 2e-3  # world units and radians: less than a twentieth of a pixel
ANTIALIASING = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))  # rays of a pixel, from its centre


class Surface:
    """An object in F frames of a picture size. positions: (F, 3); rotations: (F, 3, 3)."""

    def __init__(
        self,
        class_id: int,
        positions: np.ndarray,
        rotations: np.ndarray,
        *,
        height: int,
        width: int,
        device: torch.device | str,
        look: Look,
    ) -> None:
        first = _changes(positions, rotations)
        self.shape = class_attributes(class_id)[0]
        self.half = HALF_SIZE[self.shape]
        self.material, colour = material_of(class_id)
        self.colour = torch.as_tensor(colour).to(device)
        self.pose = np.cumsum(first) - 1  # (F,) which of the U poses
        self.positions, self.rotations = positions[first], rotations[first]
        self.size, self.device, self.look = {"height": height, "width": width}, device, look
        self.pixels = height * width
        self.numbers = look_tensors(device, look)
        self.floor = build_floor(height, width, device, look)
        spread = max(abs(v) for offset in ANTIALIASING for v in offset)
        self.rectangles = bounding_rectangles(self.shape, self.positions, self.rotations, **self.size, spread=spread)
        self.shadow_rectangles = shadow_rectangles(self.shape, self.positions, **self.size, look=look)

    def mark(self, touched: np.ndarray) -> None:
        """Set what the object and its shadows can touch in (F, H, W) bool."""
        for rectangles in (self.rectangles, *self.shadow_rectangles):
            for picture, (x0, x1, y0, y1) in zip(touched, rectangles[self.pose].tolist(), strict=True):
                picture[y0:y1, x0:x1] = True

    def hits(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """For each tile and the G frames that show it: places in (F, H, W) of its pixels (G, h * w), which pose each
        shows (G,), depths (4, U, h * w) of what their rays hit, and the light from there (3, U, h * w).
        """
        for tile in tiles(self.rectangles, **self.size, device=self.device):
            rays = cast_rays(self.shape, tile, self.positions, self.rotations, **self.size, offsets=ANTIALIASING)
            depth = enter_depths(rays)
            share = torch.isfinite(depth).float()
            share *= 1 / share.sum(0).clamp_min(1)
            near = depth.clamp_max(10.0)  # rays that miss end somewhere too, but have no share
            local = tuple(o + near * d for o, d in zip(rays.origin, rays.direction, strict=True))
            light = self._light(tile, near, local, share)
            frame, row, place = tile.places(self.pose, **self.size)
            place = place + torch.as_tensor(frame * self.pixels).to(self.device)[:, None]
            yield place, row, depth.flatten(2), light.flatten(2)

    def _light(self, tile: Tile, depth: Tensor, local: tuple, share: Tensor) -> Tensor:
        """(3, U, h, w) linear light that comes from the object in each pixel. local: 3 x (4, U, h, w)."""
        position, turn = to_tensors(self.device, self.positions[tile.poses].T, self.rotations[tile.poses])
        strength, towards = lamp_light(position, self.numbers)  # (4, U), (4, 3, U)
        normal = local_normal(self.shape, local, self.half, self.numbers)
        turn = turn.permute(1, 2, 0)[..., None, None]  # (3, 3, U, 1, 1)
        if self.material == "rubber":  # it is matt, so one colour a pixel will do: that of its mean normal
            mean = tuple((share * part).sum(0) for part in normal)
            mean = unit([dot(row, mean) for row in turn])
            return shade_rubber(mean, (towards * strength[:, None])[..., None, None], self.colour, self.numbers)
        normal = unit([dot(row, normal) for row in turn])
        to_world, camera = (array.tolist() for array in camera_rays(**self.size))
        x, y = points(tile, ANTIALIASING)
        view = [row[0] * x + (row[1] * y + row[2]) for row in to_world]
        point = [c + depth * v for c, v in zip(camera, view, strict=True)]
        view = unit(view)
        away = 2 * dot(view, normal)
        reflected = [v - away * n for v, n in zip(view, normal, strict=True)]
        towards, centre = towards[..., None, None], position[:2, :, None, None]
        floor = self.floor.reflection
        light = shade_metal(point, reflected, towards, centre, self.colour, floor, self.shape, self.numbers)
        return (light.clamp_(0, 1) * share).sum(1)

    def bounced_colour(self) -> Tensor:
        """(3,) linear light that the object throws on the floor where it would hide all of the sky."""
        numbers, metal = self.numbers, self.material == "metal"
        gain = numbers.metal_gain if metal else numbers.rubber_gain
        return 0.25 * gain * numbers.floor_bounce[0 if metal else 1] * self.colour

    def shadows(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """What is hidden of key, fill, back and sun. For each tile and the G pictures that show it, where a picture is
        a lamp and a frame: lamps (G,), places in (F, H, W) of its pixels (G, h * w), share that is hidden (G, h * w).
        """
        poses, frames = len(self.positions), len(self.pose)
        inverse = np.tile(np.swapaxes(self.rotations, 1, 2), (4, 1, 1))  # (4 U, 3, 3) world -> object
        positions = np.tile(self.positions, (4, 1))
        lamps = lamp_places(self.positions, self.look).reshape(-1, 3)
        columns = (inverse[:, :, :2], inverse @ -positions[:, :, None], inverse @ (lamps - positions)[:, :, None])
        table = np.concatenate(columns, axis=2)  # (4 U, 3, 4): the world's x, y, origin and the lamp, for the object
        radii = np.repeat(lamp_radii(self.look), poses)
        pose = np.concatenate([lamp * poses + self.pose for lamp in range(4)])
        for tile in tiles(self.shadow_rectangles[:4].reshape(-1, 4), **self.size, device=self.device):
            x, y = self._ground(tile)
            rows, radius = to_tensors(self.device, table[tile.poses].transpose(1, 2, 0), radii[tile.poses])
            rows = rows[..., None, None]  # (3, 4, U, 1, 1)
            point = [row[0] * x + (row[1] * y + row[2]) for row in rows]
            step = [row[3] - p for row, p in zip(rows, point, strict=True)]
            hidden = shadow(self.shape, self.half, point, step, radius[:, None, None])
            picture, row, place = tile.places(pose, **self.size)
            lamp, first = (torch.as_tensor(a).to(self.device) for a in np.divmod(picture, frames))
            yield lamp, place + first[:, None] * self.pixels, hidden.flatten(1).index_select(0, row)

    def hidden_sky(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Places in (F, H, W) and the share of the sky that is hidden there; both (P,)."""
        for tile in tiles(self.shadow_rectangles[4], **self.size, device=self.device):
            x, y = self._ground(tile)
            cx, cy, cz = to_tensors(self.device, *self.positions[tile.poses].T[:, :, None, None])
            hidden = hidden_sky(x - cx, y - cy, cz, SKY_REACH).flatten(1)
            frame, row, place = tile.places(self.pose, **self.size)
            place = place + torch.as_tensor(frame * self.pixels).to(self.device)[:, None]
            yield place.view(-1), hidden.index_select(0, row).view(-1)

    def _ground(self, tile: Tile) -> Tensor:
        """(2, U, h, w) world x, y of the floor that each pixel shows."""
        place = (tile.y * self.size["width"] + tile.x).view(-1)
        return torch.stack([v.index_select(0, place) for v in self.floor.place]).view(2, len(tile.poses), *tile.shape)


def _changes(positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """(F,) whether a frame's pose is another than that of the frame before; a slow drift is caught by its sum."""
    changed = np.ones(len(positions), dtype=bool)
    last = 0
    for frame in range(1, len(positions)):
        moved = np.abs(positions[frame] - positions[last]).max()
        turned = np.abs(rotations[frame] - rotations[last]).max()
        if moved < SAME_PLACE and turned < SAME_TURN:  # False for NaN
            changed[frame] = False
        else:
            last = frame
    return changed
