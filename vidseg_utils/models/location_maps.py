"""Where objects will be: the form in which SimVP on masks forecasts single objects.

An object of the past keeps its look; what the future changes is its place. So the answer for an object and a frame is a
probability for every cell of a coarse map around the place where the object was last seen, and for not being seen at
all: a heat map, as in the estimation of human poses (Tompson et al., 2014). Drawing moves its last mask to all of them.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vidseg_utils.classes import IGNORE_INDEX, N_CLASSES

NEVER = -30.0  # logit of a class that cannot be
VELOCITY_FRAMES = 5  # the last frames that show an object, over which its velocity is measured
CLAIM = 0.2  # the Jaccard index J gains from a pixel whose class is likelier than J / (1 + J), 0.2 to 0.3 here


class Places(NamedTuple):
    """The forecast of N objects of B clips over T frames, on maps of h x w cells of `cell` pixels each."""

    logits: Tensor  # (N, T, h*w + 1): of the cells, row by row, and of being seen nowhere
    clip: Tensor  # (N,) the clip of an object
    channel: Tensor  # (N,) its place in class_ids
    class_ids: Tensor  # (B, K): 0, those of the clip's objects, then 255
    start: Tensor  # (N, 2) cells: where it was last seen, row and column; the middle of its map
    shape: Tensor  # (N, H, W) bool: its mask there
    size: tuple[int, int]  # (h, w)
    cell: int


def own_channels(masks: Tensor, class_ids: Tensor) -> Tensor:
    """masks: (B, T, H, W) class ids -> their places in class_ids (B, K), 255 for a class that isn't among them."""
    table = torch.full((len(masks), IGNORE_INDEX + 1), IGNORE_INDEX, device=masks.device)
    table.scatter_(1, class_ids, torch.arange(class_ids.shape[1], device=masks.device).expand_as(class_ids))
    table[:, IGNORE_INDEX] = IGNORE_INDEX
    return table.gather(1, masks.flatten(1).long()).view(masks.shape)


