"""Translators of SimVP that read the frames as a sequence: a factored transformer, and ConvLSTM as the reference."""

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.models.convlstm import ConvLSTMCell

HEAD_CHANNELS = 32  # of an attention head
GATE_RATIO = 8 / 3  # hidden channels of SwiGLU, per channel: as many weights as a usual ratio of 4 without a gate
MAX_WAVELENGTH = 10_000.0  # positions, of the slowest sinusoid


class GatedTransformerBlock(nn.Module):
    """Attention among tokens, then SwiGLU; both residual, after LayerNorm."""

    def __init__(self, channels: int):
        super().__init__()
        self.n_heads = math.gcd(channels, max(1, channels // HEAD_CHANNELS))
        hidden = round(GATE_RATIO * channels)
        self.norm_attention, self.norm_gate = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.project_in = nn.Linear(channels, 3 * channels)
        self.project_out = nn.Linear(channels, channels)
        self.gate = nn.Linear(channels, 2 * hidden)
        self.gate_out = nn.Linear(hidden, channels)

    def forward(self, tokens: Float[Tensor, "N L C"]) -> Float[Tensor, "N L C"]:
        """N sets of L tokens, each set by itself."""
        heads = rearrange(
            self.project_in(self.norm_attention(tokens)),
            "n l (three heads c) -> three n heads l c",
            three=3,
            heads=self.n_heads,
        )
        attended = F.scaled_dot_product_attention(*heads)
        tokens = tokens + self.project_out(rearrange(attended, "n heads l c -> n l (heads c)"))
        gate, values = self.gate(self.norm_gate(tokens)).chunk(2, dim=-1)
        return tokens + self.gate_out(F.silu(gate) * values)


class FactoredTransformer(nn.Module):
    """A gated transformer whose attention alternates between time and space, as PredFormer's ("Binary-TS").

    Each of the `n_blocks` first attends along the frames, pixel by pixel, then within each frame. Its tokens are the
    encoder's pixels, of `hidden` channels; sinusoids tell their positions, so any height and width will do.
    Tang et al., "Video Prediction Transformers without Recurrence or Convolution" (2024).
    """

    def __init__(self, channels: int, hidden: int, n_blocks: int, *, n_frames: int):
        super().__init__()
        self.n_frames = n_frames
        self.embed = nn.Linear(channels // n_frames, hidden)
        self.in_time = nn.ModuleList(GatedTransformerBlock(hidden) for _ in range(n_blocks))
        self.in_space = nn.ModuleList(GatedTransformerBlock(hidden) for _ in range(n_blocks))
        self.norm = nn.LayerNorm(hidden)
        self.readout = nn.Linear(hidden, channels // n_frames)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Future maps from past maps; C = frames x channels."""
        height, width = x.shape[-2:]
        tokens = self.embed(rearrange(x, "b (t c) h w -> b t h w c", t=self.n_frames))
        tokens = tokens + grid_positions((self.n_frames, height, width), tokens)
        tokens = rearrange(tokens, "b t h w c -> b t (h w) c")
        n_clips = len(tokens)
        for in_time, in_space in zip(self.in_time, self.in_space, strict=True):
            tokens = in_time(rearrange(tokens, "b t n c -> (b n) t c"))
            tokens = in_space(rearrange(tokens, "(b n) t c -> (b t) n c", b=n_clips))
            tokens = rearrange(tokens, "(b t) n c -> b t n c", b=n_clips)
        return rearrange(self.readout(self.norm(tokens)), "b t (h w) c -> b (t c) h w", h=height)


def grid_positions(size: tuple[int, int, int], like: Tensor) -> Float[Tensor, "T h w C"]:
    """Sinusoids of time, row and column, a third of the channels for each; the channels left over are 0.

    like: (..., C), whose number of channels, type and device they have
    """
    channels = like.shape[-1]
    n_pairs = channels // 6
    wavelengths = MAX_WAVELENGTH ** (torch.arange(n_pairs, device=like.device) / max(1, n_pairs))
    parts = []
    for axis, length in enumerate(size):
        angles = torch.arange(length, device=like.device)[:, None] / wavelengths  # (length, pairs)
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1)
        shape = [1, 1, 1, 2 * n_pairs]
        shape[axis] = length
        parts.append(waves.view(shape).expand(*size, -1))
    return F.pad(torch.cat(parts, dim=-1), (0, channels - 6 * n_pairs)).to(like.dtype)


class RecurrentTranslator(nn.Module):
    """`n_blocks` ConvLSTM layers of `hidden` channels read the past maps, then write one future map after the other.

    The input of each future step is the map before it, its own forecast. Shi et al. (NeurIPS 2015).
    """

    def __init__(self, channels: int, hidden: int, n_blocks: int, *, n_frames: int):
        super().__init__()
        self.n_frames = n_frames
        per_frame = channels // n_frames
        self.cells = nn.ModuleList(ConvLSTMCell(hidden if layer else per_frame, hidden) for layer in range(n_blocks))
        self.readout = nn.Conv2d(hidden, per_frame, kernel_size=1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Future maps from past maps; C = frames x channels."""
        past = rearrange(x, "b (t c) h w -> t b c h w", t=self.n_frames)
        zeros = x.new_zeros(len(x), self.readout.in_channels, *x.shape[-2:])
        states, future = [(zeros, zeros)] * len(self.cells), []
        for step in range(2 * self.n_frames - 1):
            maps = past[step] if step < self.n_frames else future[-1]
            for layer, cell in enumerate(self.cells):
                states[layer] = cell(maps, *states[layer])
                maps = states[layer][0]
            if step >= self.n_frames - 1:
                future.append(self.readout(maps))
        return torch.cat(future, dim=1)
