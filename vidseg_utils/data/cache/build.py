"""Build a cache from image folders (decoded on all cores) or from a larger cache."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from vidseg_utils.data.cache.writer import CacheWriter
from vidseg_utils.data.faults import Fault
from vidseg_utils.data.layout import LABELLED, Video, read_frames, read_masks
from vidseg_utils.data.parallel import map_in_order, n_cores
from vidseg_utils.data.resize import area_scale, nearest_scale
from vidseg_utils.progress import ProgressBar

# number, name, and (frames, masks) or the fault that makes the video unusable
LoadedVideo = tuple[int, str, tuple[np.ndarray, np.ndarray | None] | Fault]


def load_videos(videos: list[Video], *, height: int, width: int) -> Iterator[LoadedVideo]:
    """Decode image folders on all cores, in order, at the working size."""
    load = partial(_load_video, height=height, width=width)
    with ThreadPoolExecutor(n_cores()) as executor:
        yield from map_in_order(load, videos, executor=executor, max_waiting=2 * n_cores())


def _load_video(video: Video, *, height: int, width: int) -> LoadedVideo:
    try:
        frames = area_scale(read_frames(video), height=height, width=width)
        masks = nearest_scale(read_masks(video), height=height, width=width) if video.split in LABELLED else None
        return video.number, video.name, (frames, masks)
    except Fault as fault:
        return video.number, video.name, fault


def build_cache(
    folder: Path,
    loaded: Iterator[LoadedVideo],
    *,
    n_videos: int,
    split: str,
    height: int,
    width: int,
    source: str,
    skipped: dict[str, str],
    progress: bool,
) -> None:
    """Write the cache `folder`, inside its lock. Leaves nothing of a cache that could not be finished.

    n_videos: the most videos that `loaded` yields
    skipped: videos that are known to be unusable: name -> reason
    Raises ValueError when no video is usable, OSError when the disk is full.
    """
    shutil.rmtree(folder, ignore_errors=True)  # an outdated cache; its disk space is needed
    skipped = dict(skipped)
    try:
        writer = CacheWriter(folder, split=split, height=height, width=width, source=source, n_new=n_videos)
        for number, name, result in ProgressBar(
            loaded, total=n_videos, desc=f"caching {split}", unit="video", disable=not progress
        ):
            if isinstance(result, Fault):
                skipped[name] = f"{result.path.name}: {result.kind} ({result.detail})"
            else:
                writer.append(number, *result, name=name)
        if not writer.numbers:
            name, reason = next(iter(skipped.items()))
            raise ValueError(f"the split {split!r} has no usable video; {name}: {reason}")
        writer.publish(skipped=skipped)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
