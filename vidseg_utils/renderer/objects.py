"""One object in the frames of a video: the pixels it covers, the light that comes from it, and the shadows it casts.

An object at rest has the same pose in many frames. Everything that does not depend on the other objects is computed
once a pose. Shapes: F frames, U distinct poses, N blocks of P pixels (`pixel_blocks`), windows of h x w pixels.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vidseg_utils.classes import class_attributes
from vidseg_utils.renderer.appearance import appearance_tensors, material_and_colour
from vidseg_utils.renderer.ground import build_ground
from vidseg_utils.renderer.lights import (
    SKY_SHADOW_REACH,
    Vector,
    dot,
    hidden_lamp_share,
    hidden_sky_share,
    lamp_light,
    lamp_positions,
    lamp_radii,
    shadow_hulls,
    shadow_rectangles,
    unit,
)
from vidseg_utils.renderer.pixel_blocks import build_pixel_blocks
from vidseg_utils.renderer.rays import camera_rays, cast_rays, entry_depths, float_tensors, sample_positions
from vidseg_utils.renderer.shading import BOUNCE_SCALE, shade_metal, shade_rubber, surface_normal
from vidseg_utils.renderer.windows import PIXELS_PER_BATCH, WindowBatch, batch_windows, bounding_rectangles
from vidseg_utils.world.solids import visible_half_size

# Poses that differ by less, in world units and in entries of the rotation matrix (about radians), count as one: this is
# less than a twentieth of a pixel.
SAME_POSITION, SAME_ROTATION = 5e-4, 2e-3
# The rays of a pixel: (x, y) from its centre, in pixels. On this rotated grid, all four cross an upright or level edge
# one after the other, so such edges come out in steps of a quarter.
ANTIALIASING = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))
MAX_DEPTH = 10.0  # world units: depth at which a ray that misses the object ends, so that all numbers stay finite


class WindowLight(NamedTuple):
    """What the rays through a batch of windows hit, and the G frames that show these windows."""

    frames: Int[Tensor, "G"]
    pixels: Int[Tensor, "G hw"]  # indices into a flattened frame
    windows: Int[Tensor, "G"]  # which of the U windows each frame shows
    depth: Float[Tensor, "S U hw"]  # of the object along each ray; infinity where it misses
    light: Float[Tensor, "3 U hw"]  # linear, the mean over the rays that hit


class RenderedObject:
    """An object of class `class_id` in F frames, at `positions` and `rotations` (object -> world)."""

    def __init__(
        self,
        class_id: int,
        positions: Float[np.ndarray, "F 3"],
        rotations: Float[np.ndarray, "F 3 3"],
        *,
        height: int,
        width: int,
        device: torch.device | str,
    ) -> None:
        is_new_pose = _is_new_pose(positions, rotations)
        self.shape = class_attributes(class_id)[0]
        self.half_size = visible_half_size(self.shape)
        self.material, colour = material_and_colour(class_id)
        self.colour = torch.as_tensor(colour).to(device)
        self.pose_of_frame = np.cumsum(is_new_pose) - 1  # (F,) 0..U-1
        self.positions, self.rotations = positions[is_new_pose], rotations[is_new_pose]  # (U, 3), (U, 3, 3)
        self.size, self.device = {"height": height, "width": width}, device
        self.appearance = appearance_tensors(device)
        self.ground, self.blocks = build_ground(height, width, device), build_pixel_blocks(height, width, device)
        margin_px = max(max(abs(x), abs(y)) for x, y in ANTIALIASING)
        pose = self.positions, self.rotations
        self.rectangles = bounding_rectangles(self.shape, *pose, **self.size, margin_px=margin_px)  # (U, 4)
        hulls = shadow_hulls(self.shape, self.positions)
        rectangles = shadow_rectangles(hulls, **self.size)
        by_light = 5, len(self.positions), -1  # key, fill, back, sun and sky
        self.shadow_rectangles = rectangles.reshape(by_light)  # (5, U, 4)
        self.shadow_blocks = self.blocks.overlap_hulls(rectangles, hulls).reshape(by_light)  # (5, U, N)

    def mark_touched_pixels(self, touched: Bool[np.ndarray, "F H W"]) -> None:
        """Set to True, in place, the pixels that the object or its shadows can touch."""
        for rectangles in (self.rectangles, *self.shadow_rectangles):
            for picture, (x0, x1, y0, y1) in zip(touched, rectangles[self.pose_of_frame].tolist(), strict=True):
                picture[y0:y1, x0:x1] = True

    def covered_blocks(self) -> Bool[np.ndarray, "F N"]:
        """The blocks that the object can cover."""
        return self.blocks.overlap_rectangles(self.rectangles)[self.pose_of_frame]

    def shadowed_blocks(self) -> Bool[np.ndarray, "F N"]:
        """The blocks that one of its shadows can touch."""
        return np.any(self.shadow_blocks, axis=0)[self.pose_of_frame]

    def window_lights(self) -> Iterator[WindowLight]:
        """Cast the object's rays, one batch of windows after the other."""
        for windows in batch_windows(self.rectangles, **self.size, device=self.device):
            rays = cast_rays(self.shape, windows, self.positions, self.rotations, **self.size, offsets=ANTIALIASING)
            depth = entry_depths(rays)
            share = torch.isfinite(depth).float()  # of each ray in its pixel's mean: 0 for a ray that misses
            share *= 1 / share.sum(0).clamp_min(1)
            finite_depth = depth.clamp_max(MAX_DEPTH)
            local = tuple(o + finite_depth * d for o, d in zip(rays.origin, rays.direction, strict=True))
            light = self._light(windows, finite_depth, local, share)
            frames, window_index, pixels = windows.pixel_indices(self.pose_of_frame, width=self.size["width"])
            frames = torch.as_tensor(frames).to(self.device)
            yield WindowLight(frames, pixels, window_index, depth.flatten(2), light.flatten(2))

    def _light(self, windows: WindowBatch, depth: Tensor, local: Vector, share: Tensor) -> Tensor:
        """(3, U, h, w) linear light of each pixel. local: points of the rays in the object's frame, (S, U, h, w) each;
        depth, share: (S, U, h, w).
        """
        position, rotation = float_tensors(
            self.device, self.positions[windows.poses].T, self.rotations[windows.poses].transpose(1, 2, 0)
        )
        strength, to_lamps = lamp_light(position, self.appearance)  # (4, U), (4, 3, U)
        normal = surface_normal(self.shape, local, self.half_size, self.appearance)
        rotation = rotation[..., None, None]  # (3, 3, U, 1, 1)
        if self.material == "rubber":  # it is matt, so one colour a pixel is enough: that of its mean normal
            mean_normal = tuple((share * part).sum(0) for part in normal)
            mean_normal = unit([dot(row, mean_normal) for row in rotation])
            lamps = (to_lamps * strength[:, None])[..., None, None]
            return shade_rubber(mean_normal, lamps, self.colour, self.appearance)
        normal = unit([dot(row, normal) for row in rotation])
        to_world, camera = (array.tolist() for array in camera_rays(**self.size))
        x, y = sample_positions(windows, ANTIALIASING)
        direction = [row[0] * x + (row[1] * y + row[2]) for row in to_world]
        point = [c + depth * d for c, d in zip(camera, direction, strict=True)]
        direction = unit(direction)
        twice_along_normal = 2 * dot(direction, normal)
        reflected = [d - twice_along_normal * n for d, n in zip(direction, normal, strict=True)]
        light = shade_metal(
            point,
            reflected,
            lamps=to_lamps[..., None, None],
            centre=position[:2, :, None, None],
            colour=self.colour,
            ground_colour=self.ground.reflected_colour,
            shape=self.shape,
            appearance=self.appearance,
        )
        return (light.clamp_(0, 1) * share).sum(1)

    def bounced_colour(self) -> Float[Tensor, "3"]:
        """Linear light that the object would reflect onto the ground at a point where it hides the whole sky."""
        metal = self.material == "metal"
        gain = self.appearance.metal_gain if metal else self.appearance.rubber_gain
        return BOUNCE_SCALE * gain * self.appearance.ground_bounce[0 if metal else 1] * self.colour

    def visible_lamp_shares(self) -> Iterator[tuple[Int[Tensor, "G"], Int[Tensor, "G"], Float[Tensor, "G P"]]]:
        """How much of key, fill, back and sun can be seen past the object, from the pixels of G blocks at a time.

        yields: lamp (0..3); frame and block as an index into (F, N); share, 0..1.
        """
        to_object = np.swapaxes(self.rotations, 1, 2)  # (U, 3, 3)
        lamps = lamp_positions(self.positions)  # (4, U, 3)
        # The world's x and y axes, its origin and the lamp, in the object's frame: columns of (4 lamps, U, 3, 4).
        columns = np.empty((4, len(self.positions), 3, 4))
        columns[..., :2] = to_object[:, :, :2]
        columns[..., 2] = (to_object @ -self.positions[:, :, None])[..., 0]
        columns[..., 3] = (to_object @ (lamps - self.positions)[..., None])[..., 0]
        radii = np.array(lamp_radii())
        for lamp, pose, block in self._block_batches(self.shadow_blocks[:4]):
            x, y = self._ground_positions(block)
            rows, radius = float_tensors(self.device, columns[lamp, pose].transpose(1, 2, 0), radii[lamp])
            rows = rows[..., None]  # (3, 4, blocks, 1)
            point = [row[0] * x + (row[1] * y + row[2]) for row in rows]
            to_lamp = [row[3] - p for row, p in zip(rows, point, strict=True)]
            visible = 1 - hidden_lamp_share(self.shape, self.half_size, point, to_lamp, radius[:, None])
            row, frame_block = self._expand_to_frames(pose, block)
            yield torch.as_tensor(lamp).to(self.device).index_select(0, row), frame_block, visible.index_select(0, row)

    def hidden_sky_shares(self) -> Iterator[tuple[Int[Tensor, "G"], Float[Tensor, "G P"]]]:
        """How much of the sky the object hides from the pixels of G blocks at a time.

        yields: frame and block as an index into (F, N); share, 0..1.
        """
        for _, pose, block in self._block_batches(self.shadow_blocks[4:]):
            x, y = self._ground_positions(block)
            centre_x, centre_y, centre_z = float_tensors(self.device, *self.positions[pose].T[:, :, None])
            hidden = hidden_sky_share(x - centre_x, y - centre_y, centre_z, SKY_SHADOW_REACH)
            row, frame_block = self._expand_to_frames(pose, block)
            yield frame_block, hidden.index_select(0, row)

    def _block_batches(self, selected: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields the light, pose and block of every True entry of `selected` (lights, U, N), a batch at a time."""
        light, pose, block = selected.nonzero()
        blocks_per_batch = max(1, PIXELS_PER_BATCH // self.ground.positions.shape[-1])
        for start in range(0, len(light), blocks_per_batch):
            part = slice(start, start + blocks_per_batch)
            yield light[part], pose[part], block[part]

    def _expand_to_frames(self, pose: np.ndarray, block: np.ndarray) -> tuple[Tensor, Tensor]:
        """Repeat (pose, block) pairs for every frame that shows the pose: row of the pair, and index into (F, N)."""
        # The frames of a pose follow one another.
        first, count = np.unique(self.pose_of_frame, return_index=True, return_counts=True)[1:]
        count = count[pose]
        row = np.repeat(np.arange(len(pose)), count)
        frames_since_first = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        frame_block = (first[pose][row] + frames_since_first) * len(self.blocks.edges) + block[row]
        return torch.as_tensor(row).to(self.device), torch.as_tensor(frame_block).to(self.device)

    def _ground_positions(self, block: np.ndarray) -> Tensor:
        """(2, blocks, P) world x, y of the ground that each pixel of those blocks shows."""
        return self.ground.positions.index_select(1, torch.as_tensor(block).to(self.device))


def _is_new_pose(positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """(F,) whether each frame starts a new pose. A frame is compared with the start of the pose, so drift adds up."""
    is_new = np.ones(len(positions), dtype=bool)
    start = 0
    for frame in range(1, len(positions)):
        moved = np.abs(positions[frame] - positions[start]).max()
        turned = np.abs(rotations[frame] - rotations[start]).max()
        if moved < SAME_POSITION and turned < SAME_ROTATION:  # False for NaN
            is_new[frame] = False
        else:
            start = frame
    return is_new
