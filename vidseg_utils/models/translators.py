"""The convolutional translators of SimVP: all frames at once, as channels; past maps become future maps.

`Inception` is that of the first version (Gao et al., CVPR 2022); `GatedAttention` that of the second ("SimVP: Towards
Simple yet Powerful Spatiotemporal Predictive Learning", Tan et al. 2022), whose attention is the large-kernel one of
Guo et al., "Visual Attention Network" (2022). `TemporalAttention` is TAU (Tan et al., "Temporal Attention Unit:
Towards Efficient Spatiotemporal Predictive Learning", CVPR 2023), without its additional loss. All keep the shape of
their input.
"""

import itertools
import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

KERNEL_SIZES = (3, 5, 7, 11)  # pixels, of the branches of an inception block
PRODUCT_DEVICES = ("cpu",)  # where a dilated depthwise convolution is a matrix product; not measured on GPUs yet
LARGE_KERNEL, DILATION = 21, 3  # pixels: the attention sees 21x21, by a 5x5 and a dilated 7x7 convolution
MLP_RATIO = 8  # hidden channels of the attention block's feed-forward network, per input channel
SQUEEZE, MIN_SQUEEZED = 16, 4  # TAU weighs the channels by a network with 1/16 of their number, at least 4
LAYER_SCALE = 1e-2  # initial factor of what an attention block adds to its input


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
            GroupConv(mid_channels, out_channels, kernel_size=kernel_size, groups=groups)
            for kernel_size in KERNEL_SIZES
        )

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        """The sum of the branches."""
        x = self.reduce(x)
        first_branch, *other_branches = self.branches
        total = first_branch(x)
        for branch in other_branches:
            total = total + branch(x)
        return total


