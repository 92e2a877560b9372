"""Pictures and masks of a trajectory, ray cast through CLEVRER's camera.

A mask's pixel is the class in the ray through its centre, unblended. A frame is antialiased: four rays a pixel. Only
pixels that an object or its shadow can touch are worked on; the rest is the empty floor. What is left out: objects do
not mirror or shade each other.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vidseg_utils.renderer.appearance import look_tensors
from vidseg_utils.renderer.ground import build_floor
from vidseg_utils.renderer.objects import ANTIALIASING, Surface
from vidseg_utils.renderer.rays import cast_masks, check_objects
from vidseg_utils.renderer.shading import light_colours, to_levels
from vidseg_utils.renderer.shadow_blocks import Blocks, build_blocks
from vidseg_utils.world.trajectory import Trajectory

__all__ = ["cast_masks", "render_masks", "render_video"]

FRAMES_AT_ONCE = 32
BLOCKS_AT_ONCE = 256
NOISE_LEVELS = 0.8  # standard deviation of the sensor's noise, of 255
NOISE_SHIFT = 16  # pixels by which its pattern may shift from frame to frame


def render_masks(
    trajectory: Trajectory, *, height: int = 160, width: int = 240, device: torch.device | str = "cpu"
) -> np.ndarray:
    """(T, H, W) uint8 class ids of every frame of the trajectory; the nearest object wins."""
    return cast_masks(
        trajectory.class_ids, trajectory.positions, trajectory.rotations, height=height, width=width, device=device
    )


@torch.inference_mode()
def render_video(
    trajectory: Trajectory,
    *,
    height: int = 160,
    width: int = 240,
    noise_seed: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """(T, 3, H, W) uint8 frames and (T, H, W) uint8 masks; `noise_seed` adds mild sensor noise of that seed."""
    positions, rotations = np.asarray(trajectory.positions, float), np.asarray(trajectory.rotations, float)
    check_objects(trajectory.class_ids, positions, rotations)
    frames = np.empty((len(positions), 3, height, width), np.uint8)
    masks = render_masks(trajectory, height=height, width=width, device=device)
    for start in range(0, len(positions), FRAMES_AT_ONCE):
        some = slice(start, start + FRAMES_AT_ONCE)
        settings = {"height": height, "width": width, "device": torch.device(device)}
        frames[some] = _render(trajectory.class_ids, positions[some], rotations[some], **settings)
    if noise_seed is not None:
        frames = add_noise(frames, noise_seed)
    return frames, masks


def add_noise(frames: np.ndarray, seed: int) -> np.ndarray:
    """The same grain in every frame of a video, only shifted. frames: (T, 3, H, W) uint8; returns the same."""
    rng = np.random.default_rng(seed)
    height, width = frames.shape[-2:]
    size = (height + NOISE_SHIFT, width + NOISE_SHIFT)
    grain = NOISE_LEVELS * rng.standard_normal(size, dtype=np.float32)
    grain = np.round(grain + 0.4 * NOISE_LEVELS * rng.standard_normal((3, *size), dtype=np.float32)).astype(np.int16)
    noisy = frames.astype(np.int16)
    for frame, (y, x) in zip(noisy, rng.integers(0, NOISE_SHIFT + 1, (len(frames), 2)), strict=True):
        frame += grain[:, y : y + height, x : x + width]
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


def _render(class_ids, positions, rotations, *, height, width, device) -> np.ndarray:
    """(F, 3, H, W) uint8 frames, all at once. Of the blocks of all frames, only the K that are needed are worked on."""
    count, settings = len(positions), {"height": height, "width": width, "device": device}
    surfaces = [Surface(int(id_), positions[:, n], rotations[:, n], **settings) for n, id_ in enumerate(class_ids)]
    floor, blocks = build_floor(height, width, device), build_blocks(height, width, device)
    touched = np.zeros((count, height, width), dtype=bool)
    covered_blocks, needed_blocks = np.zeros((2, count, len(blocks.edges)), dtype=bool)
    for surface in surfaces:
        surface.mark(touched)
        covered_blocks |= surface.covers()
        needed_blocks |= surface.covers() | surface.shades()
    needed, number = _numbered(needed_blocks, device)
    light = _shade_floor(surfaces, number, floor.light.index_select(1, needed % len(blocks.edges)))

    some, number_of_some = _numbered(covered_blocks, device)
    objects, covered = _cast_objects(surfaces, number_of_some, len(some), blocks)
    where = number.index_select(0, some)
    light.index_copy_(1, where, light.index_select(1, where).mul_(1 - covered).add_(objects))
    light = torch.cat([to_levels(light[:, piece]) for piece in _pieces(len(needed))], dim=1)

    levels = floor.levels.repeat(1, count, 1).index_copy_(1, needed, light)  # (3, F * N, P)
    levels = blocks.join(levels.view(3, count, *floor.levels.shape[1:]).transpose(0, 1), height)  # (F, 3, H * W)
    frames = torch.where(torch.as_tensor(touched).view(count, 1, -1).to(device), levels, floor.picture)
    return frames.view(count, 3, height, width).cpu().numpy()


def _numbered(wanted: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """(K,) places of what is True in `wanted` (F, N), and (F * N,) the number 0..K-1 of each, K of what is False."""
    places = torch.as_tensor(wanted.ravel().nonzero()[0]).to(device)
    number = torch.full((wanted.size,), len(places), device=device)
    number[places] = torch.arange(len(places), device=device)
    return places, number


def _pieces(count: int) -> Iterator[slice]:
    """Of that many blocks, as many at a time as stay in the processor's cache."""
    return (slice(start, start + BLOCKS_AT_ONCE) for start in range(0, max(count, 1), BLOCKS_AT_ONCE))


