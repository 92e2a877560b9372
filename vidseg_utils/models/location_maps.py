"""Location maps: SimVP on masks forecasts for each object where it will be, as a probability map.

An object keeps its mask and changes its position. The forecast for one object and one frame is therefore a probability
for every cell of a coarse map around the object's last position, and one for not being visible: a heat map, as in human
pose estimation (Tompson et al., 2014). The object's last mask, moved to all cells, turns the map into pixels.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor
from torch.nn import functional as F

from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX, N_CLASSES
from vidseg_utils.metrics import drawing_threshold
from vidseg_utils.models.class_filter import IMPOSSIBLE_LOGIT

VELOCITY_FRAMES = 5  # an object's velocity is measured over this many of the last frames that show it
OBJECT_PROBABILITY = drawing_threshold(0.25)  # a pixel is drawn as an object from this probability on


class LocationMaps(NamedTuple):
    """The forecast for N objects of B clips over T frames, on maps of h x w cells of `cell` x `cell` pixels."""

    logits: Float[Tensor, "N T h*w+1"]  # the logits of the cells, row by row, then the logit of not being visible
    clip_index: Int[Tensor, " N"]  # the clip that shows the object
    channel: Int[Tensor, " N"]  # index of the object's class in its clip's class_ids
    class_ids: Int[Tensor, "B K"]  # 0, then the classes of the clip's objects, then 255
    position: Float[Tensor, "N 2"]  # row and column, in cells, where the object was last seen: the centre of its map
    mask: Bool[Tensor, "N H W"]  # the object's mask there
    map_size: tuple[int, int]  # (h, w)
    cell: int  # side of a cell in pixels


def to_channel_indices(masks: Integer[Tensor, "B T H W"], class_ids: Int[Tensor, "B K"]) -> Int[Tensor, "B T H W"]:
    """Replace class ids by their indices in class_ids; 255 for a class that is not among them."""
    table = torch.full((len(masks), IGNORE_INDEX + 1), IGNORE_INDEX, device=masks.device)
    table.scatter_(1, class_ids, torch.arange(class_ids.shape[1], device=masks.device).expand_as(class_ids))
    table[:, IGNORE_INDEX] = IGNORE_INDEX
    return table.gather(1, masks.flatten(1).long()).view(masks.shape)


def cell_occupancy(channels: Int[Tensor, "B T H W"], n_channels: int, cell: int) -> Float[Tensor, "B T K h w"]:
    """Share of each cell's pixels that belong to each of `n_channels` channels, in [0, 1].

    channels: indices; others than 0..n_channels - 1 count as 0
    cell: side of a cell in pixels; a cell that crosses the picture's edge is averaged over its part inside
    """
    (n_clips, n_frames, height, width), device = channels.shape, channels.device
    rows, columns = (torch.arange(n, device=device) // cell for n in (height, width))
    map_height, map_width = -(-height // cell), -(-width // cell)
    cells = rows[:, None] * map_width + columns  # (H, W)
    planes = n_channels * torch.arange(n_clips * n_frames, device=device).view(n_clips, n_frames, 1, 1)
    planes = planes + channels.where(channels < n_channels, 0)
    shape = (n_clips, n_frames, n_channels, map_height, map_width)
    indices = planes * map_height * map_width + cells  # (B, T, H, W)
    counts = torch.bincount(indices.flatten(), minlength=math.prod(shape)).view(shape)
    return counts / torch.bincount(cells.flatten()).view(map_height, map_width)


def centroids(planes: Float[Tensor, "*N h w"]) -> Float[Tensor, "*N 2"]:
    """Row and column, in cells, of each plane's centre of mass; NaN for an empty plane. planes: at least 0."""
    height, width = planes.shape[-2:]
    row = (planes.sum(-1) * (torch.arange(height, device=planes.device) + 0.5)).sum(-1)
    column = (planes.sum(-2) * (torch.arange(width, device=planes.device) + 0.5)).sum(-1)
    return torch.stack([row, column], dim=-1) / planes.sum((-1, -2))[..., None]


