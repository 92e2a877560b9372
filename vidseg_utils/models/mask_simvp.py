"""SimVP on masks: the masks of T frames in, scores of the classes in the T frames that follow.

The representation decides what SimVP sees of a mask. `number` and `one_hot` are the published forms. `objects` uses
that a class id identifies an object: one small network forecasts the location of each object separately (see
`location_maps`), so all objects train the same weights.
"""

import torch
from einops import rearrange
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.checks import check_choice, check_positive
from vidseg_utils.classes import BACKGROUND, N_CLASSES
from vidseg_utils.models.class_filter import index_objects
from vidseg_utils.models.layers import class_attribute_matrix, fold_frames, unfold_frames, zero_init
from vidseg_utils.models.location_maps import (
    LocationMaps,
    cell_occupancy,
    centroids,
    crop_windows,
    estimate_motion,
    maps_to_logits,
    to_channel_indices,
)
from vidseg_utils.models.simvp import SimVP
from vidseg_utils.task import PAST_FRAMES

REPRESENTATIONS = ("number", "objects", "one_hot")
COPY_LAST_LOGIT = 4.0  # logit of the last mask's class at which a residual one-hot model starts; other classes have 0
WINDOW_SHARE = 0.8  # size of the map around an object, as a share of the picture's height and width


class ClassEmbedding(nn.Module):
    """Learned embedding of the classes: the sum of a vector for the shape, one for the material, one for the colour."""

    attributes: Tensor  # (49, 14)

    def __init__(self, channels: int) -> None:
        super().__init__()
        attributes = class_attribute_matrix()
        self.register_buffer("attributes", attributes, persistent=False)
        self.weight = nn.Parameter(torch.randn(attributes.shape[1], channels) / 2)

    def forward(self, planes: Float[Tensor, "N T K h w"], class_ids: Int[Tensor, "N K"]) -> Float[Tensor, "N T E h w"]:
        """planes: share of each pixel that belongs to each class of class_ids, in [0, 1]; 255 = no class."""
        vectors = (self.attributes @ self.weight)[class_ids.clamp(max=N_CLASSES - 1)]  # (N, K, E)
        return torch.einsum("ntkhw,nke->ntehw", planes, vectors)


