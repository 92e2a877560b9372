"""Frames of videos, many at a time: objects, shadows and ground put together.

A frame is antialiased with four rays a pixel. Only blocks of pixels that an object or a shadow can touch are computed;
the rest shows the empty ground. Metal mirrors near objects once. Simplification: objects do not shade each other.
Shapes: V videos of T frames, F frames in all; N blocks of P pixels a frame (`pixel_blocks`); K of the F * N blocks are
computed.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from vidseg_utils.classes import class_attributes
from vidseg_utils.renderer.appearance import appearance_tensors
from vidseg_utils.renderer.ground import build_ground
from vidseg_utils.renderer.groups import PosedObjects, group_objects
from vidseg_utils.renderer.lights import light_colours
from vidseg_utils.renderer.masks import cast_masks_of_videos, posed_objects
from vidseg_utils.renderer.objects import ANTIALIASING, RenderedObjects
from vidseg_utils.renderer.pixel_blocks import PixelBlocks, build_pixel_blocks
from vidseg_utils.renderer.reflections import near_objects
from vidseg_utils.renderer.shading import srgb_levels
from vidseg_utils.renderer.windows import pixels_per_batch
from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.world.label_offset import EXACT_LABELS, LabelOffset
from vidseg_utils.world.trajectory import Trajectory

FRAMES_PER_CHUNK = 32
BEYOND_DEPTH = 1e9  # world units; every object is nearer, and a ray that misses one is not
NOISE_LEVELS = 0.8  # standard deviation of the sensor noise that all channels share, of 255
CHANNEL_NOISE_SHARE = 0.4  # standard deviation of each channel's own noise, relative to NOISE_LEVELS
# Taps of a symmetric filter of five pixels, along rows and columns: the outer, the inner and the middle one, in 64ths.
# CLEVRER's frames are scaled down bicubically. Beside a mean over each pixel this leaves less of the finest detail and
# slightly more of coarser detail. Fitted to the power spectrum at the edges of objects.
SCALING_TAPS = (-3, 7, 56)
MAX_NOISE_SHIFT_PX = 16  # by which the noise pattern moves from frame to frame


def render_video(
    trajectory: Trajectory,
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    noise_seed: int | None = None,
    label_offset: LabelOffset = EXACT_LABELS,
    device: torch.device | str = "cpu",
) -> tuple[UInt8[np.ndarray, "T 3 H W"], UInt8[np.ndarray, "T H W"]]:
    """Frames (sRGB) and masks (class ids). `noise_seed` adds mild sensor noise of that seed to the frames.
    `label_offset` says how the masks lie against the objects, in pixels of a mask of 160 x 240.

    Raises ValueError for class ids that are no objects and for arrays that do not fit.
    """
    settings = {"height": height, "width": width, "label_offset": label_offset, "device": device}
    ((frames, masks),) = render_videos([trajectory], **settings)
    return frames if noise_seed is None else add_noise(frames, noise_seed), masks


@torch.inference_mode()
def render_videos(
    trajectories: Sequence[Trajectory],
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    label_offset: LabelOffset = EXACT_LABELS,
    device: torch.device | str = "cpu",
) -> list[tuple[UInt8[np.ndarray, "T 3 H W"], UInt8[np.ndarray, "T H W"]]]:
    """As `render_video`, for videos of equal length and without noise. Their rays are cast together, which a GPU needs
    to be fast.
    """
    videos = [posed_objects(video.class_ids, video.positions, video.rotations) for video in trajectories]
    settings = {"height": height, "width": width, "device": torch.device(device)}
    masks = cast_masks_of_videos(videos, offset=label_offset, **settings)
    frames = np.empty((*masks.shape[:2], 3, height, width), np.uint8)
    for start in range(0, masks.shape[1], FRAMES_PER_CHUNK):
        chunk = slice(start, start + FRAMES_PER_CHUNK)
        rendered = _render_frames([video.select_frames(chunk) for video in videos], **settings)
        frames_at_once = max(1, pixels_per_batch(device) // (height * width))
        filtered = np.concatenate([_filter(some) for some in rendered.split(frames_at_once)])
        frames[:, chunk] = filtered.reshape(len(videos), -1, *frames.shape[2:])
    return list(zip(frames, masks, strict=True))


def add_noise(frames: UInt8[np.ndarray, "T 3 H W"], seed: int) -> UInt8[np.ndarray, "T 3 H W"]:
    """Add one noise pattern to every frame of a video, shifted at random from frame to frame."""
    rng = np.random.default_rng(seed)
    height, width = frames.shape[-2:]
    size = (height + MAX_NOISE_SHIFT_PX, width + MAX_NOISE_SHIFT_PX)
    pattern = NOISE_LEVELS * rng.standard_normal(size, dtype=np.float32)
    channel_noise = CHANNEL_NOISE_SHARE * NOISE_LEVELS * rng.standard_normal((3, *size), dtype=np.float32)
    pattern = np.round(pattern + channel_noise).astype(np.int16)
    noisy = frames.astype(np.int16)
    for frame, (y, x) in zip(noisy, rng.integers(0, MAX_NOISE_SHIFT_PX + 1, (len(frames), 2)), strict=True):
        frame += pattern[:, y : y + height, x : x + width]
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


def _render_frames(
    videos: list[PosedObjects],
    *,
    height: int,
    width: int,
    device: torch.device,
) -> UInt8[Tensor, "F 3 H W"]:
    """Frames without filter and noise, all at once."""
    n_frames = len(videos) * len(videos[0].positions)
    settings = {"height": height, "width": width, "device": device}
    objects = []
    for group in group_objects(videos, kind=_shape_and_material):
        is_metal = _shape_and_material(int(group.class_ids[0]))[1] == "metal"
        mirrored = near_objects(group, videos) if is_metal else ()
        objects.append(RenderedObjects(group, mirrored=mirrored, **settings))
    ground, blocks = build_ground(height, width, device), build_pixel_blocks(height, width, device)
    touched = np.zeros((n_frames, height, width), dtype=bool)
    covered_blocks, computed_blocks = np.zeros((2, n_frames, len(blocks.edges)), dtype=bool)
    for rendered in objects:
        rendered.mark_touched_pixels(touched)
        covered_blocks[rendered.frames] |= rendered.covered_blocks()
        computed_blocks[rendered.frames] |= rendered.covered_blocks() | rendered.shadows.covered_blocks()
    computed, computed_index = _selected_blocks(computed_blocks, device)
    light = ground.light.index_select(1, computed % len(blocks.edges))
    light = _shade_ground(objects, computed_index, light)

    covered, covered_index = _selected_blocks(covered_blocks, device)
    object_light, object_share = _cast_objects(objects, covered_index, len(covered), blocks)
    rows = computed_index.index_select(0, covered)
    light.index_copy_(1, rows, light.index_select(1, rows).mul_(1 - object_share).add_(object_light))
    levels = torch.cat(
        [srgb_levels(light[:, chunk]) for chunk in _chunks(len(computed), blocks.n_pixels, device)], dim=1
    )

    picture = ground.picture_blocks.repeat(1, n_frames, 1).index_copy_(1, computed, levels)  # (3, F * N, P)
    picture = picture.view(3, n_frames, *ground.picture_blocks.shape[1:]).transpose(0, 1)
    picture = blocks.merge(picture, height)  # (F, 3, H * W)
    frames = torch.where(torch.as_tensor(touched).view(n_frames, 1, -1).to(device), picture, ground.picture)
    return frames.view(n_frames, 3, height, width)


def _filter(frames: UInt8[Tensor, "F 3 H W"]) -> UInt8[np.ndarray, "F 3 H W"]:
    """The frames as if they had been scaled down bicubically: filtered by SCALING_TAPS along columns and rows."""
    padded = F.pad(frames.float(), [2] * 4, mode="replicate").short()  # whole numbers: the same on every device
    for axis, size in ((2, frames.shape[2]), (3, frames.shape[3])):
        parts = [padded.narrow(axis, shift, size) for shift in range(5)]
        padded = SCALING_TAPS[2] * parts[2]
        padded.add_(parts[1] + parts[3], alpha=SCALING_TAPS[1]).add_(parts[0] + parts[4], alpha=SCALING_TAPS[0])
        padded.add_(32).bitwise_right_shift_(6)  # divides by 64, the sum of the taps, and rounds
    return padded.clamp_(0, 255).to(torch.uint8).cpu().numpy()


def _selected_blocks(selected: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """The flat indices (K,) of the blocks that `selected` (F, N) marks, and each block's position among them (F * N,).

    A block that is not selected has position K.
    """
    indices = torch.as_tensor(selected.ravel().nonzero()[0]).to(device)
    position = torch.full((selected.size,), len(indices), device=device)
    position[indices] = torch.arange(len(indices), device=device)
    return indices, position


def _shape_and_material(class_id: int) -> tuple[str, str]:
    return class_attributes(class_id)[:2]


def _chunks(n_blocks: int, n_pixels: int, device: torch.device) -> Iterator[slice]:
    """Blocks of `n_pixels` pixels that are computed at once."""
    size = pixels_per_batch(device) // n_pixels
    return (slice(start, start + size) for start in range(0, max(n_blocks, 1), size))


def _cast_objects(
    objects: list[RenderedObjects], position: Tensor, n_selected: int, blocks: PixelBlocks
) -> tuple[Tensor, Tensor]:
    """(3, K, P) light from the objects and (K, P) share of each pixel that they cover, in K = n_selected blocks.

    position: each block's position among the K, from `_selected_blocks`. Blocks that are not selected are written to
    row K, which is discarded.
    """
    n_rays, n_pixels = len(ANTIALIASING), blocks.n_pixels
    nearest = torch.full(((n_selected + 1) * n_pixels, n_rays), BEYOND_DEPTH, device=position.device)
    hits = []
    for rendered in objects:
        for window in rendered.window_lights():
            block = blocks.block_of_pixel.index_select(0, window.pixels.view(-1)).view(window.pixels.shape)
            frame_block = (window.frames[:, None] * len(blocks.edges) + block).view(-1)
            target = position.index_select(0, frame_block) * n_pixels
            target += blocks.offset_in_block.index_select(0, window.pixels.view(-1))
            depth = rearrange(window.depth, "rays windows pixels -> windows pixels rays").contiguous()
            depth = depth.index_select(0, window.windows).view(-1, n_rays)
            nearest.index_copy_(0, target, torch.minimum(depth, nearest.index_select(0, target)))
            hits.append((target, depth, window.light.index_select(1, window.windows).view(3, -1)))
    total = torch.zeros((3, (n_selected + 1) * n_pixels), device=position.device)
    covered = torch.zeros_like(total[0])
    equal_shares = torch.full((n_rays,), 1 / n_rays, device=position.device)
    for target, depth, light in hits:
        share = (depth <= nearest.index_select(0, target)).float() @ equal_shares
        covered.index_add_(0, target, share)
        for channel in range(3):
            total[channel].index_add_(0, target, light[channel] * share)
    return total.view(3, -1, n_pixels)[:, :n_selected], covered.view(-1, n_pixels)[:n_selected]


def _shade_ground(objects: list[RenderedObjects], position: Tensor, light: Tensor) -> Tensor:
    """(3, K, P) linear light of the ground in the objects' shadows.

    position: each block's position among the K, from `_selected_blocks`
    light: (5, K, P) light of the empty ground by lamp; it is overwritten
    """
    appearance, n_blocks = appearance_tensors(position.device), light.shape[1]
    lamp_rows, bounced = light.view(-1, light.shape[2]), torch.zeros_like(light[:3])
    for rendered in objects:
        for lamp, frame_block, visible in rendered.shadows.visible_lamp_shares():
            row = position.index_select(0, frame_block) + lamp * n_blocks
            lamp_rows.index_copy_(0, row, lamp_rows.index_select(0, row).mul_(visible))
        bounced_colours = rendered.bounced_colours()[:, :, None]
        for pose, frame_block, hidden in rendered.shadows.hidden_sky_shares():
            row = position.index_select(0, frame_block)
            visible = 1 - (appearance.ambient_occlusion * hidden).clamp_max_(1)
            light[4].index_copy_(0, row, light[4].index_select(0, row).mul_(visible))
            for light_of_channel, colours in zip(bounced, bounced_colours, strict=True):
                light_of_channel.index_add_(0, row, colours.index_select(0, pose) * hidden)
    for chunk in _chunks(n_blocks, light.shape[2], light.device):
        part = bounced[:, chunk]
        part += (light_colours(appearance) @ light[:, chunk].flatten(1)).view_as(part)
    return bounced
