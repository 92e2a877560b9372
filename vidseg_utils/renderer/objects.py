"""One object in the pictures of a video: what its rays hit, what light comes from there, and what shadow it casts.

An object that rests has the same pose in many frames; everything that does not depend on the other objects is worked
out once a pose.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vidseg_utils.classes import class_attributes
from vidseg_utils.renderer.appearance import look_tensors, material_of
from vidseg_utils.renderer.ground import (
    SKY_REACH,
    build_floor,
    lamp_places,
    lamp_radii,
    shadow_reach,
    shadow_rectangles,
)
from vidseg_utils.renderer.rays import camera_rays, cast_rays, enter_depths, points, to_tensors
from vidseg_utils.renderer.shading import (
    dot,
    hidden_sky,
    lamp_light,
    local_normal,
    shade_metal,
    shade_rubber,
    shadow,
    unit,
)
from vidseg_utils.renderer.shadow_blocks import build_blocks
from vidseg_utils.renderer.windows import PIXELS_AT_ONCE, Tile, bounding_rectangles, tiles
from vidseg_utils.world.solids import visible_half_size

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
    ) -> None:
        first = _changes(positions, rotations)
        self.shape = class_attributes(class_id)[0]
        self.half = visible_half_size(self.shape)
        self.material, colour = material_of(class_id)
        self.colour = torch.as_tensor(colour).to(device)
        self.pose = np.cumsum(first) - 1  # (F,) which of the U poses
        self.positions, self.rotations = positions[first], rotations[first]
        self.size, self.device = {"height": height, "width": width}, device
        self.numbers = look_tensors(device)
        self.floor, self.blocks = build_floor(height, width, device), build_blocks(height, width, device)
        spread = max(max(abs(x), abs(y)) for x, y in ANTIALIASING)
        self.rectangles = bounding_rectangles(self.shape, self.positions, self.rotations, **self.size, spread=spread)
        reach = shadow_reach(self.shape, self.positions)
        rectangles = shadow_rectangles(reach, **self.size)
        of_lamps = 5, len(self.positions), -1  # key, fill, back, sun and sky
        self.shadow_rectangles = rectangles.reshape(of_lamps)  # (5, U, 4)
        self.shadowed = self.blocks.near(rectangles, reach).reshape(of_lamps)  # (5, U, N) blocks

    def mark(self, touched: np.ndarray) -> None:
        """Set what the object and its shadows can touch in (F, H, W) bool."""
        for rectangles in (self.rectangles, *self.shadow_rectangles):
            for picture, (x0, x1, y0, y1) in zip(touched, rectangles[self.pose].tolist(), strict=True):
                picture[y0:y1, x0:x1] = True

    def hits(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
        """For each tile and the G frames that show it: those frames (G,), places in (H, W) of its pixels (G, h * w),
        which pose each shows (G,), depths (4, U, h * w) of what their rays hit, light from there (3, U, h * w).
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
            yield torch.as_tensor(frame).to(self.device), place, row, depth.flatten(2), light.flatten(2)

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

    def covers(self) -> np.ndarray:
        """(F, N) the blocks that the object can cover."""
        return self.blocks.over(self.rectangles)[self.pose]

    def shades(self) -> np.ndarray:
        """(F, N) the blocks that one of its shadows can touch."""
        return self.shadowed.any(axis=0)[self.pose]

    def shadows(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """What is left of key, fill, back and sun, for G blocks of a lamp and a frame at a time: lamps (G,), places in
        (F, N) of the blocks (G,), share of the lamp that is seen from there (G, P).
        """
        inverse = np.swapaxes(self.rotations, 1, 2)  # (U, 3, 3) world -> object
        lamps = lamp_places(self.positions)  # (4, U, 3)
        table = np.empty((4, len(self.positions), 3, 4))  # of the world's x, y, origin and the lamp, for the object
        table[..., :2] = inverse[:, :, :2]
        table[..., 2] = (inverse @ -self.positions[:, :, None])[..., 0]
        table[..., 3] = (inverse @ (lamps - self.positions)[..., None])[..., 0]
        radii = np.array(lamp_radii())
        for lamp, pose, block in self._pieces(self.shadowed[:4]):
            x, y = self._ground(block)
            rows, radius = to_tensors(self.device, table[lamp, pose].transpose(1, 2, 0), radii[lamp])
            rows = rows[..., None]  # (3, 4, B, 1)
            point = [row[0] * x + (row[1] * y + row[2]) for row in rows]
            step = [row[3] - p for row, p in zip(rows, point, strict=True)]
            seen = 1 - shadow(self.shape, self.half, point, step, radius[:, None])
            row, place = self._in_frames(pose, block)
            yield torch.as_tensor(lamp).to(self.device).index_select(0, row), place, seen.index_select(0, row)

    def hidden_sky(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Of G blocks at a time: places in (F, N) (G,) and the share of the sky that is hidden there (G, P)."""
        for _, pose, block in self._pieces(self.shadowed[4:]):
            x, y = self._ground(block)
            cx, cy, cz = to_tensors(self.device, *self.positions[pose].T[:, :, None])
            hidden = hidden_sky(x - cx, y - cy, cz, SKY_REACH)
            row, place = self._in_frames(pose, block)
            yield place, hidden.index_select(0, row)

    def _pieces(self, wanted: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Lamp, pose and block of what is True in (lamps, U, N), some at a time."""
        found = wanted.nonzero()
        step = max(1, PIXELS_AT_ONCE // self.floor.place.shape[-1])
        for start in range(0, len(found[0]), step):
            yield tuple(part[start : start + step] for part in found)

    def _in_frames(self, pose: np.ndarray, block: np.ndarray) -> tuple[Tensor, Tensor]:
        """Where blocks of poses appear: for each frame that shows one, its row among them and its place in (F, N)."""
        first, count = np.unique(self.pose, return_index=True, return_counts=True)[1:]  # frames of a pose follow
        count = count[pose]
        row = np.repeat(np.arange(len(pose)), count)
        later = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        place = (first[pose][row] + later) * len(self.blocks.edges) + block[row]
        return tuple(torch.as_tensor(a).to(self.device) for a in (row, place))

    def _ground(self, block: np.ndarray) -> Tensor:
        """(2, B, P) world x, y of the floor that each pixel of those blocks shows."""
        return self.floor.place.index_select(1, torch.as_tensor(block).to(self.device))


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
