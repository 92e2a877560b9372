"""Augmentation of a picture and its mask together, with torchvision.transforms.v2; all frames of a clip change alike.

Pixels that come from outside the picture get the label 255, so neither loss nor score counts them.
"""

import math
from collections.abc import Callable

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from vidseg_utils.classes import IGNORE_INDEX

Transform = Callable[..., tuple[torch.Tensor, ...] | torch.Tensor]  # takes and returns tv_tensors, as those of v2 do


class CropAndResize:
    """A random part (60 to 100 % of the area, nearly the same aspect) scaled back to the size of the picture."""

    def __call__(self, pictures: torch.Tensor, *masks: torch.Tensor):
        """Pictures (…, 3, H, W) and masks (…, H, W), as tv_tensors."""
        height, width = pictures.shape[-2:]
        ratio = (0.9 * width / height, 1.1 * width / height)
        return v2.RandomResizedCrop((height, width), scale=(0.6, 1.0), ratio=ratio, antialias=True)(pictures, *masks)


class ObjectCrop:
    """A window of a quarter of the sides (rounded up to a multiple of 16) around a random pixel of an object.

    Most of a picture is empty floor; a batch of windows shows more objects for the same work. Without an object, or
    without a mask, the window lies anywhere.
    """

    def __call__(self, pictures: torch.Tensor, *masks: torch.Tensor):
        """Pictures (…, 3, H, W) and masks (…, H, W), as tv_tensors."""
        size = [min(side, 16 * math.ceil(side / 64)) for side in pictures.shape[-2:]]
        objects = (masks[0] > 0) & (masks[0] != IGNORE_INDEX) if masks else torch.zeros(pictures.shape[-2:])
        places = objects.nonzero()[:, -2:]
        sides = torch.tensor(pictures.shape[-2:])
        middle = places[torch.randint(len(places), ())] if len(places) else (torch.rand(2) * sides).long()
        offset = (torch.rand(2) * torch.tensor(size)).long()
        corner = torch.minimum((middle - offset).clamp(min=0), sides - torch.tensor(size)).tolist()
        cropped = [v2.functional.crop(item, *corner, *size) for item in (pictures, *masks)]
        return cropped if masks else cropped[0]


AUGMENTATIONS = {
    "hflip": lambda: v2.RandomHorizontalFlip(0.5),
    "vflip": lambda: v2.RandomVerticalFlip(0.5),
    "crop": CropAndResize,
    "object_crop": ObjectCrop,
    "rotate": lambda: v2.RandomRotation(
        degrees=10,
        interpolation=v2.InterpolationMode.BILINEAR,  # of pictures; v2 takes the nearest label for masks
        fill={tv_tensors.Mask: IGNORE_INDEX, "others": 0},
    ),
}


def build_augmentation(*names: str) -> Transform:
    """A transform made of the named ones, in that order, such as build_augmentation("hflip", "crop")."""
    for name in names:
        if name not in AUGMENTATIONS:
            raise ValueError(f"unknown augmentation {name!r}; choose from {list(AUGMENTATIONS)}")
    return v2.Compose([AUGMENTATIONS[name]() for name in names] or [v2.Identity()])


def augment(
    transform: Transform, pictures: torch.Tensor, masks: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Apply one transform jointly.

    pictures: (3, H, W) or (T, 3, H, W) uint8; masks: (H, W) or (T, H, W) uint8; returns both, plain and contiguous.
    """
    pictures = tv_tensors.Image(pictures) if pictures.ndim == 3 else tv_tensors.Video(pictures)
    if masks is None:
        return transform(pictures).as_subclass(torch.Tensor).contiguous(), None
    pictures, masks = transform(pictures, tv_tensors.Mask(masks))
    return pictures.as_subclass(torch.Tensor).contiguous(), masks.as_subclass(torch.Tensor).contiguous()


def to_float(frames: torch.Tensor) -> torch.Tensor:
    """frames: uint8 of any shape, 0..255 -> float32 in [0, 1]; call it on the device."""
    return frames.to(torch.float32).div_(255)
