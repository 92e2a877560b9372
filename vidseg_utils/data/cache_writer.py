"""Write a split as two flat arrays, video after video: 15,000 videos need the memory of one.

Everything goes to a `.partial` folder that takes its real name only when it is whole. One process writes at a time
(`locked`), so a `.partial` folder that is found under the lock was left by a process that died.
"""

import contextlib
import errno
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock

from vidseg_utils.data.layout import LABELLED, n_frames
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.world.trajectory import Trajectory, write_annotation

META = "meta.json"
FRAMES_FILE, MASKS_FILE, ANNOTATIONS = "frames.npy", "masks.npy", "annotations"
BEGUN, JOURNAL = "begun.json", "journal.txt"  # what the cache is of; a line for each video that is wholly there
VERSION = 1
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # disk full, quota used up, file too large


def annotation_path(folder: Path, number: int) -> Path:
    """Where the cache `folder` keeps the annotation of a video that never was on disk as images."""
    return folder / ANNOTATIONS / f"annotation_{number:05d}.json"


def partial_folder(folder: Path) -> Path:
    """Where the cache `folder` is before it is whole."""
    return folder.parent / f".{folder.name}.partial"


def begun_with(folder: Path) -> dict | None:
    """What the cache in `folder`, whole or partial, is of; None where there is none."""
    with contextlib.suppress(OSError, ValueError):
        return read_json(folder / BEGUN)
    return None


def read_journal(folder: Path) -> dict[int, str]:
    """Number -> name of the videos that are wholly in the cache `folder`; a line that was cut off does not count."""
    journal = {}
    with contextlib.suppress(OSError, ValueError):
        for line in (folder / JOURNAL).read_text(encoding="utf-8").splitlines(keepends=True):
            number, _, name = line.strip().partition(" ")
            if line.endswith("\n") and number.isdigit() and name:
                journal[int(number)] = name
    return journal


