"""Augmentation of an image and its mask together, with torchvision.transforms.v2; all frames of a clip change alike.

A change of geometry moves the mask with the image. Pixels from outside the image get the label 255, so neither loss nor
score counts them. A change of appearance leaves the mask as it is; "real" is the set that imitates real frames.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import max_pool2d
from torchvision import tv_tensors
from torchvision.transforms import v2

from vidseg_utils.classes import IGNORE_INDEX
from vidseg_utils.data.appearance_changes import Codec, ObjectLight, Resample

Transform = Callable[..., tuple[torch.Tensor, ...] | torch.Tensor]  # takes and returns tv_tensors, like those of v2


class CropAndResize:
    """Crop 60 to 100 % of the area at nearly the same aspect ratio, and scale back to the size of the image."""

    scale = (0.6, 1.0)  # smallest and largest share of the area

    def __call__(self, pictures: torch.Tensor, *masks: torch.Tensor):
        """Pictures (…, 3, H, W) and masks (…, H, W), as tv_tensors."""
        size = pictures.shape[-2:]
        return v2.RandomResizedCrop(size, scale=self.scale, ratio=self.ratio(*size), antialias=True)(pictures, *masks)

    def ratio(self, height: int, width: int) -> tuple[float, float]:
        """Smallest and largest ratio of width to height of a crop."""
        return 0.9 * width / height, 1.1 * width / height


def object_window_size(size: Sequence[int]) -> list[int]:
    """Height and width of the window that `ObjectCrop` cuts out of an image of that size."""
    return [min(side, 16 * math.ceil(side / 64)) for side in size]


class ObjectCrop:
    """Crop a window around a random pixel of an object; its sides are a quarter of the image's, rounded up to 16 px.

    Most of an image is empty ground, so a batch of windows shows more objects for the same work. Without an object or
    a mask, the position of the window is uniformly random.
    """

    def __call__(self, pictures: torch.Tensor, *masks: torch.Tensor):
        """Pictures (…, 3, H, W) and masks (…, H, W), as tv_tensors."""
        size = object_window_size(pictures.shape[-2:])
        objects = (masks[0] > 0) & (masks[0] != IGNORE_INDEX) if masks else torch.zeros(pictures.shape[-2:])
        pixels = objects.nonzero()[:, -2:]  # (row, column) each
        sides = torch.tensor(pictures.shape[-2:])
        centre = pixels[torch.randint(len(pixels), ())] if len(pixels) else (torch.rand(2) * sides).long()
        offset = (torch.rand(2) * torch.tensor(size)).long()
        corner = torch.minimum((centre - offset).clamp(min=0), sides - torch.tensor(size)).tolist()
        cropped = [v2.functional.crop(item, *corner, *size) for item in (pictures, *masks)]
        return cropped if masks else cropped[0]


AUGMENTATIONS = {
    "hflip": lambda: v2.RandomHorizontalFlip(0.5),
    "vflip": lambda: v2.RandomVerticalFlip(0.5),
    "crop": CropAndResize,
    "object_crop": ObjectCrop,
    "rotate": lambda: v2.RandomRotation(
        degrees=[-10.0, 10.0],
        interpolation=v2.InterpolationMode.BILINEAR,  # of images; v2 uses the nearest label for masks
        fill={tv_tensors.Mask: IGNORE_INDEX, "others": 0},
    ),
    "resample": Resample,
    "codec": Codec,
    "light": lambda: v2.ColorJitter(brightness=0.05, contrast=0.08, saturation=0.08, hue=0.01),
    "object_light": ObjectLight,
}
# In the order in which they befall a real frame. "light" and "codec" did not help on CLEVRER's own videos: all of them
# have the same lamps, and the course's frames were not compressed again.
REAL = ("object_light", "resample")
AUGMENTATIONS["real"] = lambda: v2.Compose([AUGMENTATIONS[name]() for name in REAL])


def build_augmentation(*names: str) -> Transform:
    """Compose the named augmentations in that order, such as build_augmentation("hflip", "crop")."""
    for name in names:
        if name not in AUGMENTATIONS:
            raise ValueError(f"unknown augmentation {name!r}; choose from {list(AUGMENTATIONS)}")
    return v2.Compose([AUGMENTATIONS[name]() for name in names] or [v2.Identity()])


def augment(
    transform: Transform, pictures: torch.Tensor, masks: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Apply the same random change to pictures and masks.

    pictures: (3, H, W) or (T, 3, H, W) uint8; masks: (H, W) or (T, H, W) uint8; returns plain contiguous tensors.
    """
    typed_pictures = tv_tensors.Image(pictures) if pictures.ndim == 3 else tv_tensors.Video(pictures)
    typed = (typed_pictures,) if masks is None else (typed_pictures, tv_tensors.Mask(masks))
    changed = transform(*typed)
    changed = [changed] if isinstance(changed, torch.Tensor) else changed
    plain = [tensor.as_subclass(torch.Tensor).contiguous() for tensor in changed]
    return plain[0], None if masks is None else plain[1]


def augment_item(transform: Transform, item: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`augment` for dict(frames, masks)."""
    frames, masks = augment(transform, item["frames"], item["masks"])
    assert masks is not None
    return {"frames": frames, "masks": masks}


class IgnoreRim:
    """Set labels within `width` pixels of another label to 255, so that only pixels well inside count in a score.

    The course's labels lie half a pixel beside the objects, which no segmenter can know.
    """

    def __init__(self, width: int = 2):
        self.width = width

    def __call__(self, pictures: torch.Tensor, masks: torch.Tensor):
        """Pictures (…, 3, H, W) and masks (…, H, W), as tv_tensors."""
        labels = masks.as_subclass(torch.Tensor).float().unsqueeze(-3)
        size = 2 * self.width + 1
        largest = max_pool2d(labels, size, stride=1, padding=self.width)
        smallest = -max_pool2d(-labels, size, stride=1, padding=self.width)
        is_inside = largest == smallest
        return pictures, masks.masked_fill(~is_inside.squeeze(-3), IGNORE_INDEX)