def estimate_motion(
    track: Float[Tensor, "N T 2"],
) -> tuple[Int[Tensor, " N"], Float[Tensor, "N 2"], Float[Tensor, "N 2"]]:
    """The frame in which each object was last seen, its position in it, and its velocity per frame.

    track: positions, NaN where an object is not seen. The velocity is the slope of a least-squares line through the
    positions of the last VELOCITY_FRAMES frames; 0 where only one of them shows the object.
    """
    seen = ~track[..., 0].isnan()  # (N, T)
    frames = torch.arange(track.shape[1], device=track.device)
    last_frame = (seen * frames).argmax(dim=1)
    time = frames - last_frame[:, None]  # (N, T), <= 0
    weights = (seen & (time <= 0) & (time > -VELOCITY_FRAMES)).to(track.dtype)
    weights = (weights / weights.sum(dim=1, keepdim=True).clamp(min=1))[..., None]  # (N, T, 1)
    track, time = track.nan_to_num(), time[..., None].to(track.dtype)
    time = time - (weights * time).sum(dim=1, keepdim=True)
    velocity = (weights * time * track).sum(dim=1) / (weights * time.square()).sum(dim=1).clamp(min=1e-3)
    return last_frame, track[torch.arange(len(track), device=track.device), last_frame], velocity


