"""The forecasts of a split, batch by batch: what evaluations score and submissions hold."""

import os
import time
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data import SplitCache, to_float
from vidseg_utils.data.parallel import worker_processes
from vidseg_utils.device import reusing_memory
from vidseg_utils.metrics import confusion_matrix
from vidseg_utils.systems import Forecaster
from vidseg_utils.systems.object_dynamics import ObjectDynamics, PixelClasses
from vidseg_utils.task import PAST_FRAMES

# Memory that a clip takes for each pixel of a frame in the largest published network, measured
BYTES_PER_PIXEL = 24_000
MAX_BATCH_SIZE = 32  # larger batches are not faster
CLIPS_PER_TASK = 8  # of a worker process; the segmenter's probabilities take 5 MB a clip
MIN_VIDEOS_PER_PROCESS = 12  # fewer are sooner forecast than another process is started


@dataclass(frozen=True)
class ForecastBatch:
    """The forecasts of consecutive videos."""

    masks: np.ndarray  # (B, H, W) uint8 class ids of the last frame
    segmentation: np.ndarray  # (49, 49) int64 confusion matrix of the segmenter's masks of frames 0..10; 0 if not asked
    seconds: float  # that the forecasts took


def forecast_batches(
    system: Forecaster,
    split: SplitCache,
    *,
    size: tuple[int, int],
    device: torch.device | str,
    batch_size: int,
    start: int = 0,
    stop: int | None = None,
    true_masks: bool = False,
    scores_segmentation: bool = False,
    processes: int = 1,
) -> Iterator[ForecastBatch]:
    """Forecast the videos at the indices from `start` to before `stop`, by default to the end.

    size: of the forecasts; true_masks: give the system true masks instead of frames
    batch_size: clips at once. It is halved when memory runs out.
    scores_segmentation: also compare the segmenter's masks with the true ones
    processes: this one and those that find and move the objects of object dynamics while it segments the next videos;
        fewer for few videos. With two, nothing would be gained, and this one does everything. A script with more needs
        `if __name__ == "__main__":`
    """
    stop = len(split) if stop is None else stop
    n_workers = min(processes - 1, (stop - start) // MIN_VIDEOS_PER_PROCESS)
    if n_workers > 1 and isinstance(system, ObjectDynamics):
        numbers = range(start, stop, min(batch_size, CLIPS_PER_TASK))
        yield from _forecast_objects(
            system,
            split,
            [(first, min(first + numbers.step, stop)) for first in numbers],
            size=size,
            device=device,
            true_masks=true_masks,
            scores_segmentation=scores_segmentation,
            n_workers=n_workers,
        )
        return
    with reusing_memory(torch.device(device)):
        while start < stop:
            end = min(start + batch_size, stop)
            try:
                with torch.inference_mode():
                    past = past_clips(split, start, end, device=device, true_masks=true_masks)
                    began = time.perf_counter()
                    segmented = system.segment(past) if scores_segmentation and system.uses_only_masks else None
                    given = past if segmented is None else segmented
                    masks = system.predict(given, size, segmented=segmented is not None).cpu().numpy()
                    seconds = time.perf_counter() - began
                    confusion = np.zeros((N_CLASSES, N_CLASSES), dtype=np.int64)
                    if scores_segmentation:
                        segmented = system.segment(past) if segmented is None else segmented
                        confusion = _segmentation_confusion(segmented, split, start, end)
            except RuntimeError as error:
                if batch_size == 1 or not _is_out_of_memory(error):
                    raise
                batch_size //= 2
                continue
            yield ForecastBatch(masks, confusion, seconds)
            start = end


def _forecast_objects(
    system: ObjectDynamics,
    split: SplitCache,
    ranges: Sequence[tuple[int, int]],
    *,
    size: tuple[int, int],
    device: torch.device | str,
    true_masks: bool,
    scores_segmentation: bool,
    n_workers: int,
) -> Iterator[ForecastBatch]:
    """As `forecast_batches`, for the videos of these ranges, with worker processes."""

    def classify() -> Iterator[PixelClasses]:
        for start, stop in ranges:
            with torch.inference_mode():
                past = past_clips(split, start, stop, device=device, true_masks=true_masks)
                pixels = PixelClasses(past.cpu().numpy(), None) if true_masks else system.classify_pixels(past)
            yield pixels

    sent = copy(system)
    sent.segmenter = None
    offset = system.constants.label_offset if true_masks else system.segmenter_offset
    with (
        worker_processes(n_workers, modules=[ObjectDynamics.__module__]) as parallel_map,
        reusing_memory(torch.device(device)),
    ):
        began = time.perf_counter()
        forecasts = parallel_map(partial(sent.forecast_pixels, offset=offset), classify())
        for (start, stop), (assigned, forecast) in zip(ranges, forecasts, strict=True):
            masks = F.interpolate(torch.from_numpy(forecast)[:, None], size=size, mode="nearest-exact")[:, 0].numpy()
            confusion = np.zeros((N_CLASSES, N_CLASSES), dtype=np.int64)
            if scores_segmentation:
                confusion = _segmentation_confusion(torch.from_numpy(assigned), split, start, stop)
            yield ForecastBatch(masks, confusion, time.perf_counter() - began)
            began = time.perf_counter()


def past_clips(
    split: SplitCache, start: int, stop: int, *, device: torch.device | str, true_masks: bool = False
) -> Tensor:
    """What a system is given: (B, 11, 3, H, W) frames in [0, 1], or (B, 11, H, W) true masks."""
    given = split.masks if true_masks else split.frames
    assert given is not None  # the caller checks it
    past = torch.tensor(given[start:stop, :PAST_FRAMES]).to(device)
    return past if true_masks else to_float(past)


def clips_that_fit(split: SplitCache, device: torch.device) -> int:
    """How many clips a forecast may take at once: half of the free memory, at most MAX_BATCH_SIZE, at least one."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    elif "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        free = 0  # unknown: one clip at a time
    pixels = split.frames.shape[-2] * split.frames.shape[-1]
    return int(min(max(1, free // 2 // (BYTES_PER_PIXEL * pixels)), MAX_BATCH_SIZE))


def _segmentation_confusion(segmented: Tensor, split: SplitCache, start: int, stop: int) -> np.ndarray:
    assert split.masks is not None  # the caller checks it
    true = torch.tensor(split.masks[start:stop, :PAST_FRAMES])
    segmented = F.interpolate(segmented.to(torch.uint8), size=true.shape[-2:], mode="nearest-exact")
    return confusion_matrix(segmented.cpu(), true).numpy()


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
