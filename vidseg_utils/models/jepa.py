"""JEPA: predict the embeddings of future frames, not their pixels; a small decoder reads masks off them.

LeCun, "A Path Towards Autonomous Machine Intelligence" (2022); the target encoder follows the encoder by a moving
average, as in I-JEPA (Assran et al., 2023) and V-JEPA (Bardes et al., 2024); the variance and covariance terms are
those of VICReg (Bardes, Ponce, LeCun, 2022).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.checks import check_positive
from vidseg_utils.models.layers import (
    FactoredHead,
    check_images,
    fold_frames,
    pad_to_multiple,
    pick_frames,
    unfold_frames,
)
from vidseg_utils.models.simvp import SpatialConv
from vidseg_utils.models.transport import CONTEXT_FRAMES, TransportPredictor
from vidseg_utils.task import FUTURE_FRAMES

CELL = 4  # pixels, side of the cells that have one embedding each
FIRST_SCALE = 6.0  # of the encoder's last weights: the embeddings then begin near the standard deviation that they need
MIN_STD = 1.0  # standard deviation of every channel, below which the variance term acts; as published
TINY_VARIANCE = 1e-4  # keeps the gradient of the standard deviation finite; as published


class Embeddings(NamedTuple):
    """What the losses of a batch of videos need."""

    context: Float[Tensor, "B K D h w"]  # of the given frames, by the encoder
    predicted: Float[Tensor, "B F D h w"]  # of some of the frames after them, by the predictor
    target: Float[Tensor, "B F D h w"]  # of the same frames, by the target encoder


class CellEncoder(nn.Sequential):
    """A frame to one embedding for each cell of 4x4 pixels, which sees the 20x20 pixels around it.

    It sees one frame alone: given the change since the frame before, it could learn to hide what moves.
    It averages over 2x2 positions, so that an object that moves by a part of a cell changes its embedding smoothly.
    """

    def __init__(self, channels: int, hidden: int):
        last = nn.Conv2d(hidden, channels, kernel_size=1)
        with torch.no_grad():
            last.weight.mul_(FIRST_SCALE)
        super().__init__(
            SpatialConv(3, hidden // 2, stride=2),
            SpatialConv(hidden // 2, hidden, stride=1),
            nn.AvgPool2d(2),
            SpatialConv(hidden, hidden, stride=1),
            last,
        )


class JEPA(nn.Module):
    """Encoder, target encoder and predictor. Any height and width: frames are padded to a multiple of 4.

    channels: of an embedding; hidden: of the encoder's maps; predictor_hidden: of the predictor's
    """

    def __init__(self, channels: int = 64, hidden: int = 64, predictor_hidden: int = 64) -> None:
        super().__init__()
        check_positive(channels=channels, hidden=hidden, predictor_hidden=predictor_hidden)
        if hidden % 4 or predictor_hidden % 2:
            raise ValueError(
                f"hidden must be divisible by 4 and predictor_hidden by 2, got {hidden} and {predictor_hidden}"
            )
        self.encoder = CellEncoder(channels, hidden)
        self.target_encoder = CellEncoder(channels, hidden).requires_grad_(False)
        self.target_encoder.load_state_dict(self.encoder.state_dict())
        self.predictor = TransportPredictor(channels, predictor_hidden)

    def forward(self, frames: Float[Tensor, "B T C H W"], horizons: Sequence[int]) -> Embeddings:
        """What the losses need: the first CONTEXT_FRAMES frames are given, those `horizons` after them are predicted.

        frames: in [0, 1]; horizons: each between 1 and FUTURE_FRAMES
        Raises ValueError for other axes, too few frames, another horizon, or frames that are not float.
        """
        self._check(frames, horizons, n_frames=CONTEXT_FRAMES + max(horizons, default=1))
        context = _embed(self.encoder, frames[:, :CONTEXT_FRAMES])
        with torch.no_grad():
            future = pick_frames(frames, [CONTEXT_FRAMES - 1 + n for n in horizons])
            target = _embed(self.target_encoder, future)
        return Embeddings(context, self.predictor(context, horizons), target)

    def encode(self, frames: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B T D h w"]:
        """Embeddings by the target encoder, which is the one to use after training. frames: in [0, 1]"""
        check_images(frames, channels=3, video=True)
        return _embed(self.target_encoder, frames)

    def predict(
        self, frames: Float[Tensor, "B T C H W"], horizons: Sequence[int] = (FUTURE_FRAMES,)
    ) -> Float[Tensor, "B F D h w"]:
        """Embeddings of the frames `horizons` after the given ones, of which the last CONTEXT_FRAMES are read.

        frames: in [0, 1]; horizons: each between 0, the last given frame itself, and FUTURE_FRAMES
        """
        if not horizons:
            raise ValueError("horizons must name at least one frame, got none")
        ahead = [step for step in horizons if step != 0]
        self._check(frames, ahead or [1], n_frames=CONTEXT_FRAMES)
        given = self.encode(frames[:, -CONTEXT_FRAMES:])
        predicted = dict(zip(ahead, self.predictor(given, ahead).unbind(dim=1), strict=True)) if ahead else {}
        return torch.stack([predicted.get(step, given[:, -1]) for step in horizons], dim=1)

    @torch.no_grad()
    def update_target(self, momentum: float) -> None:
        """Move the target encoder's weights to the encoder's. momentum: share that stays, in [0, 1]; 0 copies them."""
        for target, weight in zip(self.target_encoder.parameters(), self.encoder.parameters(), strict=True):
            target.lerp_(weight, 1 - momentum)

    def _check(self, frames: Tensor, horizons: Sequence[int], *, n_frames: int) -> None:
        check_images(frames, channels=3, video=True)
        if not horizons or not all(1 <= step <= FUTURE_FRAMES for step in horizons):
            raise ValueError(f"horizons must be between 1 and {FUTURE_FRAMES} frames, got {list(horizons)}")
        if frames.shape[1] < n_frames:
            raise ValueError(f"at least {n_frames} frames are needed, got {frames.shape[1]}")


class JEPAForecaster(nn.Module):
    """A JEPA whose weights stay as they are, and a decoder that learns to read masks off its embeddings.

    decoder_hidden: channels of the decoder; the other settings are those of `JEPA`
    """

    def __init__(
        self, channels: int = 64, hidden: int = 64, predictor_hidden: int = 64, decoder_hidden: int = 96
    ) -> None:
        super().__init__()
        check_positive(decoder_hidden=decoder_hidden)
        if decoder_hidden % 8:
            raise ValueError(f"decoder_hidden must be divisible by 8, got {decoder_hidden}")
        self.jepa = JEPA(channels, hidden, predictor_hidden).requires_grad_(False)
        self.decoder = nn.Sequential(
            nn.BatchNorm2d(channels),
            SpatialConv(channels, decoder_hidden, stride=1),
            SpatialConv(decoder_hidden, decoder_hidden, stride=1),
            SpatialConv(decoder_hidden, decoder_hidden, stride=1),
            SpatialConv(decoder_hidden, decoder_hidden // 2, stride=2, up=True),
            SpatialConv(decoder_hidden // 2, decoder_hidden // 4, stride=2, up=True),
            FactoredHead(decoder_hidden // 4),
        )

    def forward(
        self, frames: Float[Tensor, "B T C H W"], horizons: Sequence[int] = (FUTURE_FRAMES,)
    ) -> Float[Tensor, "B F 49 H W"]:
        """Logits of the classes at every pixel of the frames `horizons` after the last given one; 0 is the last.

        frames: in [0, 1]
        """
        with torch.no_grad():
            embeddings = self.jepa.predict(frames, horizons)
        logits = self.decoder(fold_frames(embeddings))[..., : frames.shape[-2], : frames.shape[-1]]
        return unfold_frames(logits, n_frames=len(horizons))


def _embed(encoder: nn.Module, frames: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B T D h w"]:
    """Embeddings of all frames, each by itself."""
    frames = pad_to_multiple(frames, multiple=CELL)
    return unfold_frames(encoder(fold_frames(frames)), n_frames=frames.shape[1])


def varying_part(embeddings: Float[Tensor, "B T D h w"]) -> Float[Tensor, "N D"]:
    """Embeddings of all cells, less the mean of each cell over clips and frames: what changes, in float32.

    The mean holds what is always in the same cell, such as the ground. It would be varied and easy to predict, and so
    satisfy the variance term with nothing learned.
    """
    embeddings = embeddings.float()
    return (embeddings - embeddings.mean(dim=(0, 1))).movedim(2, -1).flatten(0, -2)


def embedding_std(embeddings: Float[Tensor, "B T D h w"]) -> Float[Tensor, " D"]:
    """Standard deviation of each channel of the varying part; 0 where the encoder has collapsed."""
    return varying_part(embeddings).square().mean(dim=0).sqrt()


def collapse_losses(embeddings: Float[Tensor, "B T D h w"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The variance and the covariance term of VICReg, of the varying part of the embeddings.

    The first is the mean of what the channels' standard deviations lack to MIN_STD; the second is the sum of the
    squared covariances of different channels, divided by the number of channels.
    """
    values = varying_part(embeddings)
    covariance = values.T @ values / len(values)  # (D, D)
    variance = covariance.diagonal()
    lacking = F.relu(MIN_STD - (variance + TINY_VARIANCE).sqrt()).mean()
    between = covariance - torch.diag(variance)
    return lacking, between.square().sum() / len(variance)
