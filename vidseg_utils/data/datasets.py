"""Frames with masks, and whole clips, from a cached split. Tensors are uint8; the device converts them to float.

A batch is gathered from the memory map with one copy. Pass `collate` to the DataLoader, which otherwise copies again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from vidseg_utils.data.batch_buffers import BatchBuffers
from vidseg_utils.data.cache import SplitCache
from vidseg_utils.task import CLIP_FRAMES, PAST_FRAMES

if TYPE_CHECKING:
    from vidseg_utils.data.transforms import Transform

Item = dict[str, torch.Tensor | int]


class BatchItems(Sequence):
    """Items of one gathered batch: views of it, made when they are asked for. `collate` returns the batch as it is."""

    def __init__(self, batch: dict[str, torch.Tensor]):
        self.batch = batch

    def __len__(self) -> int:
        return len(next(iter(self.batch.values())))

    def __getitem__(self, index):
        return {name: values[index] for name, values in self.batch.items()}


def collate(items: Sequence[Item]) -> dict[str, torch.Tensor]:
    """For DataLoader(collate_fn=collate): batches of these data sets without a second copy, other items as usual."""
    return items.batch if isinstance(items, BatchItems) else default_collate(list(items))


class FrameDataset(Dataset):
    """Single frames with their masks: dict(frame: (3, H, W) uint8, mask: (H, W) uint8, 255 = ignore).

    every: take every `every`-th frame of a video, from frame 0. Raises ValueError for a split without labels.
    """

    def __init__(self, cache: SplitCache, *, transform: "Transform | None" = None, every: int = 1):
        labelled_masks(cache)
        if every < 1:
            raise ValueError(f"every is {every}; it counts frames, so at least 1")
        self.cache, self.transform, self.every = cache, transform, every
        self.frames_per_video = len(range(0, cache.frames.shape[1], every))
        self._buffers = {"frame": BatchBuffers(), "mask": BatchBuffers()}

    def __len__(self) -> int:
        return len(self.cache) * self.frames_per_video

    def __getitem__(self, index: int) -> Item:
        return self.__getitems__([range(len(self))[index]])[0]

    def __getitems__(self, indices: list[int]) -> Sequence[Item]:
        video_and_frame = [divmod(index, self.frames_per_video) for index in indices]
        video_and_frame = [(video, frame * self.every) for video, frame in video_and_frame]
        batch = {
            "frame": self._buffers["frame"].gather(self.cache.frames, video_and_frame),
            "mask": self._buffers["mask"].gather(labelled_masks(self.cache), video_and_frame),
        }
        return _augmented_items(batch, self.transform, pictures="frame", masks="mask")


class ClipDataset(Dataset):
    """Whole clips: dict(frames: (T, 3, H, W) uint8, masks: (T, H, W) uint8 if labelled, number: the video's).

    T is 22, or 11 in the split "hidden". A transform changes all frames of a clip alike.
    masks: False leaves them out, so that labelled and unlabelled clips fit into one batch
    """

    def __init__(self, cache: SplitCache, *, transform: "Transform | None" = None, masks: bool = True):
        self.cache, self.transform = cache, transform
        self.masks = masks and cache.masks is not None
        self.numbers = cache.numbers
        self._buffers = {"frames": BatchBuffers(), "masks": BatchBuffers()}

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, index: int) -> Item:
        item = self.__getitems__([range(len(self))[index]])[0]
        return item | {"number": int(item["number"])}

    def __getitems__(self, indices: list[int]) -> Sequence[Item]:
        batch = {"frames": self._buffers["frames"].gather(self.cache.frames, indices)}
        if self.masks:
            batch["masks"] = self._buffers["masks"].gather(labelled_masks(self.cache), indices)
        batch["number"] = torch.from_numpy(self.numbers[np.asarray(indices)])
        return _augmented_items(batch, self.transform, pictures="frames", masks="masks")


class MaskDataset(Dataset):
    """Training data of a mask forecaster: dict(past: (11, H, W), future: (11, H, W)), both uint8, 255 = ignore.

    past: (N, 11 or 22, H, W) uint8 masks; the first 11 frames are used
    future: (N, 22, H, W) uint8 masks of the same clips, often the same array; the last 11 frames are used, so a
        segmenter's past can be combined with a true future
    """

    def __init__(self, past: np.ndarray, future: np.ndarray):
        if past.shape != (len(future), past.shape[1], *future.shape[2:]) or future.shape[1] != CLIP_FRAMES:
            raise ValueError(
                f"past {past.shape} and future {future.shape} are not masks of the same {CLIP_FRAMES} frames"
            )
        self.past, self.future = past, future

    def __len__(self) -> int:
        return len(self.past)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {
            "past": torch.from_numpy(np.array(self.past[index, :PAST_FRAMES])),
            "future": torch.from_numpy(np.array(self.future[index, PAST_FRAMES:])),
        }

    def __getstate__(self) -> list[tuple[Path, int] | np.ndarray]:
        """Pickles a memory map of a file as the file's path and its number of clips, not as a copy of its content."""
        return [(Path(str(m.filename)), len(m)) if isinstance(m, np.memmap) else m for m in (self.past, self.future)]

    def __setstate__(self, state: list[tuple[Path, int] | np.ndarray]) -> None:
        self.past, self.future = (np.load(m[0], mmap_mode="r")[: m[1]] if isinstance(m, tuple) else m for m in state)


def labelled_masks(cache: SplitCache) -> np.memmap:
    """The masks of a split. Raises ValueError for a split without labels."""
    if cache.masks is None:
        raise ValueError(f"the split {cache.split!r} has no masks; use a labelled one, or ClipDataset")
    return cache.masks


def _augmented_items(
    batch: dict[str, torch.Tensor], transform: "Transform | None", *, pictures: str, masks: str
) -> Sequence[Item]:
    if transform is None:
        return BatchItems(batch)
    from vidseg_utils.data.transforms import augment  # here, because torchvision takes two seconds to import

    items = list(BatchItems(batch))
    for item in items:
        item[pictures], changed = augment(transform, item[pictures], item.get(masks))
        if changed is not None:
            item[masks] = changed
    return items


def to_float(frames: torch.Tensor) -> torch.Tensor:
    """frames: uint8 of any shape, 0..255 -> float32 in [0, 1]; call it on the device."""
    return frames.to(torch.float32).div_(255)
