"""Augmentation of a whole batch at once, on the device where it is, with other random numbers for each picture.

The changes have the distributions of `transforms.AUGMENTATIONS`, which change one picture after another: on a GPU that
takes longer than the training.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision.transforms import v2

from vidseg_utils.classes import IGNORE_INDEX
from vidseg_utils.data.transforms import CropAndResize, ObjectCrop, Transform, object_window_size

Batch = tuple[UInt8[Tensor, "B 3 H W"], UInt8[Tensor, "B H W"]]  # pictures and masks
CROP_TRIES = 10  # of `v2.RandomResizedCrop`, before it takes the whole picture
LEVELS = 255.0
GREY = (0.2989, 0.587, 0.114)  # weights of red, green and blue, as in torchvision


def has_batch_form(transform: Transform | None) -> bool:
    """Whether `augment_batch` knows the transform."""
    return transform is None or all(type(part) in BATCH_FORMS for part in _parts(transform))


def augment_batch(
    transform: Transform | None, pictures: UInt8[Tensor, "B 3 H W"], masks: UInt8[Tensor, "B H W"]
) -> Batch:
    """Change every picture, and its mask with it, at random; random numbers from the global generator of the device."""
    for part in _parts(transform):
        pictures, masks = BATCH_FORMS[type(part)](part, pictures, masks)
    return pictures, masks


def _parts(transform: Transform | None) -> list[Transform]:
    if transform is None:
        return []
    return list(transform.transforms) if isinstance(transform, v2.Compose) else [transform]


def _uniform(pictures: Tensor, low: float, high: float, *shape: int) -> Tensor:
    """Uniform random numbers, `shape` of them for each picture."""
    return low + (high - low) * torch.rand(len(pictures), *shape, device=pictures.device)


def _flip(axis: int) -> Callable[..., Batch]:
    def flip(transform: v2.RandomHorizontalFlip | v2.RandomVerticalFlip, pictures: Tensor, masks: Tensor) -> Batch:
        flipped = _uniform(pictures, 0, 1) < transform.p
        return (
            torch.where(flipped[:, None, None, None], pictures.flip(axis), pictures),
            torch.where(flipped[:, None, None], masks.flip(axis), masks),
        )

    return flip


def _crop_and_resize(transform: CropAndResize, pictures: Tensor, masks: Tensor) -> Batch:
    height, width = masks.shape[1:]
    (low, high), (narrow, broad) = transform.scale, transform.ratio(height, width)
    area = height * width * _uniform(pictures, low, high, CROP_TRIES)
    aspect = _uniform(pictures, math.log(narrow), math.log(broad), CROP_TRIES).exp()
    heights, widths = (area / aspect).sqrt().round(), (area * aspect).sqrt().round()
    fits = (heights <= height) & (widths <= width)  # (B, tries)
    first = fits.int().argmax(dim=1, keepdim=True)
    some_fit = fits.any(dim=1)
    crop_height, crop_width = (
        sizes.gather(1, first)[:, 0].where(some_fit, torch.full_like(some_fit, side, dtype=sizes.dtype))
        for sizes, side in ((heights, height), (widths, width))
    )
    top = (_uniform(pictures, 0, 1) * (height - crop_height + 1)).floor()
    left = (_uniform(pictures, 0, 1) * (width - crop_width + 1)).floor()
    return resize_crops(pictures, masks, top=top, left=left, height=crop_height, width=crop_width)


def resize_crops(
    pictures: UInt8[Tensor, "B 3 H W"],
    masks: UInt8[Tensor, "B H W"],
    *,
    top: Float[Tensor, " B"],
    left: Float[Tensor, " B"],
    height: Float[Tensor, " B"],
    width: Float[Tensor, " B"],
) -> Batch:
    """Enlarge one window of every picture to the picture's size: bilinear; of masks, the nearest label."""
    each = torch.arange(len(pictures), device=pictures.device)[:, None]
    values, nearest = pictures.float(), []
    for start, size, n in ((top, height, masks.shape[1]), (left, width, masks.shape[2])):
        target, scale, start = torch.arange(n, device=pictures.device), (size / n)[:, None], start.long()[:, None]
        nearest.append(start + (target * scale).long())
        position = ((target + 0.5) * scale - 0.5).clamp(min=0).minimum(size[:, None] - 1)  # (B, n)
        before = position.long()
        after = (before + 1).minimum(size[:, None].long() - 1)
        share = (position - before)[..., None, None]
        rows = values.movedim(2, 1)  # (B, side, 3, other side)
        values = torch.lerp(rows[each, start + before], rows[each, start + after], share)  # (B, n, 3, other side)
        values = values.permute(0, 2, 3, 1)  # (B, 3, other side, n): the other side is next
    return values.round().to(torch.uint8), masks[each[..., None], nearest[0][:, :, None], nearest[1][:, None, :]]


