"""What several models share: the double convolution, the factored head, padding, folding of frames, and input checks.

A model checks its input before any convolution sees it, and the message names the cure.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.checks import check_choice
from vidseg_utils.classes import BACKGROUND, COLOURS, MATERIALS, N_CLASSES, SHAPES, class_attributes
from vidseg_utils.device import numbers_on

HEADS = ("flat", "factored")


class PictureConv2d(nn.Conv2d):
    """A convolution of pictures, which in evaluation mode is in float32 under autocast too.

    In bf16 the levels of a picture are rounded: 0.2 % of U-Net's labels change, instead of 0.01 %.
    """

    def forward(self, images: Tensor) -> Tensor:
        """As the base class."""
        if self.training or not torch.amp.is_autocast_available(images.device.type):
            return super().forward(images)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=False):
            return super().forward(images)


class DoubleConv(nn.Sequential):
    """(3x3 convolution, BatchNorm, ReLU) twice; height and width stay. first: type of the first convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        mid_channels: int | None = None,
        bias: bool = False,
        first: type[nn.Conv2d] = nn.Conv2d,
    ):
        mid_channels = mid_channels or out_channels
        super().__init__(
            first(in_channels, mid_channels, kernel_size=3, padding=1, bias=bias),
            nn.BatchNorm2d(mid_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(mid_channels, out_channels, kernel_size=3, padding=1, bias=bias),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


def class_attribute_matrix() -> Float[Tensor, "49 14"]:
    """1 where a class has an attribute, else 0. Columns: the background, 3 shapes, 2 materials, 8 colours."""
    matrix = torch.zeros(N_CLASSES, 1 + len(SHAPES) + len(MATERIALS) + len(COLOURS))
    matrix[BACKGROUND, 0] = 1
    for class_id in range(1, N_CLASSES):
        first_column = 1
        for names, name in zip((SHAPES, MATERIALS, COLOURS), class_attributes(class_id), strict=True):
            matrix[class_id, first_column + names.index(name)] = 1
            first_column += len(names)
    return matrix


class FactoredHead(nn.Module):
    """Logits of the 49 classes as sums: shape + material + colour for an object, a separate logit for the background.

    It learns 13 object scores instead of 48, so every red object trains the score of red.
    """

    attributes: Tensor  # (49, 14, 1, 1)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        attributes = class_attribute_matrix()
        self.scores = nn.Conv2d(in_channels, attributes.shape[1], kernel_size=1)
        self.register_buffer("attributes", attributes[:, :, None, None], persistent=False)

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 49 H W"]:
        """Logits of the classes."""
        return F.conv2d(self.scores(features), self.attributes)


def check_head(head: str, n_classes: int) -> None:
    """Raise ValueError unless `head` is one of HEADS and fits the number of classes."""
    check_choice("head", head, HEADS)
    if head == "factored" and n_classes != N_CLASSES:
        raise ValueError(f"head 'factored' knows the {N_CLASSES} classes of this world; got n_classes {n_classes}")


def zero_init(layer: nn.Conv2d) -> None:
    """Set weights and bias to 0, so that a residual model starts as copy-last."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def pad_to_multiple(
    images: Float[Tensor, "*N C H W"], *, multiple: int, min_size: int = 1
) -> Float[Tensor, "*N C padded_H padded_W"]:
    """Repeat the last row and column until height and width are multiples of `multiple` and at least `min_size`.

    The images lie in the upper left corner; crop with `[..., :H, :W]`.
    """
    height, width = images.shape[-2:]
    bottom, right = (max(size, min_size) - size for size in (height, width))
    bottom, right = bottom + -(height + bottom) % multiple, right + -(width + right) % multiple
    if not bottom and not right:
        return images
    leading = images.shape[:-3]
    padded = F.pad(images.flatten(0, -4) if leading else images, (0, right, 0, bottom), mode="replicate")
    return padded.unflatten(0, leading) if leading else padded  # (..., C, H', W')


def fold_frames(frames: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B*T C H W"]:
    """Frames into the batch axis: a layer for images then processes every frame separately."""
    return rearrange(frames, "b t c h w -> (b t) c h w")


def unfold_frames(images: Float[Tensor, "BT C H W"], *, n_frames: int) -> Float[Tensor, "B T C H W"]:
    """The inverse of `fold_frames`."""
    return rearrange(images, "(b t) c h w -> b t c h w", t=n_frames)


def pick_frames(video: Shaped[Tensor, "B T *rest"], numbers: Sequence[int]) -> Shaped[Tensor, "B F *rest"]:
    """The frames of these numbers. With a list as the index, a GPU's earlier work would be waited for."""
    return video.index_select(1, numbers_on(video.device, numbers))


def check_images(images: Tensor, *, channels: int, video: bool = False) -> None:
    """Raise ValueError, naming the cure, unless images are (B, C, H, W), or (B, T, C, H, W) if `video`, and float."""
    axes = "(B, T, C, H, W)" if video else "(B, C, H, W)"
    if images.ndim != (5 if video else 4):
        cure = "; add the batch axis with images[None]" if images.ndim == (4 if video else 3) else ""
        raise ValueError(f"expected {axes}, got shape {tuple(images.shape)}{cure}")
    if images.shape[-3] != channels:
        raise ValueError(f"expected {channels} channels in {axes}, got {images.shape[-3]}: {tuple(images.shape)}")
    if 0 in images.shape:
        raise ValueError(f"{axes} is empty: {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(f"expected float images in [0, 1], got {images.dtype}; divide uint8 frames by 255")


def parameter_count(model: nn.Module) -> int:
    """Number of trainable and fixed parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
