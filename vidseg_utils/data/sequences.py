"""Sequences out of labelled clips, for networks that remember: as sparsely labelled and as noisy as a real recording.

The labels of a sequence are (T, H, W) with 255 in the frames that have none, so one labelled frame and many are the
same to whoever trains on them.
"""

import numpy as np
import torch
from torch.utils.data import Dataset

from vidseg_utils.classes import IGNORE_INDEX
from vidseg_utils.data.cache import SplitCache
from vidseg_utils.data.transforms import Transform, augment

LABELS = ("all", "one")  # every frame of a clip is labelled, or a single one


class ClipSequences(Dataset):
    """One sequence a clip: dict(frames: (length, 3, H, W) uint8, masks: (length, H, W) uint8, 255 = no label).

    step: take every step-th frame. labels: "all", or "one": of each clip only frame `number % T` has a label, and every
    sequence holds it. random_start: the sequence lies anywhere in the clip, so the labelled frame at a random place of
    it; else it begins as early as it can. noise: standard deviation of the sensor's Gaussian noise, in [0, 1]; it
    belongs to the recording, so a frame has the same noise every time. A transform changes all frames alike.
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
        transform: Transform | None = None,
    ):
        n_frames, span = cache.frames.shape[1], (length - 1) * step + 1
        if cache.masks is None:
            raise ValueError(f"the split {cache.split!r} has no masks; use a labelled one")
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
        n_frames, reach = self.cache.frames.shape[1], (self.length - 1) * self.step
        number = int(self.numbers[index])
        labelled = number % n_frames
        starts = range(n_frames - reach)
        if self.labels == "one":
            starts = [start for start in starts if labelled in range(start, start + reach + 1, self.step)]
        start = starts[int(torch.randint(len(starts), ()))] if self.random_start else starts[0]
        places = np.arange(start, start + reach + 1, self.step)
        frames, masks = (np.asarray(whole[index, places]) for whole in (self.cache.frames, self.cache.masks))  # copies
        if self.labels == "one":
            masks[places != labelled] = IGNORE_INDEX
        if self.noise:
            frames = add_sensor_noise(frames, noise=self.noise, number=number, places=places)
        frames, masks = torch.from_numpy(frames), torch.from_numpy(masks)
        if self.transform is not None:
            frames, masks = augment(self.transform, frames, masks)
        return {"frames": frames, "masks": masks}


def add_sensor_noise(frames: np.ndarray, *, noise: float, number: int, places: np.ndarray) -> np.ndarray:
    """frames: (T, 3, H, W) uint8 of video `number` at `places` in it -> the same with Gaussian noise, clipped, uint8.

    noise: standard deviation, in [0, 1]. The same number, place and size give the same noise.
    """
    noisy = np.empty_like(frames)
    for target, frame, place in zip(noisy, frames, places.tolist(), strict=True):
        random = np.random.default_rng([number, place])
        grain = 255 * noise * random.standard_normal(frame.shape, dtype=np.float32)
        target[...] = (frame + grain).round().clip(0, 255)
    return noisy
