"""Arrays on disk that are filled row by row and resumed after an interruption.

The cache of a split, pseudo-labels and submissions use them. The disk space is allocated before work begins, so a full
disk is one clear error then. One process counts the rows; others may write them (`write_rows`).
What a process has written outlives it, but not a power failure: nothing is forced to the disk.
"""

import errno
import io
import math
import os
import shutil
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vidseg_utils.paths import read_json, write_json

PROGRESS_FILE = "progress.json"
SAVE_EVERY_ROWS = 16  # a killed process loses fewer rows than this
ZEROS_BYTES = 1 << 24  # written at a time where the file system cannot allocate
NO_FALLOCATE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # what a file system without it answers


class ResumableArrays:
    """uint8 arrays of one folder, one `.npy` file each, that grow together: row i of each belongs to the same item.

    Create and use it inside `lock_folder(folder)`. `n_done` rows are complete; `notes` (JSON) is saved with them.
    Processes that have mapped complete rows are not disturbed: those rows never move or change while more are added.

    row_shapes: file name -> shape of one row
    source: what the rows are computed from (JSON). Rows of another source are deleted by `reserve`.
    """

    def __init__(self, folder: Path, row_shapes: dict[str, tuple[int, ...]], *, source: dict):
        self.folder, self.row_shapes, self.source = folder, row_shapes, source
        self.n_done, self.notes = read_progress(folder, row_shapes, source=source)
        self._n_saved = self.n_done
        self._reserved = False

    def reserve(self, n_rows: int) -> None:
        """Allocate the disk space of `n_rows` rows in all. Raises OSError for a full disk; complete rows stay."""
        if self.n_done == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        paths = {self.folder / name: (n_rows, *shape) for name, shape in self.row_shapes.items()}
        need_bytes = sum(
            math.prod(shape) - (path.stat().st_size if path.exists() else 0) for path, shape in paths.items()
        )
        free_bytes = shutil.disk_usage(self.folder).free
        try:
            if need_bytes > free_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            for path, shape in paths.items():
                _resize(path, shape)
        except OSError as error:
            self.trim()
            raise OSError(
                error.errno,
                f"no room for {self.folder}: {need_bytes / 1e9:.2f} GB are needed and {free_bytes / 1e9:.2f} GB are "
                f"free; free some room or choose a smaller frame size ({error.strerror})",
            ) from None
        self._reserved = True

    def append(self, *blocks: np.ndarray) -> None:
        """Write the next rows: for each array, in the order of `row_shapes`, a block (rows, *row_shape) uint8."""
        for name, block in zip(self.row_shapes, blocks, strict=True):
            write_rows(self.folder / name, self.n_done, block)
        self.count(len(blocks[0]))

    def count(self, n_rows: int) -> None:
        """Count the next rows as complete: `write_rows` has written them, in this process or in another."""
        self.n_done += n_rows
        if self.n_done - self._n_saved >= SAVE_EVERY_ROWS:
            self.save()

    def save(self) -> None:
        """Write down `n_done` and the notes."""
        progress = {"source": self.source, "n_done": self.n_done, "notes": self.notes}
        write_json(self.folder / PROGRESS_FILE, progress, indent=None)
        self._n_saved = self.n_done

    def trim(self) -> None:
        """Save, and give back the space of the rows that were not written."""
        if self._reserved:
            self.save()
        self._reserved = False
        for name, shape in self.row_shapes.items():
            if self.n_done:
                _resize(self.folder / name, (self.n_done, *shape))
            else:
                (self.folder / name).unlink(missing_ok=True)


def write_rows(path: Path, first: int, rows: np.ndarray) -> None:
    """Write rows (R, *row_shape) uint8, from index `first` on, into space that `ResumableArrays` has reserved."""
    with path.open("r+b") as file:
        shape = _read_header(file, rows.shape[1:])
        if first + len(rows) > shape[0]:
            raise ValueError(f"{path} has room for {shape[0]} rows, not for {first + len(rows)}")
        file.seek(first * math.prod(shape[1:]), os.SEEK_CUR)
        file.write(np.ascontiguousarray(rows, dtype=np.uint8).data)


def read_progress(folder: Path, row_shapes: dict[str, tuple[int, ...]], *, source: dict) -> tuple[int, dict]:
    """How many rows of that source are complete in `folder`, and the notes that were saved with them."""
    try:
        progress = read_json(folder / PROGRESS_FILE)
        if progress["source"] != source:
            return 0, {}
        rows_on_disk = [_complete_rows(folder / name, shape) for name, shape in row_shapes.items()]
        return min(progress["n_done"], *rows_on_disk), progress["notes"]
    except (OSError, ValueError, KeyError, TypeError):  # none, or damaged
        return 0, {}


def _complete_rows(path: Path, row_shape: tuple[int, ...]) -> int:
    """Rows that the file holds. Raises ValueError for a file of another shape or type."""
    with path.open("rb") as file:
        _read_header(file, row_shape)
        return (path.stat().st_size - file.tell()) // math.prod(row_shape)


def _read_header(file: BinaryIO, row_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the array, whose rows begin where the file then stands. Raises ValueError for another one."""
    np.lib.format.read_magic(file)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if shape[1:] != row_shape or fortran_order or dtype != np.uint8:
        raise ValueError(f"{file.name} holds {dtype} {shape}; expected uint8 rows of {row_shape}")
    return shape


def _resize(path: Path, shape: tuple[int, ...]) -> None:
    """Make the `.npy` file hold a uint8 array of that shape; rows that stay keep their bytes."""
    header = io.BytesIO()
    # numpy pads the header so that the first axis can grow: the new header is exactly as long as the old one
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    n_bytes = header.tell() + math.prod(shape)
    with path.open("r+b" if path.exists() else "w+b", buffering=0) as file:
        _allocate(file, n_bytes)
        file.seek(0)
        file.write(header.getvalue())
        file.truncate(n_bytes)


def _allocate(file: io.FileIO, n_bytes: int) -> None:
    """Take disk space for the first `n_bytes` of the file, so that no later write into them can fail for want of it."""
    if hasattr(os, "posix_fallocate"):
        try:
            return os.posix_fallocate(file.fileno(), 0, n_bytes)
        except OSError as error:
            if error.errno not in NO_FALLOCATE:
                raise
    position = file.seek(0, os.SEEK_END)
    while position < n_bytes:
        position += file.write(bytes(min(ZEROS_BYTES, n_bytes - position)))