def video_shapes(split: str, *, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """What a video takes in each array file: frames (T, 3, H, W) and, in a split with labels, masks (T, H, W)."""
    shapes = {FRAMES_FILE: (n_frames(split), 3, height, width), MASKS_FILE: (n_frames(split), height, width)}
    return shapes if split in LABELLED else {FRAMES_FILE: shapes[FRAMES_FILE]}


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the one lock for writing the cache `folder`; other processes wait. The lock file stays, and is empty."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f"{folder.name}.lock"):
        yield


class CacheWriter:
    """Appends videos to the cache `folder`; only `publish` makes them visible. Use it inside `locked(folder)`.

    source: what the videos come from, as text; a later open compares it. resume: go on with what an interrupted
    writer with the same source left; `numbers` then holds the videos that are already there.
    """

    def __init__(self, folder: Path, *, split: str, height: int, width: int, source: str, resume: bool = False):
        self.folder, self.partial = folder, partial_folder(folder)
        self.shapes = video_shapes(split, height=height, width=width)
        self.meta = {
            "version": VERSION,
            "split": split,
            "frame_shape": list(self.shapes[FRAMES_FILE]),
            "labelled": split in LABELLED,
            "source": source,
        }
        self.numbers: list[int] = []
        self.names: list[str] = []
        if resume:
            self._take_over()
        if not self.numbers:
            shutil.rmtree(self.partial, ignore_errors=True)
            self.partial.mkdir(parents=True)
            (self.partial / BEGUN).write_text(json.dumps(self.meta))
        self._journal = (self.partial / JOURNAL).open("a", encoding="utf-8")
        self._files = {name: self._open(name, shape) for name, shape in self.shapes.items()}

    def _take_over(self) -> None:
        if not self.partial.exists() and begun_with(self.folder) == self.meta:
            self.folder.replace(self.partial)  # a finished cache is continued too
        if begun_with(self.partial) == self.meta:
            journal = read_journal(self.partial)
            kept = list(journal.items())[: self._n_whole()]
            self.numbers, self.names = [number for number, _ in kept], [name for _, name in kept]
            lines = [f"{number} {name}\n" for number, name in kept]
            (self.partial / JOURNAL).write_text("".join(lines), encoding="utf-8")

    def _n_whole(self) -> int:
        """Videos whose arrays are wholly in the partial folder."""
        counts = []
        for name, shape in self.shapes.items():
            path = self.partial / name
            size_bytes = path.stat().st_size if path.exists() else 0
            counts.append(max(0, size_bytes - _write_header(io.BytesIO(), 0, shape)) // int(np.prod(shape)))
        return min(counts)

    def _open(self, name: str, shape: tuple[int, ...]) -> BinaryIO:
        path = self.partial / name
        file = path.open("r+b" if path.exists() else "w+b")
        _write_header(file, len(self.numbers), shape)
        file.seek(len(self.numbers) * int(np.prod(shape)), os.SEEK_CUR)
        file.truncate()
        return file

    def append(self, number: int, frames: np.ndarray, masks: np.ndarray | None, *, name: str | None = None,
               annotation: Trajectory | Path | None = None) -> None:  # fmt: skip
        """frames: (T, 3, H, W) uint8; masks: (T, H, W) uint8, or None in a split without labels; numbers must rise."""
        if self.numbers and number <= self.numbers[-1]:
            raise ValueError(f"video {number} comes after video {self.numbers[-1]}; append them in number order")
        arrays = dict(zip(self.shapes, (frames, masks), strict=False))  # without labels, masks are not looked at
        for file, array in arrays.items():
            if array is None or array.shape != self.shapes[file] or array.dtype != np.uint8:
                found = "missing" if array is None else f"{array.dtype} {array.shape}"
                raise ValueError(f"video {number}: {file[:-4]} are {found}; expected uint8 {self.shapes[file]}")
        if annotation is not None:
            path = annotation_path(self.partial, number)
            path.parent.mkdir(exist_ok=True)
            write_annotation(path, annotation, number=number)
        for file, array in arrays.items():
            self._files[file].write(np.ascontiguousarray(array).data)
            self._files[file].flush()
        self.numbers.append(int(number))
        self.names.append(name or f"video_{number}")
        self._journal.write(f"{number} {self.names[-1]}\n")
        self._journal.flush()

    def publish(self, *, skipped: dict[str, str]) -> None:
        """Give the cache its real name. skipped: video name -> why it is not in it."""
        for name, file in self._files.items():
            file.seek(0)
            _write_header(file, len(self.numbers), self.shapes[name])
        self.close(sync=True)
        meta = self.meta | {"id": uuid.uuid4().hex, "numbers": self.numbers, "names": self.names, "skipped": skipped}
        with contextlib.suppress(OSError, ValueError):  # a finished cache that was continued with nothing is the same
            before = read_json(self.partial / META)
            meta = before if before["numbers"] == self.numbers else meta
        write_json(self.partial / META, meta, indent=None)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.partial.replace(self.folder)

    def close(self, *, sync: bool = False) -> None:
        """Close the files; what was appended stays in the partial folder."""
        with contextlib.ExitStack() as files:
            for file in (*self._files.values(), self._journal):
                files.callback(file.close)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())

    def discard(self) -> None:
        """Close the files and remove the partial folder; does nothing after `publish`."""
        with contextlib.suppress(OSError):  # a full disk refuses the last flush too
            self.close()
        shutil.rmtree(self.partial, ignore_errors=True)


def _write_header(file: BinaryIO, n_videos: int, shape: tuple[int, ...]) -> int:
    """numpy pads its header so that the first axis can grow: a new one replaces the old exactly. Returns its length."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (n_videos, *shape)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


@contextlib.contextmanager
def no_room_is_one_line(folder: Path, *, need_bytes: int = 0) -> Iterator[None]:
    """Turn a full disk, now (`need_bytes`) or inside the block, into one OSError that says where and what to do."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(folder.parent).free
    try:
        if need_bytes > free_bytes:
            raise OSError(errno.ENOSPC, "too little room")
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        need = f"{need_bytes / 1e9:.2f} GB are needed and " if need_bytes else ""
        message = (
            f"no room for the cache {folder}: {need}{free_bytes / 1e9:.2f} GB were free; nothing was kept. "
            "Free some room, or choose a smaller height and width"
        )
        raise OSError(error.errno, message) from None
