"""Random changes of a frame's appearance that imitate how real frames came about; the mask stays as it is.

Each is called like a transform of torchvision.transforms.v2. `transforms.AUGMENTATIONS` names them.
"""

import io
import math

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch.nn.functional import interpolate
from torchvision.transforms import v2

from vidseg_utils.classes import IGNORE_INDEX, N_CLASSES, class_attributes

SPARED = 0.25  # share of the images that `Resample` and `Codec` leave as they are


class Resample:
    """Scale the image by a random factor, and back to its size, so that it becomes softer.

    The course's frames were scaled down from 480x320 by bicubic interpolation: they have half the power of generated
    frames at the finest details.
    """

    SCALES = (0.66, 2.0)  # smallest and largest factor
    INTERPOLATIONS = (v2.InterpolationMode.BILINEAR, v2.InterpolationMode.BICUBIC)

    def __call__(self, pictures: torch.Tensor, *masks: torch.Tensor):
        """Pictures (…, 3, H, W) and masks (…, H, W), as tv_tensors."""
        if torch.rand(()) >= SPARED:
            factor, size = _log_uniform(*self.SCALES), list(pictures.shape[-2:])
            first = self.INTERPOLATIONS[int(torch.randint(2, ()))]
            for new_size, interpolation in (
                ([max(1, round(side * factor)) for side in size], first),
                (size, v2.InterpolationMode.BICUBIC),
            ):
                pictures = v2.functional.resize(pictures, new_size, interpolation=interpolation, antialias=True)
        return (pictures, *masks) if masks else pictures


class ObjectLight:
    """Brighten and darken the objects by a random smooth pattern: metal much, rubber little. Without a mask: nothing.

    The renderer knows only some of what real metal reflects. A random pattern stands for the rest, so that the network
    does not take a reflection for an edge.
    """

    CELL_SIZES = (3.0, 16.0)  # smallest and largest distance of the pattern's random values, in pixels
    METAL, RUBBER = 0.2, 0.04  # largest standard deviation of the logarithm of the light

    def __init__(self) -> None:
        materials = ["", *(class_attributes(class_id)[1] for class_id in range(1, N_CLASSES))]
        materials += [""] * (IGNORE_INDEX + 1 - N_CLASSES)
        self.is_metal, self.is_rubber = (  # of each label 0..255
            torch.tensor([material == name for material in materials]) for name in ("metal", "rubber")
        )

    def __call__(self, pictures: torch.Tensor, *masks: torch.Tensor):
        """Pictures (…, 3, H, W) and masks (…, H, W), as tv_tensors."""
        if not masks:
            return pictures
        size, cell = pictures.shape[-2:], _log_uniform(*self.CELL_SIZES)
        values = torch.randn(1, 1, *(1 + math.ceil(side / cell) for side in size))
        pattern = interpolate(values, size=size, mode="bicubic", align_corners=False)[0, 0]
        labels = masks[0].as_subclass(torch.Tensor).long()
        metal, rubber = self.METAL * torch.rand(()), self.RUBBER * torch.rand(())
        strength = metal * self.is_metal[labels] + rubber * self.is_rubber[labels]
        lit = pictures.as_subclass(torch.Tensor) * torch.exp(strength * pattern).unsqueeze(-3)
        lit = lit.round_().clamp_(0, 255).to(pictures.dtype)
        return (_typed_as(pictures, lit), *masks)


class Codec:
    """Compress each frame as JPEG and decode it, as a video's codec would.

    JPEG confuses a segmenter as H.264 does, and takes a quarter of its time.
    """

    QUALITIES = (85, 98)  # lowest and highest; about 43 and 45 dB PSNR on generated frames

    def __call__(self, pictures: torch.Tensor, *masks: torch.Tensor):
        """Pictures (…, 3, H, W) and masks (…, H, W), as tv_tensors."""
        if torch.rand(()) >= SPARED:
            low, high = self.QUALITIES
            quality = int(torch.randint(low, high + 1, ()))
            frames = rearrange(pictures.as_subclass(torch.Tensor), "... c h w -> (...) h w c").numpy()
            decoded = torch.from_numpy(np.stack([_through_jpeg(frame, quality) for frame in frames]))
            decoded = rearrange(decoded, "t h w c -> t c h w").reshape(pictures.shape)
            pictures = _typed_as(pictures, decoded)
        return (pictures, *masks) if masks else pictures


def _through_jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    """(H, W, 3) uint8, encoded and decoded. Colours keep their resolution, as they do in the course's frames."""
    encoded = io.BytesIO()
    Image.fromarray(frame).save(encoded, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(encoded))


def _typed_as(pictures: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """`values` as an image or a video, as `pictures` is; later transforms look for that."""
    return values.as_subclass(type(pictures))


def _log_uniform(low: float, high: float) -> float:
    """A random number whose logarithm is uniform."""
    return low * (high / low) ** float(torch.rand(()))
