"""The parts of the recurrent U-Net: three kinds of block, two recurrent cells.

A kind of block comes as three parts: `first` (picture -> level 1), `down` (one level deeper: half the size, twice the
channels) and `up` (deeper map and skip -> the level above). `convnext` follows Liu et al., "A ConvNet for the 2020s"
(CVPR 2022), with BatchNorm; the gates are those of Cho et al. (GRU, 2014) with convolutions in place of products.
"""

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional

from vidseg_utils.models.layers import DoubleConv

PASSING = 2.2  # sigmoid(2.2) = 0.9
REACH = 10.0  # a gated state lies between -REACH and REACH


class VanillaBlock(DoubleConv):
    """(3x3 convolution with bias, BatchNorm, ReLU) twice."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, bias=True)


class ResNetBlock(nn.Module):
    """The vanilla block with a 1x1 projection around it, added before the last ReLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.convs = nn.Sequential(*list(DoubleConv(in_channels, out_channels, bias=True))[:-1])
        self.project = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, in, h, w) -> (N, out, h, w)."""
        return functional.relu(self.convs(x) + self.project(x))


class ResNetFirst(DoubleConv):
    """As the vanilla block, but its first convolution is 7x7."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, bias=True)
        self[0] = nn.Conv2d(in_channels, out_channels, kernel_size=7, padding=3)


class ConvNeXtBlock(nn.Module):
    """7x7 depthwise (reflecting at the edge), then 1x1 to four times the channels and back; residual."""

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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, C, h, w), h and w at least 4 -> the same shape."""
        return functional.gelu(self.layers(x) + x)


class Down(nn.Sequential):
    """2x2 convolution of stride 2 (c -> c), then a block (c -> 2c)."""

    def __init__(self, channels: int, *, block: type[nn.Module]):
        super().__init__(nn.Conv2d(channels, channels, kernel_size=2, stride=2), block(channels, 2 * channels))


class Up(nn.Module):
    """Transposed 2x2 convolution of stride 2 (2c -> c), the skip put beside it, a block (2c -> c)."""

    def __init__(self, channels: int, *, block: type[nn.Module]):
        super().__init__()
        self.up = nn.ConvTranspose2d(2 * channels, channels, kernel_size=2, stride=2)
        self.block = block(2 * channels, channels)

    def forward(self, deep: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """deep: (N, 2c, h, w), skip: (N, c, 2h, 2w) -> (N, c, 2h, 2w)."""
        return self.block(torch.cat([skip, self.up(deep)], dim=1))


class ConvNeXtFirst(nn.Sequential):
    """7x7 convolution, BatchNorm, GELU, then a ConvNeXt block."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__(
            nn.Conv2d(in_channels, channels, kernel_size=7, padding=3),
            nn.BatchNorm2d(channels),
            nn.GELU(),
            ConvNeXtBlock(channels),
        )


class ConvNeXtDown(nn.Sequential):
    """2x2 convolution of stride 2 (c -> 2c), then a ConvNeXt block."""

    def __init__(self, channels: int):
        super().__init__(nn.Conv2d(channels, 2 * channels, kernel_size=2, stride=2), ConvNeXtBlock(2 * channels))


