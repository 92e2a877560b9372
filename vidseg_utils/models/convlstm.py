"""ConvLSTM reconstructor: reads the past frames one after the other and draws one future frame at once.

The cell is that of Shi et al., "Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting"
(NeurIPS 2015), without peepholes; encoder and decoder are those of a U-Net without skips.
"""

import torch
from torch import nn

from vidseg_utils.checks import check_positive
from vidseg_utils.models.layers import DoubleConv, check_images, fold_frames, pad_to_multiple, unfold_frames

POOLINGS = 3  # the decoder doubles as often


class ConvLSTMCell(nn.Module):
    """One layer: input, forget, output gate and candidate from a single 3x3 convolution of [x, h]."""

    def __init__(self, in_channels: int, hidden_channels: int):
        super().__init__()
        self.gates = nn.Conv2d(in_channels + hidden_channels, 4 * hidden_channels, kernel_size=3, padding=1)

    def forward(self, x: torch.Tensor, hidden: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x: (B, in, h, w), hidden, memory: (B, hidden, h, w) -> the new hidden and memory."""
        entry, forget, output, candidate = self.gates(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)
        memory = torch.sigmoid(forget) * memory + torch.sigmoid(entry) * torch.tanh(candidate)
        return torch.sigmoid(output) * torch.tanh(memory), memory


class ConvLSTM(nn.Module):
    """A stack of cells over a sequence of maps; gives the last layer's last hidden state."""

    def __init__(self, in_channels: int, hidden_channels: int, n_layers: int):
        super().__init__()
        self.hidden_channels = hidden_channels
        self.cells = nn.ModuleList(
            ConvLSTMCell(hidden_channels if layer else in_channels, hidden_channels) for layer in range(n_layers)
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """maps: (B, T, C, h, w) -> (B, hidden, h, w)."""
        zeros = maps.new_zeros(len(maps), self.hidden_channels, *maps.shape[-2:])
        states = [(zeros, zeros)] * len(self.cells)
        for x in maps.unbind(dim=1):
            for layer, cell in enumerate(self.cells):
                states[layer] = cell(x, *states[layer])
                x = states[layer][0]
        return x


class ConvLSTMReconstructor(nn.Module):
    """T past frames -> one future frame: (B, T, C, H, W) -> (B, C, H, W), in [0, 1].

    base_channels: c; the encoder makes c, 2c, 4c, 8c channels, pooling before each but the first
    hidden_channels, n_layers: of the ConvLSTM over the frames' maps
    residual: draw what changes since the last past frame, not a whole frame, so that training begins at copy-last
    The decoder makes hidden/2, hidden/4 and hidden/8 channels, doubling the size each time.
    Any height and width (padded and cropped back), and any number of frames.
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
        if hidden_channels % 8:
            raise ValueError(f"hidden_channels must be divisible by 8, got {hidden_channels}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.in_channels, self.residual = in_channels, residual
        c, hidden = base_channels, hidden_channels
        self.encoder = nn.Sequential(DoubleConv(in_channels, c), nn.Dropout(dropout))
        for level in range(POOLINGS):
            self.encoder.append(nn.MaxPool2d(2))
            self.encoder.append(DoubleConv(c << level, 2 * c << level))
            self.encoder.append(nn.Dropout(dropout))
        self.memory = ConvLSTM(c << POOLINGS, hidden, n_layers)
        self.decoder = nn.Sequential()
        for level in range(POOLINGS):
            width = hidden >> level
            self.decoder.append(nn.ConvTranspose2d(width, width // 2, kernel_size=2, stride=2))
            self.decoder.append(DoubleConv(width // 2, width // 2))
        self.head = nn.Conv2d(hidden >> POOLINGS, in_channels, kernel_size=1)
        if residual:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Draw the future frame.

        frames: (B, T, C, H, W) float in [0, 1]
        returns: (B, C, H, W) in [0, 1]
        Raises ValueError for other axes or channels.
        """
        check_images(frames, channels=self.in_channels, video=True)
        height, width = frames.shape[-2:]
        images = pad_to_multiple(fold_frames(frames), multiple=2**POOLINGS)
        maps = unfold_frames(self.encoder(2 * images - 1), n_frames=frames.shape[1])  # (B, T, 8c, h, w)
        drawn = torch.tanh(self.head(self.decoder(self.memory(maps))))  # (B, C, H', W')
        drawn = drawn[..., :height, :width]
        return (frames[:, -1] + drawn).clamp(0, 1) if self.residual else (drawn + 1) / 2
