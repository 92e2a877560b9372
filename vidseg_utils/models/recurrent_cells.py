"""The two recurrent cells of the recurrent U-Net.

The gates of `GRUCell` are those of Cho et al. (GRU, 2014) with convolutions instead of matrix products.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

PASS_THROUGH_GATE = 2.2  # bias of a gate that passes 0.9 of the new map: sigmoid(2.2) = 0.9
STATE_LIMIT = 10.0  # a gated state lies between -STATE_LIMIT and STATE_LIMIT


class Cell(nn.Module, ABC):
    """A recurrent cell over maps: `project_inputs` processes all frames at once, `step` advances the state by one."""

    def forward(
        self, x: Float[Tensor, "TB c h w"], state: Float[Tensor, "B c h w"]
    ) -> tuple[Float[Tensor, "TB c h w"], Float[Tensor, "B c h w"]]:
        """x: the maps of T frames of B videos, time first -> the states after each frame, and the last of them.

        With time before the videos, a frame is contiguous in memory and keeps the memory layout that it has in x.
        """
        states, inputs = [], self.project_inputs(x)
        state = _in_layout_of(inputs, state)
        for frame_inputs in inputs.split(len(state)):
            state = self.step(frame_inputs, state)
            states.append(state)
        return torch.cat(states) if len(states) > 1 else state, state

    @abstractmethod
    def project_inputs(self, x: Float[Tensor, "N c h w"]) -> Float[Tensor, "N d h w"]:
        """The part of the computation that does not depend on the state."""

    @abstractmethod
    def step(self, inputs: Float[Tensor, "B d h w"], state: Float[Tensor, "B c h w"]) -> Float[Tensor, "B c h w"]:
        """The new state. inputs: from `project_inputs`, for one frame."""

    @abstractmethod
    def init_pass_through(self) -> None:
        """Set the weights so that the state is the frame's own map, as nearly as the cell can, and memory is unused."""


def _in_layout_of(x: Tensor, state: Tensor) -> Tensor:
    """The state in the memory layout of x: operations on maps of two layouts take several times as long."""
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    return state.contiguous(memory_format=layout)


class RNNCell(Cell):
    """h = relu(conv(x) + conv(h)), both 3x3 with bias."""

    def __init__(self, channels: int):
        super().__init__()
        self.input_conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.state_conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def project_inputs(self, x: Float[Tensor, "N c h w"]) -> Float[Tensor, "N c h w"]:
        """The convolution of the frames."""
        return self.input_conv(x)

    def step(self, inputs: Float[Tensor, "B c h w"], state: Float[Tensor, "B c h w"]) -> Float[Tensor, "B c h w"]:
        """The new state."""
        return F.relu(inputs + self.state_conv(state))

    def init_pass_through(self) -> None:
        """h = relu(x), which is x if x comes from a ReLU."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        nn.init.dirac_(self.input_conv.weight)


class GRUCell(Cell):
    """h = (1 - z) h + z tanh(conv [x, r h]), where update z and reset r are sigmoid(conv [x, h]); convolutions 3x3.

    A convolution of [x, h] is the sum of a convolution of x, computed for all frames at once, and one of h. tanh is
    stretched by STATE_LIMIT in both directions, which weights could compensate for, so the maps of a trained network
    pass through it nearly unchanged.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.gates = nn.Conv2d(2 * channels, 2 * channels, kernel_size=3, padding=1)
        self.candidate = nn.Conv2d(2 * channels, channels, kernel_size=3, padding=1)

    def forward(
        self, x: Float[Tensor, "TB c h w"], state: Float[Tensor, "B c h w"]
    ) -> tuple[Float[Tensor, "TB c h w"], Float[Tensor, "B c h w"]]:
        """See `Cell.forward`. A single frame without gradients, as in a live stream, needs fewer passes over memory."""
        if len(x) != len(state) or torch.is_grad_enabled():
            return super().forward(x, state)
        state = _in_layout_of(x, state)
        both = torch.cat([x, state], dim=1)
        update, reset = self.gates(both).sigmoid_().chunk(2, dim=1)
        both[:, self.channels :].mul_(reset)  # it held the state; torch.compile knows no `out` that is a part
        candidate = self.candidate(both).div_(STATE_LIMIT).tanh_().mul_(STATE_LIMIT)
        state = torch.lerp(state, candidate.to(state), update.to(state))
        return state, state

    def project_inputs(self, x: Float[Tensor, "N c h w"]) -> Float[Tensor, "N 3*c h w"]:
        """The frames' part of update, reset and candidate."""
        weight = torch.cat([self.gates.weight, self.candidate.weight])[:, : self.channels]
        bias = torch.cat([conv.get_parameter("bias") for conv in (self.gates, self.candidate)])
        return F.conv2d(x, weight, bias, padding=1)

    def step(self, inputs: Float[Tensor, "B d h w"], state: Float[Tensor, "B c h w"]) -> Float[Tensor, "B c h w"]:
        """The new state."""
        gate_inputs, candidate_inputs = inputs.split([2 * self.channels, self.channels], dim=1)
        # in place where gradients allow it: at full size, memory sets the pace
        gates = self._convolve_state(self.gates, state).add_(gate_inputs).sigmoid_()
        update, reset = gates.chunk(2, dim=1)
        candidate = self._convolve_state(self.candidate, reset * state).add_(candidate_inputs)
        candidate = STATE_LIMIT * candidate.div_(STATE_LIMIT).tanh_()
        return torch.lerp(state, candidate.to(state), update.to(state))  # under autocast the memory stays float32

    def init_pass_through(self) -> None:
        """h = 0.9 x + 0.1 of the previous state, for x that is small compared with STATE_LIMIT."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        nn.init.dirac_(self.candidate.weight)  # selects x, the first half of [x, h]
        nn.init.constant_(self.gates.get_parameter("bias")[: self.channels], PASS_THROUGH_GATE)

    def _convolve_state(self, conv: nn.Conv2d, state: Tensor) -> Tensor:
        return F.conv2d(state, conv.weight[:, self.channels :], padding=1)
