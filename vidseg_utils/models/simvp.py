"""SimVP: a convolutional encoder, a translator that mixes the frames, and a decoder. T frames in, the next T out.

Gao, Tan, Wu, Li: "SimVP: Simpler yet Better Video Prediction" (CVPR 2022); the translator `gsta` is that of its
second version (Tan, Gao, Li, Li, 2022). `autoregression` forecasts more than T frames, or one frame at a time.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidseg_utils.checks import check_choice, check_positive
from vidseg_utils.models.layers import check_images, fold_frames, unfold_frames, zero_init
from vidseg_utils.models.sequence_translators import FactoredTransformer, RecurrentTranslator
from vidseg_utils.models.translators import GatedAttention, Inception, TemporalAttention
from vidseg_utils.task import HEIGHT, PAST_FRAMES, WIDTH


def strides(n_layers: int) -> list[int]:
    """Strides of the encoder's layers: 1, 2, 1, 2, …."""
    return [1 + layer % 2 for layer in range(n_layers)]


class SpatialConv(nn.Sequential):
    """3x3 convolution, GroupNorm(2), LeakyReLU(0.2); stride 2 halves height and width, or doubles them if `up`."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, up: bool = False):
        if up and stride == 2:
            conv = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
        else:
            conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
        super().__init__(conv, nn.GroupNorm(2, out_channels), nn.LeakyReLU(0.2, inplace=True))


class Encoder(nn.Module):
    """Encodes each frame separately; the output of the first layer is the skip."""

    def __init__(self, in_channels: int, hid_s: int, n_s: int):
        super().__init__()
        widths = [in_channels] + [hid_s] * (n_s - 1)
        self.layers = nn.ModuleList(
            SpatialConv(width, hid_s, stride=stride) for width, stride in zip(widths, strides(n_s), strict=True)
        )

    def forward(
        self, images: Float[Tensor, "N C H W"]
    ) -> tuple[Float[Tensor, "N hid_s h w"], Float[Tensor, "N hid_s H W"]]:
        """The latent map and the skip."""
        skip = self.layers[0](images)
        latent = skip
        for layer in self.layers[1:]:
            latent = layer(latent)
        return latent, skip


class Decoder(nn.Module):
    """Decodes each map to a frame. The last layer also takes the skip; a 1x1 readout gives the output channels."""

    def __init__(self, hid_s: int, out_channels: int, n_s: int):
        super().__init__()
        *early, last = reversed(strides(n_s))
        self.layers = nn.ModuleList(SpatialConv(hid_s, hid_s, stride=stride, up=True) for stride in early)
        self.last = SpatialConv(2 * hid_s, hid_s, stride=last, up=True)
        self.readout = nn.Conv2d(hid_s, out_channels, kernel_size=1)

    def forward(
        self, latent: Float[Tensor, "N hid_s h w"], skip: Float[Tensor, "N hid_s H W"]
    ) -> Float[Tensor, "N out_channels H W"]:
        """The frames or class logits."""
        for layer in self.layers:
            latent = layer(latent)
        return self.readout(self.last(torch.cat([latent, skip], dim=1)))


TRANSLATORS = ("inception", "gsta", "tau", "transformer", "convlstm")


def build_translator(name: str, channels: int, hidden: int, n_blocks: int, groups: int, n_frames: int) -> nn.Module:
    """A translator of maps (B, C, h, w); C = frames x channels."""
    match name:
        case "inception":
            return Inception(channels, hidden, n_blocks, groups=groups)
        case "gsta":
            return GatedAttention(channels, hidden, n_blocks)
        case "tau":
            return TemporalAttention(channels, hidden, n_blocks)
        case "transformer":
            return FactoredTransformer(channels, hidden, n_blocks, n_frames=n_frames)
        case _:
            return RecurrentTranslator(channels, hidden, n_blocks, n_frames=n_frames)


class SimVP(nn.Module):
    """T frames to the T frames that follow.

    in_shape: (T, C, H, W); H and W must be divisible by 2 ** (n_s // 2). The model also takes other such sizes.
    out_channels: by default C; the number of classes for class logits instead of frames
    hid_s, n_s: channels and layers of encoder and decoder
    translator: "inception", "gsta", "tau", "transformer" or "convlstm"
    hid_t, n_t: channels and blocks of the translator
    groups: of the inception translator's convolutions; reduced to their greatest common divisor with the channels
    residual: predict the change since the last input frame. Not in the paper; short trainings need it.
    With in_shape (10, 1, 64, 64) and hid_t 256: 15,778,433 parameters; 512: 57,761,409.
    """

    def __init__(
        self,
        in_shape: Sequence[int] = (PAST_FRAMES, 3, HEIGHT, WIDTH),
        out_channels: int | None = None,
        hid_s: int = 64,
        hid_t: int = 256,
        n_s: int = 4,
        n_t: int = 8,
        groups: int = 8,
        translator: str = "inception",
        residual: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(in_shape, Sequence) or len(in_shape) != 4:
            raise ValueError(f"in_shape must be (frames, channels, height, width), got {in_shape}")
        self.n_frames, self.in_channels, height, width = in_shape
        out_channels = self.in_channels if out_channels is None else out_channels
        check_positive(frames=self.n_frames, channels=self.in_channels, height=height, width=width)
        check_positive(out_channels=out_channels, hid_s=hid_s, hid_t=hid_t, n_s=n_s, n_t=n_t, groups=groups)
        if hid_s % 2 or hid_t % 2:
            raise ValueError(f"hid_s and hid_t must be even, got {hid_s} and {hid_t}")
        check_choice("translator", translator, TRANSLATORS)
        self.multiple = 2 ** (n_s // 2)
        self._check_size(height, width)
        self.encoder = Encoder(self.in_channels, hid_s, n_s)
        self.translator = build_translator(translator, self.n_frames * hid_s, hid_t, n_t, groups, self.n_frames)
        self.decoder = Decoder(hid_s, out_channels, n_s)
        self.residual = residual
        if residual:
            if out_channels != self.in_channels:
                raise ValueError(
                    f"residual needs as many channels out as in, got {out_channels} and {self.in_channels}"
                )
            zero_init(self.decoder.readout)

    def forward(
        self, frames: Float[Tensor, "B T C H W"], last_frames: int | None = None
    ) -> Float[Tensor, "B F out_channels H W"]:
        """Forecast the next T frames, without an activation at the end.

        frames: frames in [0, 1], or one-hot masks
        last_frames: how many of the last frames to decode; None: all (a loss on frame 21 alone needs one)
        Raises ValueError for another number of frames or channels, or a size that is not divisible.
        """
        self._check(frames)
        if last_frames is not None and not 1 <= last_frames <= self.n_frames:
            raise ValueError(f"last_frames must be between 1 and {self.n_frames}, got {last_frames}")
        latent, skip = self.encoder(fold_frames(frames))  # (B*T, hid_s, h, w), (B*T, hid_s, H, W)
        mixed = self.translator(rearrange(latent, "(b t) c h w -> b (t c) h w", t=self.n_frames))
        mixed = rearrange(mixed, "b (t c) h w -> b t c h w", t=self.n_frames)
        skip = unfold_frames(skip, n_frames=self.n_frames)
        if last_frames is not None:
            mixed, skip = mixed[:, -last_frames:], skip[:, -last_frames:]  # (B, last_frames, hid_s, …)
        future = self.decoder(fold_frames(mixed), fold_frames(skip))  # (B*T, out_channels, H, W)
        future = unfold_frames(future, n_frames=mixed.shape[1])
        return frames[:, -1:] + future if self.residual else future

    def _check(self, frames: torch.Tensor) -> None:
        check_images(frames, channels=self.in_channels, video=True)
        if frames.shape[1] != self.n_frames:
            raise ValueError(f"this SimVP maps {self.n_frames} frames to {self.n_frames}, got {frames.shape[1]}")
        self._check_size(*frames.shape[-2:])

    def _check_size(self, height: int, width: int) -> None:
        for name, size in (("height", height), ("width", width)):
            if size % self.multiple:
                cure = size + -size % self.multiple
                raise ValueError(f"{name} {size} is not divisible by {self.multiple}; pad to {cure}")