def crop_windows(
    planes: Float[Tensor, "B T K H W"],
    clip_index: Int[Tensor, " N"],
    centre: Float[Tensor, "N 2"],
    size: tuple[int, int],
) -> Float[Tensor, "N T K h w"]:
    """Cut a window of `size` = (h, w) cells for every object from its clip, 0 outside the picture.

    centre: row and column in cells; it comes to lie in the window's cell (h // 2, w // 2)
    """
    top, left = size[0] // 2, size[1] // 2
    planes = F.pad(planes, (left, size[1] - left, top, size[0] - top)).permute(0, 3, 4, 1, 2)  # (B, H', W', T, K)
    row, column = centre.floor().long().unbind(dim=1)
    rows = row[:, None] + torch.arange(size[0], device=row.device)  # (N, h)
    columns = column[:, None] + torch.arange(size[1], device=row.device)  # (N, w)
    return planes[clip_index[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 4, 1, 2)


def location_losses(maps: LocationMaps, future: Integer[Tensor, "B T H W"]) -> Float[Tensor, " T"]:
    """Cross-entropy of the true locations, per frame: the mean over the objects.

    future: true class ids of the first T of the forecast frames
    The centroid of the true mask is distributed over the four cells around it (bilinear weights). A centroid outside
    the map counts at the map's edge.
    """
    (height, width), n_frames = maps.map_size, future.shape[1]
    channels = to_channel_indices(future, maps.class_ids)
    planes = cell_occupancy(channels, maps.class_ids.shape[1], maps.cell)
    position = centroids(planes[maps.clip_index, :, maps.channel])  # (N, T, 2)
    position = position - maps.position[:, None]
    invisible = position[..., 0].isnan()
    row, column = ((position[..., i] + n // 2).nan_to_num().clamp(0, n - 1.0001) for i, n in enumerate((height, width)))
    cell = row.floor().long() * width + column.floor().long()
    down, right = row.frac(), column.frac()
    cells = torch.stack([cell, cell + 1, cell + width, cell + width + 1], dim=-1)  # (N, T, 4)
    weights = torch.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], dim=-1)
    cells = cells.masked_fill(invisible[..., None], height * width)
    log_probabilities = maps.logits[:, :n_frames].float().log_softmax(dim=-1)
    return -(log_probabilities.gather(-1, cells) * weights).sum(dim=-1).mean(dim=0)


def pixel_probabilities(maps: LocationMaps) -> Float[Tensor, "N T H W"]:
    """Probability in [0, 1] that a pixel belongs to an object.

    Each cell's probability is given to the object's last mask, moved to that cell. The sum over all cells is a
    convolution, computed by the fast Fourier transform.
    """
    height, width = maps.mask.shape[1:]
    probabilities = maps.logits.float().softmax(dim=-1)[..., :-1].unflatten(-1, maps.map_size)  # (N, T, h, w)
    # The canvas is so large that a mask which leaves the picture does not come back on the other side.
    canvas = [full + maps.cell * n for full, n in zip((height, width), maps.map_size, strict=True)]
    shifts = probabilities.new_zeros(*probabilities.shape[:2], *canvas)  # by pixels; negative ones count from the end
    rows, columns = (
        maps.cell * (torch.arange(n, device=probabilities.device) - n // 2) % full
        for n, full in zip(maps.map_size, canvas, strict=True)
    )
    shifts[..., rows[:, None], columns] = probabilities
    spectrum = torch.fft.rfft2(maps.mask[:, None].float(), s=canvas) * torch.fft.rfft2(shifts)
    return torch.fft.irfft2(spectrum, s=canvas)[..., :height, :width].clamp(0, 1)


@torch.no_grad()
def move_masks(maps: LocationMaps) -> Int[Tensor, "B T H W"]:
    """Class ids of the forecast frames: each object's last mask at its expected position, as input of the next step.

    An object whose probability of not being visible is 0.5 or more is left out. Where two masks overlap, the lower one
    in the picture is in front.
    """
    (height, width), probabilities = maps.mask.shape[1:], maps.logits.float().softmax(dim=-1)
    centre = torch.tensor([n // 2 + 0.5 for n in maps.map_size], device=probabilities.device)
    shifts = centroids(probabilities[..., :-1].unflatten(-1, maps.map_size)) - centre  # (N, T, 2) cells
    shifts = shifts.nan_to_num()  # NaN where the object is certainly invisible
    class_id = maps.class_ids[maps.clip_index, maps.channel]  # (N,)
    down, right = (maps.cell * shifts).round().long().unbind(dim=-1)  # (N, T) pixels
    rows = torch.arange(height, device=probabilities.device) - down[..., None]  # (N, T, H): source of each pixel
    columns = torch.arange(width, device=probabilities.device) - right[..., None]  # (N, T, W)
    inside = ((rows >= 0) & (rows < height))[..., None] & ((columns >= 0) & (columns < width))[..., None, :]
    objects = torch.arange(len(rows), device=probabilities.device)[:, None, None, None]
    masks = maps.mask[objects, rows.clamp(0, height - 1)[..., None], columns.clamp(0, width - 1)[..., None, :]]
    masks = masks & inside & (probabilities[..., -1] < 0.5)[..., None, None]  # (N, T, H, W)
    rank = maps.position[:, None, 0] + shifts[..., 0]  # (N, T), larger in front
    rank = rank - rank.min() + 1  # > 0
    ranks = rank.new_zeros(len(maps.class_ids), masks.shape[1], N_CLASSES, height, width)
    ranks[maps.clip_index, :, class_id] = masks * rank[..., None, None]
    return ranks.argmax(dim=2)


def maps_to_logits(maps: LocationMaps, *, last_frames: int | None = None) -> Float[Tensor, "B T 49 H W"]:
    """Logits of the classes: 0 for the background, above 0 for an object with more than OBJECT_PROBABILITY.

    last_frames: how many of the last frames to return; None: all
    """
    if last_frames is not None:
        maps = maps._replace(logits=maps.logits[:, -last_frames:])
    score = (pixel_probabilities(maps).clamp(min=1e-6) / OBJECT_PROBABILITY).log()  # (N, T, H, W)
    logits = score.new_full((len(maps.class_ids), score.shape[1], N_CLASSES, *score.shape[2:]), IMPOSSIBLE_LOGIT)
    logits[:, :, 0] = 0
    logits[maps.clip_index, :, maps.class_ids[maps.clip_index, maps.channel]] = score
    return logits


def object_probabilities(logits: Float[Tensor, "B 49 H W"]) -> Float[Tensor, "B 49 H W"]:
    """Probabilities of the classes, which sum to 1, from the logits of `maps_to_logits`.

    The background's is the probability that no object is there, as if the objects were independent.
    """
    objects = (OBJECT_PROBABILITY * logits[:, BACKGROUND + 1 :].exp()).clamp(max=1)
    shares = torch.cat([(1 - objects).prod(dim=1, keepdim=True), objects], dim=1)
    return shares / shares.sum(dim=1, keepdim=True)
