"""Sequences from labelled clips, for recurrent networks, with few labels and sensor noise as in a real recording.

The labels of a sequence are (T, H, W) with 255 in unlabelled frames, so training is the same for one labelled frame
and for many.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

from vidseg_utils.classes import IGNORE_INDEX
from vidseg_utils.data.cache import SplitCache
from vidseg_utils.data.datasets import labelled_masks

if TYPE_CHECKING:
    from vidseg_utils.data.transforms import Transform

LABELS = ("all", "one")  # every frame of a clip is labelled, or one frame


class ClipSequences(Dataset):
    """One sequence a clip: dict(frames: (length, 3, H, W) uint8, masks: (length, H, W) uint8, 255 = no label).

    step: take every step-th frame
    labels: "all", or "one": only frame `number % T` of each clip has a label, and every sequence contains that frame
    random_start: the sequence starts at a random frame of the clip, so the position of its labelled frame is random;
        otherwise it starts as early as possible
    noise: standard deviation of the sensor's Gaussian noise, in [0, 1]. A frame has the same noise every time.
    transform: changes all frames alike
    """

    def __init__(
        self,
        cache: SplitCache,
        length: int,
        *,
        step: int = 1,
        labels: str = "all",
        random_start: bool = False,
        noise: float = 0.0,
        transform: "Transform | None" = None,
    ):
        n_frames, span = cache.frames.shape[1], (length - 1) * step + 1
        labelled_masks(cache)
        if length < 1 or step < 1:
            raise ValueError(f"length {length} and step {step} must be at least 1")
        if span > n_frames:
            raise ValueError(f"{length} frames with step {step} span {span}; a clip has {n_frames}")
        if labels not in LABELS:
            raise ValueError(f"unknown labels {labels!r}; choose from {list(LABELS)}")
        if not 0 <= noise < float("inf"):
            raise ValueError(f"noise is a standard deviation of at least 0, got {noise}")
        self.cache, self.length, self.step, self.labels = cache, length, step, labels
        self.random_start, self.noise, self.transform = random_start, noise, transform
        self.numbers = cache.numbers

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        n_frames, last_offset = self.cache.frames.shape[1], (self.length - 1) * self.step
        number = int(self.numbers[index])
        labelled = number % n_frames
        starts = range(n_frames - last_offset)
        if self.labels == "one":
            starts = [start for start in starts if labelled in range(start, start + last_offset + 1, self.step)]
        start = starts[int(torch.randint(len(starts), ()))] if self.random_start else starts[0]
        frame_indices = np.arange(start, start + last_offset + 1, self.step)
        frames = np.asarray(self.cache.frames[index, frame_indices])  # a copy
        masks = np.asarray(labelled_masks(self.cache)[index, frame_indices])  # a copy
        if self.labels == "one":
            masks[frame_indices != labelled] = IGNORE_INDEX
        if self.noise:
            frames = add_sensor_noise(frames, noise=self.noise, number=number, frame_indices=frame_indices)
        item = {"frames": torch.from_numpy(frames), "masks": torch.from_numpy(masks)}
        if self.transform is None:
            return item
        from vidseg_utils.data.transforms import augment_item  # here, because torchvision takes two seconds to import

        return augment_item(self.transform, item)


def add_sensor_noise(frames: np.ndarray, *, noise: float, number: int, frame_indices: np.ndarray) -> np.ndarray:
    """Add Gaussian noise to frames (T, 3, H, W) uint8 of video `number`; returns a clipped uint8 copy.

    noise: standard deviation, in [0, 1]. The same number, frame index and size give the same noise.
    """
    noisy = np.empty_like(frames)
    for target, frame, frame_index in zip(noisy, frames, frame_indices.tolist(), strict=True):
        random = np.random.default_rng([number, frame_index])
        grain = 255 * noise * random.standard_normal(frame.shape, dtype=np.float32)
        target[...] = (frame + grain).round().clip(0, 255)
    return noisy