class ConvNeXtUp(nn.Module):
    """Upsampled as in `Up`; what the skip may bring along is gated by the upsampled map."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(2 * channels)
        self.up = nn.ConvTranspose2d(2 * channels, channels, kernel_size=2, stride=2)
        self.gates = nn.Conv2d(channels, 3 * channels, kernel_size=1)
        self.select = nn.Conv2d(channels, channels, kernel_size=1)
        self.mix = nn.Conv2d(channels, channels, kernel_size=1)
        self.join = nn.Sequential(nn.Conv2d(2 * channels, channels, kernel_size=1), ConvNeXtBlock(channels))

    def forward(self, deep: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """deep: (N, 2c, h, w), skip: (N, c, 2h, 2w) -> (N, c, 2h, 2w)."""
        up = self.up(self.norm(deep))
        g1, g2, g3 = self.gates(up).chunk(3, dim=1)
        skip = self.mix(torch.sigmoid(self.select(g1 + skip)) * skip + torch.sigmoid(g2) * torch.tanh(g3))
        return self.join(torch.cat([skip, up], dim=1))


class Cell(nn.Module, ABC):
    """A recurrent cell over maps: `inputs` is what it makes of the frames alone, `step` moves the state on by one."""

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x: (T*B, c, h, w), state: (B, c, h, w) -> all states (T*B, c, h, w) and the last of them.

        Time stands before the videos, so a frame is one piece of memory and keeps the layout that it has in x.
        """
        states = []
        for now in self.inputs(x).split(len(state)):  # all frames in one convolution
            state = self.step(now, state)
            states.append(state)
        return torch.cat(states), state

    @abstractmethod
    def inputs(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, c, h, w) -> (N, …, h, w)."""

    @abstractmethod
    def step(self, inputs: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """inputs: (B, …, h, w), state: (B, c, h, w) -> the new state."""

    @abstractmethod
    def pass_through(self) -> None:
        """Set the weights so that the state is the frame's own map (as near as the cell can) and memory is unused."""


class RNNCell(Cell):
    """h = relu(conv(x) + conv(h)), both 3x3 with bias."""

    def __init__(self, channels: int):
        super().__init__()
        self.of_input = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.of_state = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def inputs(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, c, h, w) -> (N, c, h, w)."""
        return self.of_input(x)

    def step(self, inputs: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """inputs, state: (B, c, h, w) -> the new state."""
        return functional.relu(inputs + self.of_state(state))

    def pass_through(self) -> None:
        """h = relu(x): exactly x after a ReLU."""
        nn.init.dirac_(self.of_input.weight)
        for parameter in (self.of_input.bias, *self.of_state.parameters()):
            nn.init.zeros_(parameter)


class GRUCell(Cell):
    """h = (1 - z) h + z tanh(conv [x, r h]), where update z and reset r are sigmoid(conv [x, h]); convolutions 3x3.

    A convolution of [x, h] is the sum of one of x, done for all frames at once, and one of h. tanh is stretched by
    REACH both ways, which weights could make up for: so the maps of a trained network pass through it unharmed.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.gates = nn.Conv2d(2 * channels, 2 * channels, kernel_size=3, padding=1)
        self.candidate = nn.Conv2d(2 * channels, channels, kernel_size=3, padding=1)

    def inputs(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, c, h, w) -> (N, 3c, h, w): its part of update, reset and candidate."""
        weight = torch.cat([self.gates.weight, self.candidate.weight])[:, : self.channels]
        return functional.conv2d(x, weight, torch.cat([self.gates.bias, self.candidate.bias]), padding=1)

    def step(self, inputs: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """inputs: (B, 3c, h, w), state: (B, c, h, w) -> the new state."""
        of_gates, of_candidate = inputs.split([2 * self.channels, self.channels], dim=1)
        gates = torch.sigmoid(of_gates + self._of_state(self.gates, state))
        update, reset = gates.chunk(2, dim=1)
        candidate = of_candidate + self._of_state(self.candidate, reset * state)
        candidate = REACH * torch.tanh(candidate / REACH)
        return torch.lerp(state, candidate.to(state), update.to(state))  # under autocast the memory stays float32

    def pass_through(self) -> None:
        """h = 0.9 x + 0.1 of the state before, as far as x is small beside REACH."""
        for parameter in (*self.gates.parameters(), *self.candidate.parameters()):
            nn.init.zeros_(parameter)
        nn.init.dirac_(self.candidate.weight)  # of [x, h] its first half, x
        nn.init.constant_(self.gates.bias[: self.channels], PASSING)

    def _of_state(self, conv: nn.Conv2d, state: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(state, conv.weight[:, self.channels :], padding=1)