def _object_crop(transform: ObjectCrop, pictures: Tensor, masks: Tensor) -> Batch:
    height, width = masks.shape[1:]
    objects = ((masks > 0) & (masks != IGNORE_INDEX)).flatten(1)  # (B, H*W)
    before = objects.cumsum(dim=1, dtype=torch.int32)
    rank = (_uniform(pictures, 0, 1, 1) * before[:, -1:]).int() + 1  # which of the object's pixels, from 1
    pixel = torch.searchsorted(before, rank)[:, 0]
    anywhere = (_uniform(pictures, 0, 1) * height * width).long()
    pixel = pixel.where(objects.any(dim=1), anywhere)
    crop_height, crop_width = object_window_size((height, width))
    rows, columns = (
        (position - (_uniform(pictures, 0, 1) * size).long()).clamp(min=0).clamp(max=side - size)[:, None]
        + torch.arange(size, device=pictures.device)
        for position, size, side in ((pixel // width, crop_height, height), (pixel % width, crop_width, width))
    )
    each = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    rows, columns = rows[:, :, None], columns[:, None, :]
    return pictures.movedim(1, -1)[each, rows, columns].movedim(-1, 1), masks[each, rows, columns]


def _rotate(transform: v2.RandomRotation, pictures: Tensor, masks: Tensor) -> Batch:
    low, high = transform.degrees
    return rotate(pictures, masks, degrees=_uniform(pictures, low, high))


def rotate(pictures: UInt8[Tensor, "B 3 H W"], masks: UInt8[Tensor, "B H W"], *, degrees: Float[Tensor, " B"]) -> Batch:
    """Turn pictures (bilinear) and masks (nearest label) about their centre, counterclockwise.

    From outside come black pixels, and the label 255.
    """
    height, width = masks.shape[1:]
    y, x = (torch.arange(n, device=pictures.device) + 0.5 - n / 2 for n in (height, width))
    cosine, sine = (function(degrees.deg2rad())[:, None, None] for function in (torch.cos, torch.sin))
    across, down = cosine * x - sine * y[:, None], sine * x + cosine * y[:, None]  # (B, H, W): where a pixel comes from
    grid = torch.stack([across / (0.5 * width), down / (0.5 * height)], dim=-1)
    planes = torch.cat([pictures, torch.ones_like(masks)[:, None]], dim=1).float()
    *colours, inside = grid_sample(planes, grid, align_corners=False).unbind(dim=1)
    labels = torch.stack([masks, torch.ones_like(masks)], dim=1).float()
    label, known = grid_sample(labels, grid, mode="nearest", align_corners=False).unbind(dim=1)
    turned = (torch.stack(colours, dim=1) * inside[:, None]).round().to(torch.uint8)
    return turned, label.to(torch.uint8).where(known > 0.5, torch.full_like(masks, IGNORE_INDEX))


def _jitter(transform: v2.ColorJitter, pictures: Tensor, masks: Tensor) -> Batch:
    order = torch.rand(len(pictures), 4, device=pictures.device).argsort(dim=1)
    ranges = (transform.brightness, transform.contrast, transform.saturation, transform.hue)
    changes = [
        (number, change, _uniform(pictures, bounds[0], bounds[1], 1, 1, 1))
        for number, (change, bounds) in enumerate(zip((brighten, contrast, saturate, shift_hue), ranges, strict=True))
        if bounds is not None
    ]
    values = pictures.float()
    for position in range(4):
        for number, change, amount in changes:
            chosen = (order[:, position] == number)[:, None, None, None]
            values = torch.where(chosen, change(values, amount), values)
    return values.to(torch.uint8), masks


def _blend(values: Tensor, other: Tensor | float, factor: Tensor) -> Tensor:
    """`other` at factor 0, `values` at 1, beyond at more; rounded down, as torchvision does for whole numbers."""
    return (factor * values + (1 - factor) * other).clamp(0, LEVELS).floor()


def _grey(values: Tensor) -> Tensor:
    red, green, blue = values.split(1, dim=1)
    return (GREY[0] * red + GREY[1] * green + GREY[2] * blue).floor()


def brighten(values: Float[Tensor, "B 3 H W"], factor: Float[Tensor, "B 1 1 1"]) -> Float[Tensor, "B 3 H W"]:
    """values: whole numbers 0..255"""
    return _blend(values, 0.0, factor)


def contrast(values: Float[Tensor, "B 3 H W"], factor: Float[Tensor, "B 1 1 1"]) -> Float[Tensor, "B 3 H W"]:
    """values: whole numbers 0..255"""
    return _blend(values, _grey(values).mean(dim=(1, 2, 3), keepdim=True), factor)


def saturate(values: Float[Tensor, "B 3 H W"], factor: Float[Tensor, "B 1 1 1"]) -> Float[Tensor, "B 3 H W"]:
    """values: whole numbers 0..255"""
    return _blend(values, _grey(values), factor)


def shift_hue(values: Float[Tensor, "B 3 H W"], turn: Float[Tensor, "B 1 1 1"]) -> Float[Tensor, "B 3 H W"]:
    """values: whole numbers 0..255; turn: in [-0.5, 0.5], where 1 is the whole circle of colours"""
    largest, span = (
        values.amax(dim=1, keepdim=True),
        values.amax(dim=1, keepdim=True) - values.amin(dim=1, keepdim=True),
    )
    red, green, blue = values.split(1, dim=1)
    sextant = torch.where(
        largest == red, green - blue, torch.where(largest == green, blue - red + 2 * span, red - green + 4 * span)
    )
    sextant = sextant / span.clamp(min=1) + 6 * turn  # of grey pixels the span is 0, so their hue does not matter
    offsets = torch.arange(5, 0, -2, device=values.device).view(1, 3, 1, 1)  # 5, 3, 1
    k = (sextant + offsets) % 6
    new = largest - span * torch.minimum(k, 4 - k).clamp(0, 1)
    return (new / LEVELS * (LEVELS + 1 - 1e-3)).floor().clamp(0, LEVELS)


BATCH_FORMS: dict[type, Callable[..., Batch]] = {
    v2.Identity: lambda transform, pictures, masks: (pictures, masks),
    v2.RandomHorizontalFlip: _flip(-1),
    v2.RandomVerticalFlip: _flip(-2),
    CropAndResize: _crop_and_resize,
    ObjectCrop: _object_crop,
    v2.RandomRotation: _rotate,
    v2.ColorJitter: _jitter,
}