def _cast_objects(surfaces: list[Surface], number: Tensor, count: int, blocks: Blocks) -> tuple[Tensor, Tensor]:
    """(3, K, P) light that comes from the objects and (K, P) share of each pixel that they cover, in K = count blocks.

    What a window shows of other blocks, whose `number` is K, is not looked at.
    """
    rays, size = len(ANTIALIASING), blocks.pixels
    nearest = torch.full((rays, (count + 1) * size), torch.inf, device=number.device)
    owner = torch.full((rays, (count + 1) * size), -1, dtype=torch.int8, device=number.device)
    seen = []
    for n, surface in enumerate(surfaces):
        for frame, pixel, row, depth, light in surface.hits():
            block = blocks.block.index_select(0, pixel.view(-1)).view(pixel.shape)
            where = number.index_select(0, (frame[:, None] * len(blocks.edges) + block).view(-1)) * size
            where += blocks.place.index_select(0, pixel.view(-1))
            for s in range(rays):
                enter, before = depth[s].index_select(0, row).view(-1), nearest[s].index_select(0, where)
                first = owner[s].index_select(0, where).masked_fill_(enter < before, n)
                owner[s].scatter_(0, where, first)
                nearest[s].scatter_(0, where, torch.minimum(enter, before))
            seen.append((n, where, light.index_select(1, row).view(3, -1)))
    total, covered = torch.zeros((3, (count + 1) * size), device=number.device), torch.zeros_like(nearest[0])
    for n, where, light in seen:
        share = sum((owner[s].index_select(0, where) == n).float() for s in range(rays)) * (1 / rays)
        covered.scatter_add_(0, where, share)
        for k in range(3):
            total[k].scatter_add_(0, where, light[k] * share)
    return total.view(3, -1, size)[:, :count], covered.view(-1, size)[:count]


def _shade_floor(surfaces: list[Surface], number: Tensor, light: Tensor) -> Tensor:
    """(3, K, P) linear light of the floor in shadow, from its `light` (5, K, P) without; changes that."""
    numbers, count = look_tensors(number.device), light.shape[1]
    lamps, bounced = light.view(-1, light.shape[2]), torch.zeros_like(light[:3])
    for surface in surfaces:
        for lamp, place, seen in surface.shadows():
            where = number.index_select(0, place) + lamp * count
            lamps.index_copy_(0, where, lamps.index_select(0, where).mul_(seen))
        for place, hidden in surface.hidden_sky():
            where = number.index_select(0, place)
            seen = 1 - (numbers.ambient_occlusion * hidden).clamp_max_(1)
            light[4].index_copy_(0, where, light[4].index_select(0, where).mul_(seen))
            for k, colour in enumerate(surface.bounced_colour().tolist()):
                bounced[k].index_add_(0, where, colour * hidden)
    for piece in _pieces(count):
        part = bounced[:, piece]
        part += (light_colours(numbers) @ light[:, piece].flatten(1)).view_as(part)
    return bounced
