"""SimVP on masks: the masks of T frames in, scores of the classes in the T frames that follow.

The representation decides what SimVP sees of a mask. `number` and `one_hot` are the published forms. `objects` uses
that a class id identifies an object: one small network forecasts the location of each object separately (see
`location_maps`), so all objects train the same weights.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.checks import check_choice, check_positive
from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX, N_CLASSES
from vidseg_utils.models.layers import fold_frames, unfold_frames
from vidseg_utils.models.location_maps import NEVER, Places, around, centroids, last_seen, own_channels, paint, shares
from vidseg_utils.models.simvp import SimVP
from vidseg_utils.models.unet import class_parts

REPRESENTATIONS = ("number", "objects", "one_hot")
SEEN_SHARE = 2e-4  # of the past's pixels; a class that has fewer is a slip of the segmenter
HELD = 4.0  # logit by which a residual one-hot model, before it has learned anything, holds on to the last mask
REACH = 0.8  # of the picture's height and width: the size of the map around an object


class ClassEmbedding(nn.Module):
    """Classes as learned colours: each is the sum of its shape's, its material's and its colour's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        parts = class_parts()  # (49, 14)
        self.register_buffer("parts", parts, persistent=False)
        self.weight = nn.Parameter(torch.randn(parts.shape[1], channels) / 2)

    def forward(self, planes: Tensor, class_ids: Tensor) -> Tensor:
        """planes: (N, T, K, h, w), how much of a pixel is whose; class_ids: (N, K) -> (N, T, E, h, w)."""
        colours = (self.parts @ self.weight)[class_ids.clamp(max=N_CLASSES - 1)]  # (N, K, E)
        return torch.einsum("ntkhw,nke->ntehw", planes, colours)


