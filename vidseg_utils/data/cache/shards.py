"""Shards: parts of a split that several machines make at once. Each is a small cache, merged into that of the split.

Machines that map one file of a network file system overwrite each other's bytes in the pages where their rows meet, so
each writes files of its own. A shard outlives its maker: what is complete is not made again.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict, TypeVar

import numpy as np

from vidseg_utils.data.cache.split_cache import FILLED_DIRECTLY, annotation_path, direct_folder, video_shapes
from vidseg_utils.data.cache.writer import CacheWriter, written_numbers
from vidseg_utils.data.locks import lock_folder
from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.world import Trajectory

SHARD_VIDEOS = 16  # video numbers that share a shard
Job = TypeVar("Job")
MadeVideo = tuple[np.ndarray, np.ndarray | None, Trajectory | None]  # frames, masks, poses


class _Content(TypedDict):
    split: str
    height: int
    width: int
    source: str


def fill_shard(
    root: Path,
    split: str,
    jobs: Mapping[int, Job],
    *,
    key: str,
    make: Callable[[Job], MadeVideo],
) -> None:
    """Make the videos of a shard that neither it nor the split's cache has. Only one process does so at a time.

    jobs: number of each video -> what `make` needs, in rising order
    key: as of `filling`
    """
    folder, content = _shard_folder(root, split, min(jobs)), _content(split, key)
    with lock_folder(folder):
        merged, made = written_numbers(direct_folder(root, split), **content), written_numbers(folder, **content)
        missing = [number for number in jobs if number not in {*merged, *made}]
        if missing and made and made[-1] > missing[0]:  # left behind by a set that was deleted
            shutil.rmtree(folder)
            missing = [number for number in jobs if number not in merged]
        if not missing:
            return
        writer = CacheWriter(folder, **content, n_new=len(missing))
        try:
            for number in missing:
                frames, masks, trajectory = make(jobs[number])
                writer.append(number, frames, masks, annotation=trajectory)
        finally:
            writer.save()


def merge_shard(writer: CacheWriter, root: Path, split: str, numbers: Sequence[int], *, key: str) -> None:
    """Append these videos of a shard to the split's cache, and delete the shard.

    writer: of `filling`. Raises RuntimeError if the shard lacks one of them.
    """
    folder, content = _shard_folder(root, split, numbers[0]), _content(split, key)
    made = written_numbers(folder, **content)
    if not set(numbers) <= set(made):
        raise RuntimeError(f"the shard {folder} was changed by another process; run the same command again")
    shapes = video_shapes(split, height=HEIGHT, width=WIDTH)
    frames, *masks = [np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in shapes]
    for number in numbers:
        index, annotation = made.index(number), annotation_path(folder, number)
        found = annotation if annotation.is_file() else None
        writer.append(number, frames[index], masks[0][index] if masks else None, annotation=found)
    writer.save()
    shutil.rmtree(folder)


def delete_shards(root: Path, split: str) -> None:
    """Delete what is left of the shards of a split."""
    shutil.rmtree(_shard_folder(root, split, 0).parent, ignore_errors=True)


def _shard_folder(root: Path, split: str, number: int) -> Path:
    folder = direct_folder(root, split)
    return folder.with_name(f"{folder.name}.shards") / f"{number // SHARD_VIDEOS:05d}"


def _content(split: str, key: str) -> _Content:
    return {"split": split, "height": HEIGHT, "width": WIDTH, "source": FILLED_DIRECTLY + key}
