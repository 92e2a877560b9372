"""SimVP on masks: the masks of T frames in, scores of the classes in the T frames that follow.

The medium decides what SimVP sees of a mask. `number` and `one_hot` are the published forms. `objects` uses that a
class id is an identity: the same small network forecasts each object by itself, so every object teaches all others.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX, N_CLASSES
from vidseg_utils.models.blocks import check_choice, check_positive, fold_frames, unfold_frames
from vidseg_utils.models.simvp import SimVP
from vidseg_utils.models.unet import class_parts

MEDIA = ("number", "objects", "one_hot")
SEEN_SHARE = 2e-4  # of the past's pixels; a class that has fewer is a slip of the segmenter
NEVER = -30.0  # logit of a class that cannot be
HELD = 4.0  # logit by which a residual model, before it has learned anything, holds on to the last mask


class ClassEmbedding(nn.Module):
    """A mask painted in learned colours: each class is the sum of its shape's, its material's and its colour's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        parts = class_parts()  # (49, 14)
        self.register_buffer("parts", parts, persistent=False)
        self.weight = nn.Parameter(torch.randn(parts.shape[1], channels) / 2)

    def forward(self, masks: Tensor) -> Tensor:
        """masks: (B, T, H, W) class ids -> (B, T, C, H, W)."""
        return rearrange(F.embedding(masks, self.parts @ self.weight), "b t h w c -> b t c h w")


