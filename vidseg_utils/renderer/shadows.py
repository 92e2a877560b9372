"""The shadows that objects of one shape cast on the ground: how much of each lamp and of the sky they hide.

An object at rest has the same pose in many frames; its shadows are computed once a pose.
Shapes: F frames, each with one object; U distinct poses, N blocks of P pixels (`pixel_blocks`).
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vidseg_utils.renderer.ground import build_ground
from vidseg_utils.renderer.lights import (
    SKY_SHADOW_REACH,
    hidden_lamp_share,
    hidden_sky_share,
    lamp_positions,
    lamp_radii,
    shadow_hulls,
    shadow_rectangles,
)
from vidseg_utils.renderer.pixel_blocks import build_pixel_blocks
from vidseg_utils.renderer.rays import float_tensors
from vidseg_utils.renderer.windows import pixels_per_batch
from vidseg_utils.world.solids import visible_half_size


class ObjectShadows:
    """The shadows of objects in U poses. Frame `frames[f]` of the pictures shows pose `pose_of_frame[f]`."""

    def __init__(
        self,
        shape: str,
        positions: Float[np.ndarray, "U 3"],
        rotations: Float[np.ndarray, "U 3 3"],
        pose_of_frame: Int[np.ndarray, "F"],
        frames: Int[np.ndarray, "F"],
        *,
        height: int,
        width: int,
        device: torch.device | str,
    ) -> None:
        self.shape, self.device = shape, device
        self.positions, self.rotations = positions, rotations
        self.pose_of_frame, self.frames = pose_of_frame, frames
        self.ground = build_ground(height, width, device)
        blocks, hulls = build_pixel_blocks(height, width, device), shadow_hulls(shape, positions)
        rectangles = shadow_rectangles(hulls, height=height, width=width)
        by_light = 5, len(positions), -1  # key, fill, back, sun and sky
        self.rectangles = rectangles.reshape(by_light)  # (5, U, 4)
        self.touched_blocks = blocks.overlap_hulls(rectangles, hulls).reshape(by_light)  # (5, U, N)

    def covered_blocks(self) -> Bool[np.ndarray, "F N"]:
        """The blocks that one of the shadows can touch."""
        return np.any(self.touched_blocks, axis=0)[self.pose_of_frame]

    def visible_lamp_shares(self) -> Iterator[tuple[Int[Tensor, "G"], Int[Tensor, "G"], Float[Tensor, "G P"]]]:
        """How much of key, fill, back and sun can be seen past the object, from the pixels of G blocks at a time.

        yields: lamp (0..3); frame of the pictures and block as one index; share, 0..1.
        """
        to_object = np.swapaxes(self.rotations, 1, 2)  # (U, 3, 3)
        lamps = lamp_positions(self.positions)  # (4, U, 3)
        # The world's x and y axes, its origin and the lamp, in the object's frame: columns of (4 lamps, U, 3, 4).
        columns = np.empty((4, len(self.positions), 3, 4))
        columns[..., :2] = to_object[:, :, :2]
        columns[..., 2] = (to_object @ -self.positions[:, :, None])[..., 0]
        columns[..., 3] = (to_object @ (lamps - self.positions)[..., None])[..., 0]
        radii = np.array(lamp_radii())
        for lamp, pose, block in self._block_batches(self.touched_blocks[:4]):
            x, y = self._ground_positions(block)
            rows, radius = float_tensors(self.device, columns[lamp, pose].transpose(1, 2, 0), radii[lamp])
            rows = rows[..., None]  # (3, 4, blocks, 1)
            point = [row[0] * x + (row[1] * y + row[2]) for row in rows]
            to_lamp = [row[3] - p for row, p in zip(rows, point, strict=True)]
            visible = 1 - hidden_lamp_share(self.shape, visible_half_size(self.shape), point, to_lamp, radius[:, None])
            row, _, frame_block = self._expand_to_frames(pose, block)
            yield torch.as_tensor(lamp).to(self.device).index_select(0, row), frame_block, visible.index_select(0, row)

    def hidden_sky_shares(self) -> Iterator[tuple[Int[Tensor, "G"], Int[Tensor, "G"], Float[Tensor, "G P"]]]:
        """How much of the sky the object hides from the pixels of G blocks at a time.

        yields: pose; frame of the pictures and block as one index; share, 0..1.
        """
        for _, pose, block in self._block_batches(self.touched_blocks[4:]):
            x, y = self._ground_positions(block)
            centre_x, centre_y, centre_z = float_tensors(self.device, *self.positions[pose].T[:, :, None])
            hidden = hidden_sky_share(x - centre_x, y - centre_y, centre_z, SKY_SHADOW_REACH)
            row, pose_index, frame_block = self._expand_to_frames(pose, block)
            yield pose_index, frame_block, hidden.index_select(0, row)

    def _block_batches(self, selected: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields the light, pose and block of every True entry of `selected` (lights, U, N), a batch at a time."""
        light, pose, block = selected.nonzero()
        blocks_per_batch = max(1, pixels_per_batch(self.device) // self.ground.positions.shape[-1])
        for start in range(0, len(light), blocks_per_batch):
            part = slice(start, start + blocks_per_batch)
            yield light[part], pose[part], block[part]

    def _expand_to_frames(self, pose: np.ndarray, block: np.ndarray) -> tuple[Tensor, ...]:
        """Repeat pairs of pose and block for every frame with that pose: index of the pair, pose, frame and block."""
        # The frames of a pose follow one another.
        first, count = np.unique(self.pose_of_frame, return_index=True, return_counts=True)[1:]
        count = count[pose]
        row = np.repeat(np.arange(len(pose)), count)
        frames_since_first = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        frame = self.frames[first[pose][row] + frames_since_first]
        frame_block = frame * self.touched_blocks.shape[2] + block[row]
        return tuple(torch.as_tensor(array).to(self.device) for array in (row, pose[row], frame_block))

    def _ground_positions(self, block: np.ndarray) -> Tensor:
        """(2, blocks, P) world x, y of the ground that each pixel of those blocks shows."""
        return self.ground.positions.index_select(1, torch.as_tensor(block).to(self.device))