class MaskSimVP(nn.Module):
    """Masks to the masks that follow: (B, T, H, W) -> (B, T, 49, H, W) logits, or class numbers (B, T, 1, H, W).

    representation:
        "number": the class id in one channel, as input and as output
        "one_hot": 49 channels
        "objects": for each class of the past its own plane beside the scene in a class embedding of `embedding`
            channels, both in a window around the object; the output is where the object will be, so a class that the
            past lacks cannot be forecast
    shrink: SimVP works at 1/shrink of the size, 1 as published; masks come back by bilinear interpolation, places as
        they are
    residual: forecast what is added to the last mask, so that training begins at copy-last; with "objects" what is
        added to the straight line, whose length and spread at every horizon are learned too
    ahead: which frames the output's last ones are: the next so many in a rollout, else all (only a line needs to know)
    The other settings are SimVP's. Any H and W will do.
    """

    def __init__(
        self,
        n_frames: int = 11,
        representation: str = "objects",
        hid_s: int = 64,
        hid_t: int = 256,
        n_s: int = 4,
        n_t: int = 8,
        groups: int = 8,
        translator: str = "inception",
        shrink: int = 1,
        residual: bool = False,
        embedding: int = 4,
        ahead: int | None = None,
    ) -> None:
        super().__init__()
        check_choice("representation", representation, REPRESENTATIONS)
        ahead = n_frames if ahead is None else ahead
        check_positive(shrink=shrink, embedding=embedding, ahead=ahead)
        self.representation, self.residual, self.shrink, self.ahead = representation, residual, shrink, ahead
        self.embedding = ClassEmbedding(embedding) if representation == "objects" else None
        in_channels = {"number": 1, "one_hot": N_CLASSES, "objects": 1 + embedding + residual}[representation]
        self.simvp = SimVP(
            (n_frames, in_channels, 2 ** (n_s // 2), 2 ** (n_s // 2)),
            out_channels=2 if representation == "objects" else in_channels,  # being here, and being nowhere
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
        if residual and representation == "objects":
            self.stride = nn.Parameter(torch.ones(n_frames))  # of the straight line's length
            later = (torch.arange(n_frames) + ahead - n_frames).clamp(min=0)  # than the next frame
            spread = torch.linspace(-0.5, 1, n_frames)[later]
            self.log_spread = nn.Parameter(spread)  # of a Gaussian around it, in cells

    def forward(self, masks: Tensor, last: int | None = None, *, as_places: bool = False) -> Tensor | Places:
        """Forecast.

        masks: (B, T, H, W) class ids; others (255 = unknown) count as background
        last: only the last so many frames
        as_places: with "objects", the probabilities of the places instead of masks painted from the likeliest
        returns: (B, T or last, 49, H, W) logits; with "number" (B, T or last, 1, H, W) class ids as floats
        Raises ValueError for another number of frames.
        """
        if masks.ndim != 4 or masks.is_floating_point():
            raise ValueError(f"expected masks (B, T, H, W) of whole numbers, got {masks.dtype} {tuple(masks.shape)}")
        masks = masks.long()
        masks = masks.masked_fill(masks >= N_CLASSES, BACKGROUND)
        if self.representation == "objects":
            places = self._forecast_places(masks, last)
            return places if as_places else paint(places)
        (height, width), multiple = masks.shape[2:], self.shrink * self.simvp.multiple
        masks = F.pad(masks, (0, -width % multiple, 0, -height % multiple), value=BACKGROUND)
        forecast = self._forecast_number if self.representation == "number" else self._forecast_one_hot
        return forecast(masks, last)[..., :height, :width]

    def _forecast_number(self, masks: Tensor, last: int | None) -> Tensor:
        planes = masks[:, :, None] / (N_CLASSES - 1)  # (B, T, 1, H, W) in [0, 1]
        return (N_CLASSES - 1) * self._forecast_masks(planes, planes[:, -1:], last)

    def _forecast_one_hot(self, masks: Tensor, last: int | None) -> Tensor:
        planes = rearrange(F.one_hot(masks, N_CLASSES), "b t h w k -> b t k h w").float()
        return self._forecast_masks(planes, HELD * planes[:, -1:], last)

    def _forecast_masks(self, planes: Tensor, held: Tensor, last: int | None) -> Tensor:
        """planes: (B, T, C, H, W), held: (B, 1, C, H, W), what a residual model adds to -> (B, T or last, C, H, W)."""
        small = unfold_frames(F.avg_pool2d(fold_frames(planes), self.shrink), n_frames=planes.shape[1])
        future = self.simvp(small, last=last)
        if self.shrink > 1:
            large = F.interpolate(fold_frames(future), scale_factor=self.shrink, mode="bilinear", align_corners=False)
            future = unfold_frames(large, n_frames=future.shape[1])
        return held + future if self.residual else future

    def _forecast_places(self, masks: Tensor, last: int | None) -> Places:
        """Every object of every clip is a sample of its own, seen from where it was last."""
        class_ids, clip, channel = objects_of(masks)
        channels = own_channels(masks, class_ids)
        planes = shares(channels, class_ids.shape[1], self.shrink)  # (B, T, K, h', w')
        last_frame, start, velocity = last_seen(centroids(planes[clip, :, channel]))
        multiple = self.simvp.multiple
        height, width = (max(multiple, 2, round(REACH * n / multiple) * multiple) for n in planes.shape[3:])
        planes = around(planes, clip, start, (height, width))  # (N, T, K, h, w)
        own = planes[torch.arange(len(clip), device=clip.device), :, channel, None]  # (N, T, 1, h, w)
        seen = [own, self.embedding(planes, class_ids[clip])]
        if self.residual:
            line = self._line(velocity, last_frame, (height, width))  # (N, T, h, w)
            seen.append(line.exp()[:, :, None])
        scores = self.simvp(torch.cat(seen, dim=2), last=last)
        here, nowhere = scores[:, :, 0], scores[:, :, 1].mean(dim=(2, 3))  # (N, T', h, w), (N, T')
        if self.residual:
            here = here + line[:, -here.shape[1] :]
        return Places(
            logits=torch.cat([here.flatten(2), nowhere[..., None]], dim=2),
            clip=clip,
            channel=channel,
            class_ids=class_ids,
            start=start,
            shape=channels[clip, last_frame] == channel[:, None, None],
            size=(height, width),
            cell=self.shrink,
        )

    def _line(self, velocity: Tensor, last_frame: Tensor, size: tuple[int, int]) -> Tensor:
        """velocity: (N, 2) cells a frame since last_frame (N,) -> (N, T, h, w): log of a Gaussian, 0 at its top."""
        frames = torch.arange(len(self.stride), device=velocity.device)
        horizon = self.ahead + frames - last_frame[:, None]  # (N, T)
        ends = (self.stride * horizon)[..., None] * velocity[:, None]  # (N, T, 2)
        rows, columns = (torch.arange(n, device=ends.device) - n // 2 for n in size)
        down, right = rows - ends[..., 0, None], columns - ends[..., 1, None]  # (N, T, h), (N, T, w)
        distance = down.square()[..., :, None] + right.square()[..., None, :]
        return -distance / (2 * (2 * self.log_spread).exp())[:, None, None]


def objects_of(masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """masks: (B, T, H, W) class ids 0..48 -> ids (B, K), and for N objects their clips (N,) and channels (N,).

    ids: the background first, those of the clip's objects in their order, 255 for none. Where no clip shows anything,
    one object without a pixel stands in: networks don't take an empty batch.
    """
    objects = seen_classes(masks)
    objects[:, BACKGROUND] = False
    if not objects.any():
        objects[0, -1] = True
    clip, class_id = objects.nonzero(as_tuple=True)
    channel = objects.cumsum(dim=1)[clip, class_id]
    class_ids = class_id.new_full((len(masks), int(channel.max()) + 1), IGNORE_INDEX)
    class_ids[:, 0] = BACKGROUND
    class_ids[clip, channel] = class_id
    return class_ids, clip, channel


def seen_classes(masks: Tensor) -> Tensor:
    """masks: (B, T, H, W) class ids 0..48 -> (B, 49) bool: the classes shown by more than a few stray pixels."""
    pixels = masks.flatten(1)  # (B, T*H*W)
    counts = torch.zeros(len(masks), N_CLASSES, device=masks.device)
    counts.scatter_add_(1, pixels, counts.new_ones(()).expand_as(pixels))
    return counts >= SEEN_SHARE * pixels.shape[1]


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
