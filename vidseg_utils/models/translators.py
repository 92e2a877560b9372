"""The two translators of SimVP: they see all frames at once, as channels, and turn past maps into future maps.

`Inception` is that of the first version (Gao et al., CVPR 2022); `GatedAttention` that of the second ("SimVP: Towards
Simple yet Powerful Spatiotemporal Predictive Learning", Tan et al. 2022), whose attention is the large-kernel one of
Guo et al., "Visual Attention Network" (2022). Both map (B, channels, h, w) to the same shape.
"""

import itertools
import math

import torch
from einops import rearrange
from torch import nn

KERNELS = (3, 5, 7, 11)  # of the inception block
LARGE_KERNEL, DILATION = 21, 3  # of the attention: 21 x 21 made of a 5x5 and a dilated 7x7
MLP_RATIO = 8  # the attention block's inner widening
LAYER_SCALE = 1e-2  # at first a block adds only a hundredth of what it computes


class GroupConv(nn.Sequential):
    """Grouped convolution, GroupNorm, LeakyReLU(0.2)."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int, groups: int):
        groups = math.gcd(groups, in_channels, out_channels)
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=groups),
            nn.GroupNorm(groups, out_channels),
            nn.LeakyReLU(0.2, inplace=True),
        )


class InceptionBlock(nn.Module):
    """1x1 convolution to `mid_channels`, then the sum of grouped convolutions of several kernel sizes."""

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, *, groups: int):
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, mid_channels, kernel_size=1)
        self.branches = nn.ModuleList(
            GroupConv(mid_channels, out_channels, kernel_size=kernel, groups=groups) for kernel in KERNELS
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (B, in, h, w) -> (B, out, h, w)."""
        x = self.reduce(x)
        return sum(branch(x) for branch in self.branches)


class Inception(nn.Module):
    """`n_blocks` inception blocks down and as many up, with U-Net skips between them (all maps have one size)."""

    def __init__(self, channels: int, hidden: int, n_blocks: int, *, groups: int):
        super().__init__()
        half = hidden // 2
        self.down = nn.ModuleList(
            InceptionBlock(channels if i == 0 else hidden, half, hidden, groups=groups) for i in range(n_blocks)
        )
        self.up = nn.ModuleList(
            InceptionBlock(
                hidden if i == 0 else 2 * hidden, half, channels if i == n_blocks - 1 else hidden, groups=groups
            )
            for i in range(n_blocks)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (B, channels, h, w) -> (B, channels, h, w)."""
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        skips.pop()  # the deepest map goes straight on
        x = self.up[0](x)
        for block in self.up[1:]:
            x = block(torch.cat([x, skips.pop()], dim=1))
        return x


class LargeKernelAttention(nn.Module):
    """A gate for every pixel and channel, from a large neighbourhood: 5x5 and dilated 7x7 depthwise, then 1x1."""

    def __init__(self, channels: int):
        super().__init__()
        far = LARGE_KERNEL // DILATION  # 7
        self.project_in = nn.Conv2d(channels, channels, kernel_size=1)
        self.near = nn.Conv2d(channels, channels, 2 * DILATION - 1, padding=DILATION - 1, groups=channels)
        self.far = nn.Conv2d(channels, channels, far, padding=DILATION * (far // 2), dilation=DILATION, groups=channels)
        self.mix = nn.Conv2d(channels, 2 * channels, kernel_size=1)
        self.project_out = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (B, C, h, w) -> (B, C, h, w)."""
        near = self.near(nn.functional.gelu(self.project_in(x)))
        far = dilated_depthwise(near, self.far) if near.device.type == "cpu" else self.far(near)
        values, gate = self.mix(far).chunk(2, dim=1)
        return x + self.project_out(torch.sigmoid(gate) * values)


def dilated_depthwise(x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    """`conv(x)`, (B, C, h, w), as a product of matrices: CPU libraries have no fast dilated depthwise convolution.

    With dilation d the picture falls into d x d coarser ones that never meet. In each of them every pixel takes from
    every other what the kernel says for the way between them, or nothing where that is longer than the kernel.
    """
    (height, width), d, reach = x.shape[2:], conv.dilation[0], conv.kernel_size[0] // 2
    x = nn.functional.pad(x, (0, -width % d, 0, -height % d))
    rows, columns = (torch.arange(n // d, device=x.device) for n in x.shape[2:])
    down, right = ((n - n[:, None]).clamp(-reach - 1, reach + 1) + reach + 1 for n in (rows, columns))  # (to, from)
    kernel = nn.functional.pad(conv.weight[:, 0], (1, 1, 1, 1))  # (C, k + 2, k + 2)
    matrix = kernel[:, down[:, None, :, None], right[None, :, None, :]].flatten(3).flatten(1, 2)  # (C, h*w, h*w)
    y = matrix @ rearrange(x, "b c (h p) (w q) -> c (h w) (b p q)", p=d, q=d)
    y = rearrange(y, "c (h w) (b p q) -> b c (h p) (w q)", h=len(rows), p=d, q=d)
    return y[..., :height, :width] + conv.bias[:, None, None]


class AttentionBlock(nn.Module):
    """Attention, then a per-pixel network with a 3x3 depthwise inside; both residual; 1x1 if the width changes."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        wide = MLP_RATIO * in_channels
        self.attend = nn.Sequential(nn.BatchNorm2d(in_channels), LargeKernelAttention(in_channels))
        self.think = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, wide, kernel_size=1),
            nn.Conv2d(wide, wide, kernel_size=3, padding=1, groups=wide),
            nn.GELU(),
            nn.Conv2d(wide, in_channels, kernel_size=1),
        )
        self.attend_scale = nn.Parameter(torch.full((in_channels, 1, 1), LAYER_SCALE))
        self.think_scale = nn.Parameter(torch.full((in_channels, 1, 1), LAYER_SCALE))
        self.change_width = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (B, in, h, w) -> (B, out, h, w)."""
        x = x + self.attend_scale * self.attend(x)
        x = x + self.think_scale * self.think(x)
        return self.change_width(x)


class GatedAttention(nn.Sequential):
    """`n_blocks` attention blocks: channels -> hidden -> … -> hidden -> channels. It has no `groups`."""

    def __init__(self, channels: int, hidden: int, n_blocks: int, *, groups: int):
        del groups  # only the inception translator has them
        widths = [channels] + [hidden] * (n_blocks - 1) + [channels]
        super().__init__(*(AttentionBlock(a, b) for a, b in itertools.pairwise(widths)))


TRANSLATORS = {"inception": Inception, "gsta": GatedAttention}
