"""Whole splits as uint8 on the GPU, where batches are gathered and augmented: loader processes are slower than it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from vidseg_utils.data.datasets import BatchItems, ClipDataset, FrameDataset, Item, MaskDataset, labelled_masks
from vidseg_utils.device import numbers_on
from vidseg_utils.task import PAST_FRAMES

if TYPE_CHECKING:
    from vidseg_utils.data.transforms import Transform  # torchvision takes two seconds to import

FREE_MEMORY_SHARE = 0.5  # of a GPU that data may take; the rest is for activations
COPIED_AT_ONCE = 16  # videos

Arrays = dict[str, list[np.ndarray]]  # what an item consists of: name -> arrays whose rows follow one another


class DeviceBatches(Dataset):
    """A data set in the memory of a device; items as those of the data set that it was made from.

    arrays: (N, …), N samples; those that are not uint8 stay on the CPU
    transform: of the pictures "frame" and their masks "mask"; it has a batch form
    """

    def __init__(self, arrays: dict[str, Tensor], transform: "Transform | None" = None):
        self.arrays, self.transform = arrays, transform

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: int) -> Item:
        return self.__getitems__([range(len(self))[index]])[0]

    def __getitems__(self, indices: list[int]) -> Sequence[Item]:
        devices = {array.device for array in self.arrays.values()}
        samples = {device: numbers_on(device, indices) for device in devices}
        batch = {name: array[samples[array.device]] for name, array in self.arrays.items()}
        if self.transform is not None:
            from vidseg_utils.data.batch_transforms import augment_batch  # torchvision takes two seconds to import

            batch["frame"], batch["mask"] = augment_batch(self.transform, batch["frame"], batch["mask"])
        return BatchItems(batch)


def fits_on_device(data: Dataset, device: torch.device) -> bool:
    """Whether `hold_on_device` can hold the data: it knows their kind, and a GPU has the memory. The CPU always has."""
    arrays = _arrays(data)
    if arrays is None:
        return False
    if device.type != "cuda":
        return True
    n_bytes = sum(array.nbytes for parts in arrays.values() for array in parts if array.dtype == np.uint8)
    return n_bytes <= FREE_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]


def hold_on_device(data: Dataset, device: torch.device) -> Dataset:
    """The data in the memory of the device, or as they are if they do not fit."""
    arrays = _arrays(data)
    if arrays is None or not fits_on_device(data, device):
        return data
    tensors = {name: _copy(parts, device) for name, parts in arrays.items()}
    if not isinstance(data, FrameDataset):
        return DeviceBatches(tensors)
    return DeviceBatches({name: videos.flatten(0, 1) for name, videos in tensors.items()}, data.transform)


def _arrays(data: Dataset) -> Arrays | None:
    """The arrays of a data set, for frames those of their videos; None for a kind that cannot be held."""
    if isinstance(data, ConcatDataset):
        parts = [_arrays(part) for part in data.datasets]
        if any(isinstance(part, FrameDataset) for part in data.datasets) or len({tuple(p or ()) for p in parts}) > 1:
            return None
        known = [part for part in parts if part is not None]
        return {name: [array for part in known for array in part[name]] for name in known[0]} if known else None
    if isinstance(data, FrameDataset):
        from vidseg_utils.data.batch_transforms import has_batch_form  # torchvision takes two seconds to import

        every = slice(None, None, data.every)
        if not has_batch_form(data.transform):
            return None
        return {"frame": [data.cache.frames[:, every]], "mask": [labelled_masks(data.cache)[:, every]]}
    if isinstance(data, ClipDataset) and data.transform is None:
        clips: Arrays = {"frames": [data.cache.frames], "number": [data.numbers]}
        if data.masks:
            clips["masks"] = [labelled_masks(data.cache)]
        return clips
    if isinstance(data, MaskDataset):
        return {"past": [data.past[:, :PAST_FRAMES]], "future": [data.future[:, PAST_FRAMES:]]}
    return None


def _copy(parts: list[np.ndarray], device: torch.device) -> Tensor:
    """The rows of all parts as one tensor, (N, …); on the device if they are uint8."""
    dtype = torch.from_numpy(parts[0][:0].copy()).dtype
    rows = torch.empty(
        (sum(map(len, parts)), *parts[0].shape[1:]), dtype=dtype, device=device if dtype == torch.uint8 else "cpu"
    )
    targets = rows.split([len(part) for part in parts])
    for part, target in zip(parts, targets, strict=True):
        for start in range(0, len(part), COPIED_AT_ONCE):
            chunk = slice(start, start + COPIED_AT_ONCE)
            target[chunk] = torch.from_numpy(np.array(part[chunk]))
    return rows
