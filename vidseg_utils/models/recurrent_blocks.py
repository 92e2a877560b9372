"""The blocks of the recurrent U-Net, in three kinds.

Each kind has three parts: a stem (picture -> level 1), a down level (half the size, twice the channels) and an up level
(deeper map and skip -> the level above). `convnext` follows Liu et al., "A ConvNet for the 2020s" (CVPR 2022), with
BatchNorm.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.models.layers import DoubleConv


class VanillaBlock(DoubleConv):
    """(3x3 convolution with bias, BatchNorm, ReLU) twice."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, bias=True)


class ResNetBlock(nn.Module):
    """The vanilla block plus a 1x1 projection of its input, added before the last ReLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.convs = nn.Sequential(*list(DoubleConv(in_channels, out_channels, bias=True))[:-1])
        self.project = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N D h w"]:
        """The block's output."""
        return F.relu(self.convs(x) + self.project(x))


class ResNetStem(DoubleConv):
    """The vanilla block with a first convolution of 7x7."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, bias=True)
        self[0] = nn.Conv2d(in_channels, out_channels, kernel_size=7, padding=3)


class ConvNeXtBlock(nn.Module):
    """7x7 depthwise convolution (padded by reflection), then 1x1 to four times the channels and back; residual."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=7, padding=3, padding_mode="reflect", groups=channels),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, 4 * channels, kernel_size=1),
            nn.GELU(),
            nn.Conv2d(4 * channels, channels, kernel_size=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
        """The block's output; h and w must be at least 4, because the convolution reflects 3 pixels."""
        return F.gelu(self.layers(x) + x)


class DownLevel(nn.Sequential):
    """2x2 convolution of stride 2 (c -> c), then a block (c -> 2c)."""

    def __init__(self, channels: int, *, block: type[nn.Module]):
        super().__init__(nn.Conv2d(channels, channels, kernel_size=2, stride=2), block(channels, 2 * channels))


class UpLevel(nn.Module):
    """Transposed 2x2 convolution of stride 2 (2c -> c), concatenated with the skip, then a block (2c -> c)."""

    def __init__(self, channels: int, *, block: type[nn.Module]):
        super().__init__()
        self.upsample = nn.ConvTranspose2d(2 * channels, channels, kernel_size=2, stride=2)
        self.block = block(2 * channels, channels)

    def forward(
        self, deep: Float[Tensor, "N deep_c h w"], skip: Float[Tensor, "N c 2*h 2*w"]
    ) -> Float[Tensor, "N c 2*h 2*w"]:
        """deep: the map of the level below; skip: the encoder's map of this level."""
        return self.block(torch.cat([skip, self.upsample(deep)], dim=1))


class ConvNeXtStem(nn.Sequential):
    """7x7 convolution, BatchNorm, GELU, then a ConvNeXt block."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__(
            nn.Conv2d(in_channels, channels, kernel_size=7, padding=3),
            nn.BatchNorm2d(channels),
            nn.GELU(),
            ConvNeXtBlock(channels),
        )


class ConvNeXtDownLevel(nn.Sequential):
    """2x2 convolution of stride 2 (c -> 2c), then a ConvNeXt block."""

    def __init__(self, channels: int):
        super().__init__(nn.Conv2d(channels, 2 * channels, kernel_size=2, stride=2), ConvNeXtBlock(2 * channels))


class ConvNeXtUpLevel(nn.Module):
    """Upsampling as in `UpLevel`; the upsampled map gates the skip."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(2 * channels)
        self.upsample = nn.ConvTranspose2d(2 * channels, channels, kernel_size=2, stride=2)
        self.gates = nn.Conv2d(channels, 3 * channels, kernel_size=1)
        self.select = nn.Conv2d(channels, channels, kernel_size=1)
        self.mix = nn.Conv2d(channels, channels, kernel_size=1)
        self.join = nn.Sequential(nn.Conv2d(2 * channels, channels, kernel_size=1), ConvNeXtBlock(channels))

    def forward(
        self, deep: Float[Tensor, "N deep_c h w"], skip: Float[Tensor, "N c 2*h 2*w"]
    ) -> Float[Tensor, "N c 2*h 2*w"]:
        """deep: the map of the level below; skip: the encoder's map of this level."""
        upsampled = self.upsample(self.norm(deep))
        g1, g2, g3 = self.gates(upsampled).chunk(3, dim=1)
        skip = self.mix(torch.sigmoid(self.select(g1 + skip)) * skip + torch.sigmoid(g2) * torch.tanh(g3))
        return self.join(torch.cat([skip, upsampled], dim=1))