class MaskSimVP(nn.Module):
    """Masks to the masks that follow: (B, T, H, W) -> (B, T, 49, H, W) logits, or class numbers (B, T, 1, H, W).

    medium: "number", the class id in one channel, which is also what comes out; "one_hot", 49 channels; or "objects":
        for each class of the past its own plane beside the scene in a class embedding of `embedding` channels. Such an
        object gets one logit a pixel, the background 0, and a class that the past does not show cannot be forecast.
    shrink: the forecast is made at 1/shrink of the size and brought back by bilinear interpolation; 1 as published
    residual: forecast what is added to the last mask, so that training begins at copy-last
    The other settings are SimVP's. H and W are padded with background to what `n_s` and `shrink` need.
    """

    def __init__(
        self,
        n_frames: int = 11,
        medium: str = "objects",
        hid_s: int = 64,
        hid_t: int = 256,
        n_s: int = 4,
        n_t: int = 8,
        groups: int = 8,
        translator: str = "inception",
        shrink: int = 1,
        residual: bool = False,
        embedding: int = 4,
    ) -> None:
        super().__init__()
        check_choice("medium", medium, MEDIA)
        check_positive(shrink=shrink, embedding=embedding)
        self.medium, self.residual, self.shrink = medium, residual, shrink
        self.embedding = ClassEmbedding(embedding) if medium == "objects" else None
        in_channels = {"number": 1, "one_hot": N_CLASSES, "objects": embedding + 1}[medium]
        self.simvp = SimVP(
            (n_frames, in_channels, 2 ** (n_s // 2), 2 ** (n_s // 2)),
            out_channels=1 if medium == "objects" else in_channels,
            hid_s=hid_s,
            hid_t=hid_t,
            n_s=n_s,
            n_t=n_t,
            groups=groups,
            translator=translator,
        )
        if residual:
            nn.init.zeros_(self.simvp.decoder.readout.weight)
            nn.init.zeros_(self.simvp.decoder.readout.bias)

    def forward(self, masks: Tensor, last: int | None = None, *, own: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Forecast.

        masks: (B, T, H, W) class ids; others (255 = unknown) count as background
        last: only the last so many frames
        own: with "objects", no channels for classes that a clip lacks: (B, T or last, 1 + M, H, W) logits and the class
            ids (B, 1 + M) that they are of, the background first, 255 for none
        returns: (B, T or last, 49, H, W) logits; with the medium "number" (B, T or last, 1, H, W) class ids as floats
        Raises ValueError for another number of frames.
        """
        if masks.ndim != 4 or masks.is_floating_point():
            raise ValueError(f"expected masks (B, T, H, W) of whole numbers, got {masks.dtype} {tuple(masks.shape)}")
        (height, width), multiple = masks.shape[2:], self.shrink * self.simvp.multiple
        masks = masks.long()
        masks = masks.masked_fill(masks >= N_CLASSES, BACKGROUND)
        masks = F.pad(masks, (0, -width % multiple, 0, -height % multiple), value=BACKGROUND)
        if self.medium == "objects":
            logits, class_ids = self._forecast_objects(masks, last, own=own)
            return (logits[..., :height, :width], class_ids) if own else logits[..., :height, :width]
        forecast = self._forecast_number if self.medium == "number" else self._forecast_one_hot
        return forecast(masks, last)[..., :height, :width]

    def _forecast_number(self, masks: Tensor, last: int | None) -> Tensor:
        planes = masks[:, :, None] / (N_CLASSES - 1)  # (B, T, 1, H, W) in [0, 1]
        return (N_CLASSES - 1) * self._forecast(self._shrunk(planes), planes[:, -1:], last)

    def _forecast_one_hot(self, masks: Tensor, last: int | None) -> Tensor:
        planes = rearrange(F.one_hot(masks, N_CLASSES), "b t h w k -> b t k h w").float()
        return self._forecast(self._shrunk(planes), HELD * planes[:, -1:], last)

    def _forecast_objects(self, masks: Tensor, last: int | None, *, own: bool) -> tuple[Tensor, Tensor]:
        """Every object of every clip is a sample of its own: (N, T, 1 + E, h, w)."""
        objects = seen_classes(masks)
        objects[:, BACKGROUND] = False
        if not objects.any():
            objects[0, -1] = True  # networks don't take an empty batch
        clip, class_id = objects.nonzero(as_tuple=True)  # (N,), (N,)
        plane = (masks[clip] == class_id[:, None, None, None])[:, :, None].float()  # (N, T, 1, H, W)
        scene = self._shrunk(self.embedding(masks))[clip]  # (N, T, E, h, w)
        held = HELD * (2 * plane[:, -1:] - 1)
        score = self._forecast(torch.cat([self._shrunk(plane), scene], dim=2), held, last)[:, :, 0]  # (N, T, H, W)
        channel = objects.cumsum(dim=1)[clip, class_id] if own else class_id  # (N,)
        n_channels = int(channel.max()) + 1 if own else N_CLASSES
        logits = score.new_full((len(masks), n_channels, *score.shape[1:]), NEVER)
        logits[:, 0] = 0
        logits[clip, channel] = score
        class_ids = torch.full_like(objects, IGNORE_INDEX, dtype=torch.long)[:, :n_channels]
        class_ids[:, 0] = BACKGROUND
        class_ids[clip, channel] = class_id
        return rearrange(logits, "b k t h w -> b t k h w"), class_ids

    def _shrunk(self, planes: Tensor) -> Tensor:
        """(N, T, C, H, W) -> (N, T, C, h, w): how much of each larger pixel."""
        return unfold_frames(F.avg_pool2d(fold_frames(planes), self.shrink), n_frames=planes.shape[1])

    def _forecast(self, planes: Tensor, held: Tensor, last: int | None) -> Tensor:
        """planes: (N, T, C, h, w), held: (N, 1, C', H, W), what a residual model adds to -> (N, T, C', H, W)."""
        future = self.simvp(planes, last=last)
        if self.shrink > 1:
            large = F.interpolate(fold_frames(future), scale_factor=self.shrink, mode="bilinear", align_corners=False)
            future = unfold_frames(large, n_frames=future.shape[1])
        return held + future if self.residual else future


def seen_classes(masks: Tensor) -> Tensor:
    """masks: (B, T, H, W) class ids 0..48 -> (B, 49) bool: the classes shown by more than a few stray pixels."""
    pixels = masks.flatten(1)  # (B, T*H*W)
    counts = torch.zeros(len(masks), N_CLASSES, device=masks.device)
    counts.scatter_add_(1, pixels, counts.new_ones(()).expand_as(pixels))
    return counts >= SEEN_SHARE * pixels.shape[1]


def own_channels(masks: Tensor, class_ids: Tensor) -> Tensor:
    """masks: (B, T, H, W) class ids -> their places in class_ids (B, K), 255 for a class that isn't among them."""
    table = torch.full((len(masks), IGNORE_INDEX + 1), IGNORE_INDEX, device=masks.device)
    table.scatter_(1, class_ids, torch.arange(class_ids.shape[1], device=masks.device).expand_as(class_ids))
    table[:, IGNORE_INDEX] = IGNORE_INDEX
    return table.gather(1, masks.flatten(1).long()).view(masks.shape)


def seen_ids(past: Tensor) -> Tensor:
    """past: (B, T, H, W) class ids, 255 = unknown -> (B, 49): 0 and the ids that it shows in their places, else 255."""
    past = past.long()
    seen = seen_classes(past.masked_fill(past >= N_CLASSES, BACKGROUND))
    seen[:, BACKGROUND] = True
    return torch.arange(N_CLASSES, device=past.device).where(seen, IGNORE_INDEX)


def only_seen(logits: Tensor, past: Tensor) -> Tensor:
    """The class filter: logits (B, T, 49, H, W) in which a class that the past masks (B, T', H, W) lack cannot win."""
    lacking = seen_ids(past) == IGNORE_INDEX  # (B, 49)
    return logits.masked_fill(lacking[:, None, :, None, None], NEVER)


def decide(scores: Tensor) -> Tensor:
    """scores: (B, T, 49, H, W) logits or (B, T, 1, H, W) class numbers, then floored -> (B, T, H, W) class ids."""
    if scores.shape[2] == 1:
        return scores[:, :, 0].floor().clamp(BACKGROUND, N_CLASSES - 1).long()
    return scores.argmax(dim=2)
