"""The layers that several models share: the double convolution, padding to a multiple, and the check of input images.

A model checks its input before any convolution sees it, and the message names the cure (style rule 14).
"""

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional


class DoubleConv(nn.Sequential):
    """(3x3 convolution, BatchNorm, ReLU) twice; height and width stay. (B, in, H, W) -> (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, *, mid_channels: int | None = None, bias: bool = False):
        mid_channels = mid_channels or out_channels
        super().__init__(
            nn.Conv2d(in_channels, mid_channels, kernel_size=3, padding=1, bias=bias),
            nn.BatchNorm2d(mid_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(mid_channels, out_channels, kernel_size=3, padding=1, bias=bias),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


def pad_to_multiple(images: torch.Tensor, *, multiple: int, at_least: int = 1) -> torch.Tensor:
    """Repeat the last row and column until height and width are multiples of `multiple`, and `at_least` so large.

    images: (..., C, H, W) float
    returns: (..., C, H', W'), the images in its upper left corner; crop with `[..., :H, :W]`
    """
    height, width = images.shape[-2:]
    below, right = (max(size, at_least) - size for size in (height, width))
    below, right = below + -(height + below) % multiple, right + -(width + right) % multiple
    if not below and not right:
        return images
    leading = images.shape[:-3]
    padded = functional.pad(images.flatten(0, -4) if leading else images, (0, right, 0, below), mode="replicate")
    return padded.unflatten(0, leading) if leading else padded  # (..., C, H', W')


def zero_init(layer: nn.Conv2d) -> None:
    """Set weights and bias to 0, so that a residual model starts as copy-last."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def fold_frames(frames: torch.Tensor) -> torch.Tensor:
    """(B, T, C, H, W) -> (B*T, C, H, W): a layer for images then works on every frame alone."""
    return rearrange(frames, "b t c h w -> (b t) c h w")


def unfold_frames(images: torch.Tensor, *, n_frames: int) -> torch.Tensor:
    """(B*T, C, H, W) -> (B, T, C, H, W), the inverse of `fold_frames`."""
    return rearrange(images, "(b t) c h w -> b t c h w", t=n_frames)


def check_images(images: torch.Tensor, *, channels: int, video: bool = False) -> None:
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
    """How many numbers the model learns."""
    return sum(parameter.numel() for parameter in model.parameters())