class Inception(nn.Module):
    """`n_blocks` inception blocks down and as many up, with U-Net skips between them; all maps have one size."""

    def __init__(self, channels: int, hidden: int, n_blocks: int, *, groups: int):
        super().__init__()
        half = hidden // 2
        self.down_blocks = nn.ModuleList(
            InceptionBlock(channels if i == 0 else hidden, half, hidden, groups=groups) for i in range(n_blocks)
        )
        self.up_blocks = nn.ModuleList(
            InceptionBlock(
                hidden if i == 0 else 2 * hidden, half, channels if i == n_blocks - 1 else hidden, groups=groups
            )
            for i in range(n_blocks)
        )

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Future maps from past maps; C = frames x channels."""
        skips = []
        for block in self.down_blocks:
            x = block(x)
            skips.append(x)
        skips.pop()  # the deepest map is the first up block's input
        x = self.up_blocks[0](x)
        for block in self.up_blocks[1:]:
            x = block(torch.cat([x, skips.pop()], dim=1))
        return x


class LargeKernelAttention(nn.Module):
    """A gate for every pixel and channel from a large neighbourhood: 5x5 and dilated 7x7 depthwise, then 1x1."""

    def __init__(self, channels: int):
        super().__init__()
        local_size, dilated_size = 2 * DILATION - 1, LARGE_KERNEL // DILATION  # 5, 7
        self.project_in = nn.Conv2d(channels, channels, kernel_size=1)
        self.local = nn.Conv2d(channels, channels, local_size, padding=local_size // 2, groups=channels)
        self.dilated = nn.Conv2d(
            channels,
            channels,
            dilated_size,
            padding=DILATION * (dilated_size // 2),
            dilation=DILATION,
            groups=channels,
        )
        self.mix = nn.Conv2d(channels, 2 * channels, kernel_size=1)
        self.project_out = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """The input plus the gated values."""
        values = F.gelu(self.project_in(x))
        local = self.local(values)
        context = dilated_depthwise(local, self.dilated)
        return x + self.project_out(self.gated(values, context))

    def gated(self, values: Float[Tensor, "B C h w"], context: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """What the neighbourhood says, gated by itself."""
        del values
        mixed, gate = self.mix(context).chunk(2, dim=1)
        return torch.sigmoid(gate) * mixed


def dilated_depthwise(x: Float[Tensor, "B C h w"], conv: nn.Conv2d) -> Float[Tensor, "B C h w"]:
    """`conv(x)`; on PRODUCT_DEVICES as a matrix product, because they have no fast dilated depthwise convolution.

    A dilation d splits the picture into d x d coarser pictures that do not interact. In each of them the matrix holds,
    for every pair of pixels, the kernel's weight at their offset, or 0 where the offset is outside the kernel.
    """
    if x.device.type not in PRODUCT_DEVICES:
        return conv(x)
    (height, width), d, radius = x.shape[2:], conv.dilation[0], conv.kernel_size[0] // 2
    x = F.pad(x, (0, -width % d, 0, -height % d))
    offsets = torch.arange(-radius, radius + 1, device=x.device)[:, None, None]
    rows, columns = (torch.arange(n // d, device=x.device) for n in x.shape[2:])
    at_row, at_column = (((n - n[:, None]) == offsets).to(conv.weight.dtype) for n in (rows, columns))  # (k, to, from)
    # A product, because its gradient is one too; that of indexing adds up one number after another.
    matrix = torch.einsum("cij,iab,jde->cadbe", conv.weight[:, 0], at_row, at_column)
    matrix = matrix.flatten(3).flatten(1, 2)  # (C, h*w, h*w)
    y = matrix @ rearrange(x, "b c (h p) (w q) -> c (h w) (b p q)", p=d, q=d)
    y = rearrange(y, "c (h w) (b p q) -> b c (h p) (w q)", h=len(rows), p=d, q=d)[..., :height, :width]
    return y if conv.bias is None else y + conv.bias[:, None, None]


class TemporalAttentionUnit(LargeKernelAttention):
    """TAU: the gate of a pixel and channel is the product of a spatial one and one of the whole map.

    The spatial gate is that of the same large neighbourhood. The other one weighs the channels, which hold all frames,
    by their means over the picture.
    """

    def __init__(self, channels: int):
        super().__init__(channels)
        reduced = max(channels // SQUEEZE, MIN_SQUEEZED)
        self.mix = nn.Conv2d(channels, channels, kernel_size=1)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, reduced, kernel_size=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(reduced, channels, kernel_size=1, bias=False),
            nn.Sigmoid(),
        )

    def gated(self, values: Float[Tensor, "B C h w"], context: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """The values times both gates."""
        return self.squeeze(values) * self.mix(context) * values


class AttentionBlock(nn.Module):
    """Attention, then a feed-forward network with a 3x3 depthwise convolution; both residual.

    attention: LargeKernelAttention or TemporalAttentionUnit
    A 1x1 convolution follows if the number of channels changes.
    """

    def __init__(self, in_channels: int, out_channels: int, attention: type[LargeKernelAttention]):
        super().__init__()
        hidden = MLP_RATIO * in_channels
        self.attention = nn.Sequential(nn.BatchNorm2d(in_channels), attention(in_channels))
        self.feed_forward = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, hidden, kernel_size=1),
            nn.Conv2d(hidden, hidden, kernel_size=3, padding=1, groups=hidden),
            nn.GELU(),
            nn.Conv2d(hidden, in_channels, kernel_size=1),
        )
        self.attention_scale = nn.Parameter(torch.full((in_channels, 1, 1), LAYER_SCALE))
        self.feed_forward_scale = nn.Parameter(torch.full((in_channels, 1, 1), LAYER_SCALE))
        self.project_out = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        """The maps after attention and feed-forward network."""
        x = x + self.attention_scale * self.attention(x)
        x = x + self.feed_forward_scale * self.feed_forward(x)
        return self.project_out(x)


class GatedAttention(nn.Sequential):
    """`n_blocks` attention blocks: channels -> hidden -> … -> hidden -> channels."""

    attention: type[LargeKernelAttention] = LargeKernelAttention

    def __init__(self, channels: int, hidden: int, n_blocks: int):
        widths = [channels] + [hidden] * (n_blocks - 1) + [channels]
        super().__init__(*(AttentionBlock(a, b, self.attention) for a, b in itertools.pairwise(widths)))


class TemporalAttention(GatedAttention):
    """`n_blocks` attention blocks with TAU."""

    attention = TemporalAttentionUnit
