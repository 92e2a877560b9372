"""ConvLSTM reconstructor: reads the past frames one after the other and predicts one future frame.

The cell is that of Shi et al., "Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting"
(NeurIPS 2015), without peepholes. Encoder and decoder are those of a U-Net without skips.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidseg_utils.checks import check_positive
from vidseg_utils.models.layers import (
    DoubleConv,
    check_images,
    fold_frames,
    pad_to_multiple,
    unfold_frames,
    zero_init,
)

N_POOLINGS = 3  # of the encoder; the decoder doubles the size as often


class ConvLSTMCell(nn.Module):
    """One layer: input, forget and output gate and the candidate come from a single 3x3 convolution of [x, hidden]."""

    def __init__(self, in_channels: int, hidden_channels: int):
        super().__init__()
        self.gates = nn.Conv2d(in_channels + hidden_channels, 4 * hidden_channels, kernel_size=3, padding=1)

    def forward(
        self, x: Float[Tensor, "B C h w"], hidden: Float[Tensor, "B D h w"], memory: Float[Tensor, "B D h w"]
    ) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B D h w"]]:
        """The new hidden state and memory."""
        input_gate, forget_gate, output_gate, candidate = self.gates(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)
        memory = torch.sigmoid(forget_gate) * memory + torch.sigmoid(input_gate) * torch.tanh(candidate)
        return torch.sigmoid(output_gate) * torch.tanh(memory), memory


class ConvLSTM(nn.Module):
    """A stack of cells over a sequence of maps."""

    def __init__(self, in_channels: int, hidden_channels: int, n_layers: int):
        super().__init__()
        self.hidden_channels = hidden_channels
        self.cells = nn.ModuleList(
            ConvLSTMCell(hidden_channels if layer else in_channels, hidden_channels) for layer in range(n_layers)
        )

    def forward(self, maps: Float[Tensor, "B T C h w"]) -> Float[Tensor, "B D h w"]:
        """The last layer's hidden state after the last map."""
        zeros = maps.new_zeros(len(maps), self.hidden_channels, *maps.shape[-2:])
        states = [(zeros, zeros)] * len(self.cells)
        for x in maps.unbind(dim=1):
            for layer, cell in enumerate(self.cells):
                states[layer] = cell(x, *states[layer])
                x = states[layer][0]
        return states[-1][0]


class ConvLSTMReconstructor(nn.Module):
    """T past frames to one future frame, in [0, 1].

    base_channels: c; the encoder has c, 2c, 4c, 8c channels, with pooling before each double convolution but the first
    hidden_channels, n_layers: of the ConvLSTM over the frames' maps
    residual: predict the change since the last past frame, so that training starts at copy-last
    The decoder has hidden/2, hidden/4 and hidden/8 channels and doubles the size each time.
    Any height and width (padded, then cropped), and any number of frames.
    """

    def __init__(
        self,
        in_channels: int = 3,
        base_channels: int = 64,
        hidden_channels: int = 256,
        n_layers: int = 2,
        dropout: float = 0.2,
        residual: bool = False,
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, base_channels=base_channels, n_layers=n_layers)
        check_positive(hidden_channels=hidden_channels)
        if hidden_channels % 2**N_POOLINGS:
            raise ValueError(f"hidden_channels must be divisible by {2**N_POOLINGS}, got {hidden_channels}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.in_channels, self.residual = in_channels, residual
        self.encoder = nn.Sequential(DoubleConv(in_channels, base_channels), nn.Dropout(dropout))
        for level in range(N_POOLINGS):
            channels = base_channels << level
            self.encoder.append(nn.MaxPool2d(2))
            self.encoder.append(DoubleConv(channels, 2 * channels))
            self.encoder.append(nn.Dropout(dropout))
        self.memory = ConvLSTM(base_channels << N_POOLINGS, hidden_channels, n_layers)
        self.decoder = nn.Sequential()
        for level in range(N_POOLINGS):
            channels = hidden_channels >> level
            self.decoder.append(nn.ConvTranspose2d(channels, channels // 2, kernel_size=2, stride=2))
            self.decoder.append(DoubleConv(channels // 2, channels // 2))
        self.head = nn.Conv2d(hidden_channels >> N_POOLINGS, in_channels, kernel_size=1)
        if residual:
            zero_init(self.head)

    def forward(self, frames: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B C H W"]:
        """Predict the future frame, in [0, 1].

        frames: in [0, 1]
        Raises ValueError for other axes or channels.
        """
        check_images(frames, channels=self.in_channels, video=True)
        height, width = frames.shape[-2:]
        images = pad_to_multiple(fold_frames(frames), multiple=2**N_POOLINGS)
        maps = unfold_frames(self.encoder(2 * images - 1), n_frames=frames.shape[1])  # (B, T, 8c, h, w)
        output = torch.tanh(self.head(self.decoder(self.memory(maps))))  # (B, C, H', W')
        output = output[..., :height, :width]
        return (frames[:, -1] + output).clamp(0, 1) if self.residual else (output + 1) / 2
