"""Translators of SimVP that read the frames as a sequence: a factored transformer, and ConvLSTM as the reference.

Their weights apply to each frame, those of the convolutional translators once to all frames. So both work on patches of
latent pixels: the operations then are 2 to 4.5 times those of a convolutional translator with as many parameters.
"""

import math
from abc import ABC, abstractmethod

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.models.convlstm import ConvLSTMCell
from vidseg_utils.models.layers import pad_to_multiple
from vidseg_utils.models.translators import LAYER_SCALE

PATCH = 2  # latent pixels, the side; with an encoder that divides by 4 it is PredFormer's patch of 8 on Moving MNIST
HEAD_CHANNELS = 32  # of an attention head
GATE_RATIO = 8 / 3  # hidden channels of SwiGLU, per channel: as many weights as a usual ratio of 4 without a gate
MAX_WAVELENGTH = 10_000.0  # positions, of the slowest sinusoid
PRODUCT_DEVICES = ("cpu",)  # where PyTorch's own attention trains slower than two matrix products; not tried on GPUs


class PatchTranslator(nn.Module, ABC):
    """Past maps as patches, by `translate` to their changes since the last one, to future maps; any height and width.

    Without the last patch as the start, short trainings of the transformer stay near copying: it would have to learn
    first that every future frame needs the last past one, which has another position in its sequence.
    """

    def __init__(self, channels: int, *, n_frames: int):
        super().__init__()
        self.n_frames = n_frames
        self.patch_channels = channels // n_frames * PATCH**2

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Future maps from past maps; C = frames x channels."""
        height, width = x.shape[-2:]
        patches = rearrange(
            pad_to_multiple(x, multiple=PATCH),
            "b (t c) (h p) (w q) -> b t (c p q) h w",
            t=self.n_frames,
            p=PATCH,
            q=PATCH,
        )
        future = patches[:, -1:] + self.translate(patches)
        future = rearrange(future, "b t (c p q) h w -> b (t c) (h p) (w q)", p=PATCH, q=PATCH)
        return future[..., :height, :width]

    @abstractmethod
    def translate(self, past: Float[Tensor, "B T C h w"]) -> Float[Tensor, "B T C h w"]:
        """Past patches to the changes of future patches since the last past one."""


class GatedTransformerBlock(nn.Module):
    """Attention among tokens, then SwiGLU, both residual and after LayerNorm; at the end LayerNorm again.

    What a branch adds starts small, as in the attention blocks of `translators`; PredFormer starts from small weights.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.n_heads = math.gcd(channels, max(1, channels // HEAD_CHANNELS))
        hidden = round(GATE_RATIO * channels)
        self.norm_attention, self.norm_gate, self.norm_out = (nn.LayerNorm(channels) for _ in range(3))
        self.project_in = nn.Linear(channels, 3 * channels, bias=False)
        self.project_out = nn.Linear(channels, channels)
        self.gate = nn.Linear(channels, 2 * hidden)
        self.gate_out = nn.Linear(hidden, channels)
        self.attention_scale = nn.Parameter(torch.full((channels,), LAYER_SCALE))
        self.gate_scale = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, tokens: Float[Tensor, "N L C"]) -> Float[Tensor, "N L C"]:
        """N sets of L tokens, each set by itself."""
        heads = rearrange(
            self.project_in(self.norm_attention(tokens)),
            "n l (three heads c) -> three n heads l c",
            three=3,
            heads=self.n_heads,
        )
        attended = rearrange(attention(*heads), "n heads l c -> n l (heads c)")
        tokens = tokens + self.attention_scale * self.project_out(attended)
        gate, values = self.gate(self.norm_gate(tokens)).chunk(2, dim=-1)
        return self.norm_out(tokens + self.gate_scale * self.gate_out(F.silu(gate) * values))


def attention(
    queries: Float[Tensor, "N heads L c"], keys: Float[Tensor, "N heads L c"], values: Float[Tensor, "N heads L c"]
) -> Float[Tensor, "N heads L c"]:
    """Scaled dot-product attention; on PRODUCT_DEVICES as two products, which train 2 to 3 times as fast in bf16."""
    if queries.device.type not in PRODUCT_DEVICES:
        return F.scaled_dot_product_attention(queries, keys, values)
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    return scores.softmax(dim=-1) @ values


class FactoredTransformer(PatchTranslator):
    """A gated transformer whose attention alternates between time and space, as PredFormer's ("Binary-TS").

    Each of the `n_blocks` first attends along the frames, patch by patch, then within each frame. Its tokens have
    `hidden` channels; sinusoids tell their positions. Tang et al., "Video Prediction Transformers without Recurrence or
    Convolution" (2024).
    """

    def __init__(self, channels: int, hidden: int, n_blocks: int, *, n_frames: int):
        super().__init__(channels, n_frames=n_frames)
        self.embed = nn.Linear(self.patch_channels, hidden)
        self.in_time = nn.ModuleList(GatedTransformerBlock(hidden) for _ in range(n_blocks))
        self.in_space = nn.ModuleList(GatedTransformerBlock(hidden) for _ in range(n_blocks))
        self.readout = nn.Linear(hidden, self.patch_channels)

    def translate(self, past: Float[Tensor, "B T C h w"]) -> Float[Tensor, "B T C h w"]:
        """Past patches to the changes of future patches since the last past one."""
        n_clips, n_frames, _, height, width = past.shape
        tokens = self.embed(rearrange(past, "b t c h w -> b t h w c"))
        tokens = tokens + grid_positions((n_frames, height, width), tokens)
        tokens = rearrange(tokens, "b t h w c -> b t (h w) c")
        for in_time, in_space in zip(self.in_time, self.in_space, strict=True):
            tokens = in_time(rearrange(tokens, "b t n c -> (b n) t c"))
            tokens = in_space(rearrange(tokens, "(b n) t c -> (b t) n c", b=n_clips))
            tokens = rearrange(tokens, "(b t) n c -> b t n c", b=n_clips)
        return rearrange(self.readout(tokens), "b t (h w) c -> b t c h w", h=height)


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


class RecurrentTranslator(PatchTranslator):
    """`n_blocks` ConvLSTM layers of `hidden` channels read the past maps, then write one future map after the other.

    The input of each future step is the map before it, its own forecast. Shi et al. (NeurIPS 2015).
    """

    def __init__(self, channels: int, hidden: int, n_blocks: int, *, n_frames: int):
        super().__init__(channels, n_frames=n_frames)
        self.cells = nn.ModuleList(
            ConvLSTMCell(hidden if layer else self.patch_channels, hidden) for layer in range(n_blocks)
        )
        self.readout = nn.Conv2d(hidden, self.patch_channels, kernel_size=1)

    def translate(self, past: Float[Tensor, "B T C h w"]) -> Float[Tensor, "B T C h w"]:
        """Past patches to the changes of future patches since the last past one."""
        zeros = past.new_zeros(len(past), self.readout.in_channels, *past.shape[-2:])
        states, changes = [(zeros, zeros)] * len(self.cells), []
        for step in range(2 * self.n_frames - 1):
            maps = past[:, step] if step < self.n_frames else past[:, -1] + changes[-1]
            for layer, cell in enumerate(self.cells):
                states[layer] = cell(maps, *states[layer])
                maps = states[layer][0]
            if step >= self.n_frames - 1:
                changes.append(self.readout(maps))
        return torch.stack(changes, dim=1)
