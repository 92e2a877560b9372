"""Write a split into its cache, video by video: 15,000 videos need the memory of one.

Videos are appended to `ResumableArrays`. Readers see the videos that `meta.json` lists, which `publish` writes. Worker
processes write the videos that they have made themselves: each into its own `CacheRow`, which the `CacheWriter` counts.
"""

import contextlib
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidseg_utils.data.cache.split_cache import FRAMES_FILE, META_FILE, VERSION, annotation_path, video_shapes
from vidseg_utils.data.layout import LABELLED
from vidseg_utils.data.resumable_arrays import ResumableArrays, read_progress, write_rows
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.world import Trajectory, write_annotation


def cache_content(split: str, *, height: int, width: int, source: str) -> dict:
    """The part of `meta.json` that is known before the first video is written."""
    return {
        "version": VERSION,
        "split": split,
        "frame_shape": list(video_shapes(split, height=height, width=width)[FRAMES_FILE]),
        "labelled": split in LABELLED,
        "source": source,
    }


def written_numbers(folder: Path, *, split: str, height: int, width: int, source: str) -> list[int]:
    """Numbers of the videos of that source that are complete in the cache `folder`, published or not."""
    content = cache_content(split, height=height, width=width, source=source)
    n_done, notes = read_progress(folder, video_shapes(split, height=height, width=width), source=content)
    return notes.get("numbers", [])[:n_done]


@dataclass(frozen=True)
class CacheRow:
    """Where a video belongs in a cache whose space is reserved."""

    folder: Path
    shapes: dict[str, tuple[int, ...]]  # of the arrays, see `video_shapes`
    index: int

    def write(
        self, number: int, frames: np.ndarray, masks: np.ndarray | None, *, annotation: Trajectory | Path | None = None
    ) -> None:
        """Write a video. frames: (T, 3, H, W) uint8; masks: (T, H, W) uint8, ignored in a split without labels."""
        arrays: dict[str, np.ndarray] = {}
        for (file, shape), array in zip(self.shapes.items(), (frames, masks), strict=False):  # no masks if unlabelled
            if array is None or array.shape != shape or array.dtype != np.uint8:
                got = "missing" if array is None else f"{array.dtype} {array.shape}"
                raise ValueError(f"video {number}: {file.removesuffix('.npy')} are {got}; expected uint8 {shape}")
            arrays[file] = array
        if annotation is not None:
            path = annotation_path(self.folder, number)
            path.parent.mkdir(exist_ok=True)
            write_annotation(path, annotation, number=number)
        for file, array in arrays.items():
            write_rows(self.folder / file, self.index, array[None])


class CacheWriter:
    """Appends videos to the cache `folder`; only `publish` shows them to readers. Use it inside `lock_folder(folder)`.

    It resumes what an earlier writer of the same source wrote, published or not: `numbers` then holds those videos.

    source: what the videos are made from, as text; `open_split` compares it
    n_new: the most videos that will be appended; their disk space is allocated now. Raises OSError if there is too
        little.
    """

    def __init__(self, folder: Path, *, split: str, height: int, width: int, source: str, n_new: int):
        self.folder = folder
        self.shapes = video_shapes(split, height=height, width=width)
        self.content = cache_content(split, height=height, width=width, source=source)
        self._arrays = ResumableArrays(folder, self.shapes, source=self.content)
        n_done = self._arrays.n_done
        self.numbers: list[int] = self._arrays.notes.get("numbers", [])[:n_done]
        self.names: list[str] = self._arrays.notes.get("names", [])[:n_done]
        self._arrays.notes = {"numbers": self.numbers, "names": self.names}
        self._published = self._read_published()
        self._arrays.reserve(n_done + n_new)

    def _read_published(self) -> dict:
        """What `meta.json` says, or {}. It is deleted where the arrays have lost videos that it lists."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            published = read_json(self.folder / META_FILE)
            if published["numbers"] == self.numbers[: len(published["numbers"])]:
                return published
            (self.folder / META_FILE).unlink()
        return {}

    def append(self, number: int, frames: np.ndarray, masks: np.ndarray | None, *, name: str | None = None,
               annotation: Trajectory | Path | None = None) -> None:  # fmt: skip
        """frames: (T, 3, H, W) uint8; masks: (T, H, W) uint8, ignored in a split without labels; numbers must rise."""
        next(self.rows()).write(number, frames, masks, annotation=annotation)
        self.count(number, name=name)

    def rows(self) -> Iterator[CacheRow]:
        """The rows of the next videos, for processes that write them; `count` them in the same order."""
        return (CacheRow(self.folder, self.shapes, index) for index in itertools.count(len(self.numbers)))

    def count(self, number: int, *, name: str | None = None) -> None:
        """Count a video that is written in the next row; numbers must rise."""
        if self.numbers and number <= self.numbers[-1]:
            raise ValueError(f"video {number} comes after video {self.numbers[-1]}; append them in number order")
        self.numbers.append(int(number))
        self.names.append(name or f"video_{number}")
        self._arrays.count(1)

    def save(self) -> None:
        """Make sure that all appended videos survive the end of this process."""
        self._arrays.save()

    def publish(self, *, skipped: dict[str, str]) -> None:
        """Show the videos to readers. skipped: name of each video that was left out -> reason."""
        self._arrays.trim()
        if self._published.get("numbers") != self.numbers:
            meta = {"id": uuid.uuid4().hex, "numbers": self.numbers, "names": self.names, "skipped": skipped}
            if before := self._published:  # processes that opened an earlier version may open it again by its id
                meta["extends"] = before.get("extends", {}) | {before["id"]: len(before["numbers"])}
            write_json(self.folder / META_FILE, self.content | meta, indent=None)
