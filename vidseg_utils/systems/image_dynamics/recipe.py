"""Training of the rollout in the image plane, on the regions of true masks and of predicted ones."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from vidseg_utils.data import check_labels
from vidseg_utils.data.datasets import labelled_masks
from vidseg_utils.data.layout import GENERATED_FILE
from vidseg_utils.data.sources.generated_video import more_masks
from vidseg_utils.models.image_rollout import Regions, energy_score
from vidseg_utils.profiles import Sizes, by_profile
from vidseg_utils.systems.image_dynamics.identities import unite_classes
from vidseg_utils.systems.image_dynamics.regions import measure_regions
from vidseg_utils.systems.pseudo_labels import label_split
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.task import CLIP_FRAMES, FUTURE_FRAMES, PAST_FRAMES
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.loaders import fixed_seed

LAST_PAST_FRAME = PAST_FRAMES - 1
EARLIEST, LATEST = 3, 17  # first and last frame at which the past of a training window may end
TASK_SHARE = 0.4  # of the windows are those of the task: past frames 0 to 10, and eleven frames after them
SHORT_FUTURE = 7  # frames after the past of other windows, which cost less
VISIBILITY_WEIGHT = 0.2  # of the cross-entropy of being visible, beside the energy score
VALIDATION_FUTURES, VALIDATION_SEED = 4, 0


@dataclass(frozen=True)
class ImageDynamicsSizes(Sizes, group="image"):
    """Sizes of the network and of its training."""

    hidden: int = by_profile(8, 64, 128)
    futures: int = by_profile(2, 2, 4)  # possible futures of a clip in a training step
    epochs: int = by_profile(1, 80, 80)
    batch_size: int = by_profile(2, 64, 64)  # clips
    learning_rate: float = by_profile(2e-3, 2e-3, 2e-3)
    more_videos: int = by_profile(2, 3000, 3000)  # of a generated set's world, whose masks alone are drawn
    windows: int = by_profile(20, 3500, 3500)  # cut from the clips in an epoch, at least


class RegionClips(Dataset):
    """The regions of clips of 22 frames; an item is a dict with the fields of `Regions`.

    clips: n_clips times (22, H, W) class ids, others unknown; all of one size. Read and measured at the first item.
    n_items: at least so many items; each clip is equally often one, to be cut at different times
    """

    def __init__(self, clips: Iterable[np.ndarray], *, n_clips: int, n_items: int = 1):
        self.clips, self.n_clips = clips, n_clips
        self.repeats = math.ceil(n_items / n_clips) if n_clips else 0

    @cached_property
    def regions(self) -> Regions:
        """The regions of all clips."""
        measured = [measure_regions(clip[None]) for clip in self.clips]
        return Regions(*map(torch.cat, zip(*measured, strict=True)))

    def __len__(self) -> int:
        return self.repeats * self.n_clips

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[index // self.repeats] for name, values in self.regions._asdict().items()}


def cut_window(clips: Regions, last_past: int, n_future: int = FUTURE_FRAMES) -> tuple[Regions, Regions]:
    """The 11 frames that end with `last_past`, empty ones before frame 0, and up to `n_future` frames after it."""
    missing = max(0, PAST_FRAMES - 1 - last_past)

    def past(values: Tensor) -> Tensor:
        before = values.new_zeros(len(values), missing, *values.shape[2:])
        return torch.cat([before, values[:, max(0, last_past + 1 - PAST_FRAMES) : last_past + 1]], dim=1)

    future = slice(last_past + 1, last_past + 1 + n_future)
    return (
        clips._replace(**{name: past(getattr(clips, name)) for name in ("position", "reliable", "seen")}),
        clips._replace(**{name: getattr(clips, name)[:, future] for name in ("position", "reliable", "seen")}),
    )


def mirrored(clips: Regions) -> Regions:
    """The clips seen in a mirror that swaps left and right; they move along the middle of the picture."""
    left, top, right, bottom, x, y = clips.position.unbind(-1)
    width = clips.width[:, None, None]
    position = torch.stack([width - right, top, width - left, bottom, width - x, y], dim=-1)
    return clips._replace(position=position * clips.seen[..., None], reliable=clips.reliable[..., [2, 1, 0, 3, 4, 5]])


def rollout_loss(network: nn.Module, past: Regions, future: Regions, *, n_futures: int) -> tuple[Tensor, Tensor]:
    """The energy score of the objects that the past shows, in units, and the cross-entropy of being visible."""
    futures = network(past, n_frames=future.seen.shape[1], n_futures=n_futures)
    active = past.seen.any(dim=1)[:, None].expand_as(future.seen)
    counted = active & future.reliable.any(dim=-1)
    score = energy_score(futures.position, future.position, future.reliable)
    visible = future.seen[:, None].expand_as(futures.visible).to(futures.visible.dtype)
    entropy = F.binary_cross_entropy_with_logits(futures.visible, visible, reduction="none").mean(dim=1)
    return (score * counted).sum() / counted.sum().clamp(min=1), (entropy * active).sum() / active.sum().clamp(min=1)


@dataclass
class ImageDynamicsRecipe(Recipe):
    """The rollout, trained on true masks and, with true futures, on U-Net's masks; also on the unlabelled videos.

    A generated set's training videos are joined by more of their world, since only their masks are needed.
    The energy score of the validation videos, given U-Net's masks of frames 0..10, chooses the best epoch.
    """

    task = "object forecasting in the image plane"

    def __post_init__(self) -> None:
        self.sizes = ImageDynamicsSizes.for_profile(self.workspace.profile)

    @property
    def run_name(self) -> str:
        """The run of the network."""
        return "image_rollout"

    def model(self) -> tuple[str, dict[str, Any]]:
        """The network at the size of the profile."""
        return "image_rollout", {"hidden": self.sizes.hidden}

    @property
    def n_more_videos(self) -> int:
        """How many videos join those of the data set."""
        return self.sizes.more_videos if (self.workspace.root / GENERATED_FILE).is_file() else 0

    def settings(self) -> dict[str, Any]:
        """How many videos joined those of the data set."""
        return {"more_videos": self.n_more_videos}

    def data(self) -> tuple[Dataset, Dataset]:
        """The regions of the clips."""
        train, val = self.workspace.split("train"), self.workspace.split("val")
        check_labels(train, frames=range(PAST_FRAMES, CLIP_FRAMES))
        check_labels(val, frames=range(PAST_FRAMES, CLIP_FRAMES))
        unet = self.workspace.load_network("unet")

        def predicted(split: str, n_frames: int) -> Iterable[np.ndarray]:
            labels = label_split(unet, self.workspace.split(split), n_frames=n_frames, device=self.workspace.device)
            return map(unite_classes, labels)

        def joined(split: str, masks: np.ndarray) -> Iterable[np.ndarray]:
            for past, truth in zip(predicted(split, PAST_FRAMES), masks, strict=True):
                yield np.concatenate([past, truth[PAST_FRAMES:]])

        def train_clips() -> Iterator[np.ndarray]:
            masks = labelled_masks(train)
            yield from masks
            yield from joined("train", masks)
            if n_unlabelled:
                yield from predicted("unlabeled", CLIP_FRAMES)
            if n_more := self.n_more_videos:
                size = {"height": train.frames.shape[-2], "width": train.frames.shape[-1]}
                yield from more_masks(self.workspace.root, n_more, **size)

        n_unlabelled = len(self.workspace.split("unlabeled")) if self.workspace.has_videos("unlabeled") else 0
        n_clips = 2 * len(train) + n_unlabelled + self.n_more_videos
        return (
            RegionClips(train_clips(), n_clips=n_clips, n_items=self.sizes.windows),
            RegionClips(joined("val", labelled_masks(val)), n_clips=len(val)),
        )

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of a batch, at a random time; half of the batches are mirrored."""
        clips = Regions(**batch)
        if torch.rand(()) < 0.5:
            clips = mirrored(clips)
        window = cut_window(clips, LAST_PAST_FRAME)
        if torch.rand(()) > TASK_SHARE:
            window = cut_window(clips, int(torch.randint(EARLIEST, LATEST + 1, ())), SHORT_FUTURE)
        score, entropy = rollout_loss(network, *window, n_futures=self.sizes.futures)
        return score + VISIBILITY_WEIGHT * entropy

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """`energy_score` of frames 11..21, in units of `image_rollout.UNIT`, and `visibility_entropy`."""
        total, n_clips = torch.zeros(2), 0
        with fixed_seed(VALIDATION_SEED, device):
            for batch in loader:
                clips = Regions(**{name: values.to(device) for name, values in batch.items()})
                losses = rollout_loss(network, *cut_window(clips, LAST_PAST_FRAME), n_futures=VALIDATION_FUTURES)
                total += torch.stack(losses).cpu() * len(clips.seen)
                n_clips += len(clips.seen)
        score, entropy = (total / n_clips).tolist()
        return {"energy_score": score, "visibility_entropy": entropy}

    def fit_config(self) -> FitConfig:
        """AdamW with a one-cycle schedule, in float32."""
        return FitConfig(
            epochs=self.sizes.epochs,
            batch_size=self.sizes.batch_size,
            learning_rate=self.sizes.learning_rate,
            optimiser="adamw",
            scheduler="onecycle",
            clip_norm=1.0,
            seed=self.seed,
            monitor="energy_score",
            channels_last=False,
        )