def shares(channels: Tensor, n_channels: int, cell: int) -> Tensor:
    """channels: (B, T, H, W), others than 0..K-1 count as 0 -> (B, T, K, h, w) in [0, 1]: how much of a cell is whose.

    Cells that reach over the edge are averaged over what lies inside.
    """
    (n_clips, n_frames, height, width), device = channels.shape, channels.device
    rows, columns = (torch.arange(n, device=device) // cell for n in (height, width))
    size = -(-height // cell), -(-width // cell)  # (h, w)
    cells = rows[:, None] * size[1] + columns  # (H, W)
    planes = n_channels * torch.arange(n_clips * n_frames, device=device).view(n_clips, n_frames, 1, 1)
    planes = planes + channels.where(channels < n_channels, 0)
    shape = (n_clips, n_frames, n_channels, *size)
    counts = torch.bincount((planes * size[0] * size[1] + cells).flatten(), minlength=math.prod(shape)).view(shape)
    return counts / torch.bincount(cells.flatten()).view(size)


def centroids(planes: Tensor) -> Tensor:
    """planes: (..., h, w) >= 0 -> (..., 2) row and column of the middle, in cells; NaN for an empty plane."""
    height, width = planes.shape[-2:]
    row = (planes.sum(-1) * (torch.arange(height, device=planes.device) + 0.5)).sum(-1)
    column = (planes.sum(-2) * (torch.arange(width, device=planes.device) + 0.5)).sum(-1)
    return torch.stack([row, column], dim=-1) / planes.sum((-1, -2))[..., None]


def last_seen(track: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """track: (N, T, 2), NaN where an object is not seen -> its last frame (N,), place and velocity a frame (N, 2).

    The velocity is that of the straight line through its places in VELOCITY_FRAMES frames, by least squares; 0 for one.
    """
    seen = ~track[..., 0].isnan()  # (N, T)
    frames = torch.arange(track.shape[1], device=track.device)
    last = (seen * frames).argmax(dim=1)
    time = frames - last[:, None]  # (N, T), <= 0
    weights = (seen & (time <= 0) & (time > -VELOCITY_FRAMES)).to(track.dtype)
    weights = (weights / weights.sum(dim=1, keepdim=True).clamp(min=1))[..., None]  # (N, T, 1)
    track, time = track.nan_to_num(), time[..., None].to(track.dtype)
    time = time - (weights * time).sum(dim=1, keepdim=True)
    velocity = (weights * time * track).sum(dim=1) / (weights * time.square()).sum(dim=1).clamp(min=1e-3)
    return last, track[torch.arange(len(track), device=track.device), last], velocity


def around(planes: Tensor, clip: Tensor, middle: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut a window out of a clip for every object, 0 outside the picture.

    planes: (B, T, K, H, W); clip: (N,); middle: (N, 2) cells; size: (h, w) -> (N, T, K, h, w), and the middle in its
    cell (h // 2, w // 2)
    """
    top, left = size[0] // 2, size[1] // 2
    planes = F.pad(planes, (left, size[1] - left, top, size[0] - top)).permute(0, 3, 4, 1, 2)  # (B, H', W', T, K)
    row, column = middle.floor().long().unbind(dim=1)
    rows = row[:, None] + torch.arange(size[0], device=row.device)  # (N, h)
    columns = column[:, None] + torch.arange(size[1], device=row.device)  # (N, w)
    return planes[clip[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 4, 1, 2)


def place_losses(places: Places, future: Tensor) -> Tensor:
    """Cross-entropy of the true places: future (B, T', H, W) class ids, T' <= T -> (T',), the mean over the objects.

    The middle of the true mask is shared out among the four cells around it; one that is beyond the map counts at its
    edge.
    """
    (height, width), n_frames = places.size, future.shape[1]
    planes = shares(own_channels(future, places.class_ids), places.class_ids.shape[1], places.cell)
    place = centroids(planes[places.clip, :, places.channel])  # (N, T', 2)
    place = place - places.start[:, None] + torch.tensor([height // 2, width // 2], device=place.device)
    nowhere = place[..., 0].isnan()
    row, column = (place[..., i].nan_to_num().clamp(0, n - 1.0001) for i, n in enumerate((height, width)))
    cell = row.floor().long() * width + column.floor().long()
    down, right = row.frac(), column.frac()
    cells = torch.stack([cell, cell + 1, cell + width, cell + width + 1], dim=-1)  # (N, T', 4)
    parts = torch.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], dim=-1)
    cells = cells.masked_fill(nowhere[..., None], height * width)
    log_probabilities = places.logits[:, :n_frames].float().log_softmax(dim=-1)
    return -(log_probabilities.gather(-1, cells) * parts).sum(dim=-1).mean(dim=0)


def pixel_chances(places: Places) -> Tensor:
    """How likely a pixel belongs to an object: (N, T, H, W) in [0, 1].

    That is its last mask at every place, each as likely as the place: a convolution, by the fast Fourier transform.
    """
    height, width = places.shape.shape[1:]
    chances = places.logits.float().softmax(dim=-1)[..., :-1].unflatten(-1, places.size)  # (N, T, h, w)
    canvas = [full + places.cell * n for full, n in zip((height, width), places.size, strict=True)]  # nothing wraps
    moves = chances.new_zeros(*chances.shape[:2], *canvas)  # by so many pixels; upwards and to the left at the end
    rows, columns = (
        places.cell * (torch.arange(n, device=chances.device) - n // 2) % full
        for n, full in zip(places.size, canvas, strict=True)
    )
    moves[..., rows[:, None], columns] = chances
    spectrum = torch.fft.rfft2(places.shape[:, None].float(), s=canvas) * torch.fft.rfft2(moves)
    return torch.fft.irfft2(spectrum, s=canvas)[..., :height, :width].clamp(0, 1)


@torch.no_grad()
def moved(places: Places) -> Tensor:
    """(B, T, H, W) class ids: each object's last mask where it is expected to be, as the input of a next step.

    An object that is likelier to be seen nowhere is left out. Where two overlap, the lower one stands in front.
    """
    (height, width), chances = places.shape.shape[1:], places.logits.float().softmax(dim=-1)
    middle = torch.tensor([n // 2 + 0.5 for n in places.size], device=chances.device)
    ways = centroids(chances[..., :-1].unflatten(-1, places.size)) - middle  # (N, T, 2) cells
    ways = ways.nan_to_num()  # of an object that is nowhere for certain
    class_id = places.class_ids[places.clip, places.channel]  # (N,)
    down, right = (places.cell * ways).round().long().unbind(dim=-1)  # (N, T) pixels
    rows = torch.arange(height, device=chances.device) - down[..., None]  # (N, T, H): where a pixel comes from
    columns = torch.arange(width, device=chances.device) - right[..., None]  # (N, T, W)
    inside = ((rows >= 0) & (rows < height))[..., None] & ((columns >= 0) & (columns < width))[..., None, :]
    objects = torch.arange(len(rows), device=chances.device)[:, None, None, None]
    masks = places.shape[objects, rows.clamp(0, height - 1)[..., None], columns.clamp(0, width - 1)[..., None, :]]
    masks = masks & inside & (chances[..., -1] < 0.5)[..., None, None]  # (N, T, H, W)
    front = places.start[:, None, 0] + ways[..., 0]  # (N, T)
    front = front - front.min() + 1  # > 0
    ranks = front.new_zeros(len(places.class_ids), masks.shape[1], N_CLASSES, height, width)
    ranks[places.clip, :, class_id] = masks * front[..., None, None]
    return ranks.argmax(dim=2)


def paint(places: Places, *, last: int | None = None) -> Tensor:
    """(B, T or last, 49, H, W) logits: where a pixel's chance of belonging to an object exceeds CLAIM, above 0.

    The background's is 0. last: only the last so many frames.
    """
    if last is not None:
        places = places._replace(logits=places.logits[:, -last:])
    score = (pixel_chances(places).clamp(min=1e-6) / CLAIM).log()  # (N, T, H, W)
    logits = score.new_full((len(places.class_ids), score.shape[1], N_CLASSES, *score.shape[2:]), NEVER)
    logits[:, :, 0] = 0
    logits[places.clip, :, places.class_ids[places.clip, places.channel]] = score
    return logits