class MaskSimVP(nn.Module):
    """T masks to the T masks that follow, as logits of the 49 classes or as class numbers.

    representation:
        "number": the class id in one channel, as input and as output
        "one_hot": 49 channels
        "objects": for each class of the past its own plane beside the scene in a class embedding of `embedding`
            channels, both in a window around the object; the output is where the object will be, so a class that the
            past lacks cannot be forecast
    shrink: SimVP works at 1/shrink of the size, 1 as published. Masks return to full size by bilinear interpolation;
        location maps keep their cells.
    residual: forecast the difference from the last mask, so that training starts at copy-last. With "objects" it is the
        difference from straight motion, whose speed and spread at every horizon are learned too.
    ahead: how many frames a rollout takes from the end of each output; by default all. Only straight motion needs it.
    The other settings are SimVP's. Any height and width.
    """

    def __init__(
        self,
        n_frames: int = PAST_FRAMES,
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
        if representation == "objects":
            self.embedding = ClassEmbedding(embedding)
        in_channels = {"number": 1, "one_hot": N_CLASSES, "objects": 1 + embedding + residual}[representation]
        self.simvp = SimVP(
            (n_frames, in_channels, 2 ** (n_s // 2), 2 ** (n_s // 2)),
            out_channels=2 if representation == "objects" else in_channels,  # 2: located in the cell, and not visible
            hid_s=hid_s,
            hid_t=hid_t,
            n_s=n_s,
            n_t=n_t,
            groups=groups,
            translator=translator,
        )
        if residual:
            zero_init(self.simvp.decoder.readout)
        if residual and representation == "objects":
            self.speed_factor = nn.Parameter(torch.ones(n_frames))  # of straight motion, for each frame
            steps_after_next = (torch.arange(n_frames) + ahead - n_frames).clamp(min=0)
            log_spread = torch.linspace(-0.5, 1, n_frames)[steps_after_next]
            self.log_spread = nn.Parameter(log_spread)  # log of the standard deviation around straight motion, cells

    def forward(
        self, masks: Integer[Tensor, "B T H W"], last_frames: int | None = None, *, as_location_maps: bool = False
    ) -> Float[Tensor, "B F K H W"] | LocationMaps:
        """Forecast the masks of the next frames.

        masks: class ids; others (255 = unknown) count as background
        last_frames: how many of the last of the T frames to forecast; None: all
        as_location_maps: with "objects", return the location maps instead of logits
        returns: logits, K = 49; with "number" the class ids as floats, K = 1
        Raises ValueError for another number of frames.
        """
        if masks.ndim != 4 or masks.is_floating_point():
            raise ValueError(f"expected masks (B, T, H, W) of whole numbers, got {masks.dtype} {tuple(masks.shape)}")
        masks = masks.long()
        masks = masks.masked_fill(masks >= N_CLASSES, BACKGROUND)
        if self.representation == "objects":
            maps = self._forecast_maps(masks, last_frames)
            return maps if as_location_maps else maps_to_logits(maps)
        (height, width), multiple = masks.shape[2:], self.shrink * self.simvp.multiple
        masks = F.pad(masks, (0, -width % multiple, 0, -height % multiple), value=BACKGROUND)
        forecast = self._forecast_number if self.representation == "number" else self._forecast_one_hot
        return forecast(masks, last_frames)[..., :height, :width]

    def _forecast_number(self, masks: Tensor, last_frames: int | None) -> Tensor:
        planes = masks[:, :, None] / (N_CLASSES - 1)  # (B, T, 1, H, W) in [0, 1]
        return (N_CLASSES - 1) * self._forecast_planes(planes, planes[:, -1:], last_frames)

    def _forecast_one_hot(self, masks: Tensor, last_frames: int | None) -> Tensor:
        planes = rearrange(F.one_hot(masks, N_CLASSES), "b t h w k -> b t k h w").float()
        return self._forecast_planes(planes, COPY_LAST_LOGIT * planes[:, -1:], last_frames)

    def _forecast_planes(self, planes: Tensor, copied: Tensor, last_frames: int | None) -> Tensor:
        """planes: (B, T, C, H, W); copied: (B, 1, C, H, W), to which a residual model adds -> (B, F, C, H, W)."""
        small = unfold_frames(F.avg_pool2d(fold_frames(planes), self.shrink), n_frames=planes.shape[1])
        future = self.simvp(small, last_frames=last_frames)
        if self.shrink > 1:
            large = F.interpolate(fold_frames(future), scale_factor=self.shrink, mode="bilinear", align_corners=False)
            future = unfold_frames(large, n_frames=future.shape[1])
        return copied + future if self.residual else future

    def _forecast_maps(self, masks: Tensor, last_frames: int | None) -> LocationMaps:
        """Each object of each clip is one sample, cut out around its last position."""
        class_ids, clip_index, channel = index_objects(masks)
        channels = to_channel_indices(masks, class_ids)
        planes = cell_occupancy(channels, class_ids.shape[1], self.shrink)  # (B, T, K, h', w')
        last_frame, position, velocity = estimate_motion(centroids(planes[clip_index, :, channel]))
        multiple = self.simvp.multiple
        height, width = (max(multiple, 2, round(WINDOW_SHARE * n / multiple) * multiple) for n in planes.shape[3:])
        planes = crop_windows(planes, clip_index, position, (height, width))  # (N, T, K, h, w)
        own = planes[torch.arange(len(clip_index), device=channel.device), :, channel, None]  # (N, T, 1, h, w)
        inputs = [own, self.embedding(planes, class_ids[clip_index])]
        motion = self._straight_motion(velocity, last_frame, (height, width)) if self.residual else None  # (N, T, h, w)
        if motion is not None:
            inputs.append(motion.exp()[:, :, None])
        outputs = self.simvp(torch.cat(inputs, dim=2), last_frames=last_frames)  # (N, F, 2, h, w)
        located, invisible = outputs[:, :, 0], outputs[:, :, 1].mean(dim=(2, 3))  # (N, F, h, w), (N, F)
        if motion is not None:
            located = located + motion[:, -located.shape[1] :]
        return LocationMaps(
            logits=torch.cat([located.flatten(2), invisible[..., None]], dim=2),
            clip_index=clip_index,
            channel=channel,
            class_ids=class_ids,
            position=position,
            mask=channels[clip_index, last_frame] == channel[:, None, None],
            map_size=(height, width),
            cell=self.shrink,
        )

    def _straight_motion(self, velocity: Tensor, last_frame: Tensor, size: tuple[int, int]) -> Tensor:
        """velocity: (N, 2) cells a frame after last_frame (N,) -> (N, T, h, w): log of a Gaussian, 0 at its maximum."""
        frames = torch.arange(len(self.speed_factor), device=velocity.device)
        horizon = self.ahead + frames - last_frame[:, None]  # (N, T)
        shifts = (self.speed_factor * horizon)[..., None] * velocity[:, None]  # (N, T, 2)
        rows, columns = (torch.arange(n, device=shifts.device) - n // 2 for n in size)
        down, right = rows - shifts[..., 0, None], columns - shifts[..., 1, None]  # (N, T, h), (N, T, w)
        squared_distance = down.square()[..., :, None] + right.square()[..., None, :]
        return -squared_distance / (2 * (2 * self.log_spread).exp())[:, None, None]


def scores_to_masks(scores: Float[Tensor, "B F K H W"]) -> Int[Tensor, "B F H W"]:
    """Class ids from the output of `MaskSimVP`: the largest of 49 logits, or the class number rounded down."""
    if scores.shape[2] == 1:
        return scores[:, :, 0].floor().clamp(BACKGROUND, N_CLASSES - 1).long()
    return scores.argmax(dim=2)
