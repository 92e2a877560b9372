"""Small data sets in the course layout, written by the tests themselves."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

from vidseg_utils.data.layout import LABELLED, n_frames, write_video
from vidseg_utils.task import CLIP_FRAMES, HEIGHT, WIDTH


def make_frames(seed: int, n_frames: int = CLIP_FRAMES) -> np.ndarray:
    """(T, 3, 160, 240) uint8: a shaded floor and a coloured block that moves; every seed and frame differs."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(90, 150, HEIGHT).astype(np.uint8)
    frames = np.broadcast_to(rows[:, None], (n_frames, 3, HEIGHT, WIDTH)).copy()
    colour, row, column = rng.integers(0, 255, 3), rng.integers(20, 100), rng.integers(0, 100)
    for t in range(n_frames):
        frames[t, :, row : row + 24, column + 4 * t : column + 4 * t + 24] = colour[:, None, None]
        frames[t, 0, 0, 0], frames[t, 1, 0, 0] = t, seed % 256
    return frames


def make_masks(seed: int) -> np.ndarray:
    """(22, 160, 240) uint8: the block of `make_frames`, with class 1 + seed % 48."""
    rng = np.random.default_rng(seed)
    _, row, column = rng.integers(0, 255, 3), rng.integers(20, 100), rng.integers(0, 100)
    masks = np.zeros((CLIP_FRAMES, HEIGHT, WIDTH), dtype=np.uint8)
    for t in range(CLIP_FRAMES):
        masks[t, row : row + 24, column + 4 * t : column + 4 * t + 24] = 1 + seed % 48
    return masks


def write_split(root: Path, split: str, numbers, *, pattern: str = "video_{}") -> None:
    for number in numbers:
        frames = make_frames(number, n_frames(split))
        masks = make_masks(number) if split in LABELLED else None
        write_video(root / split / pattern.format(number), frames, masks)


@pytest.fixture(scope="session")
def made():
    """The makers above, for test files that cannot import this one."""

    class Made:
        frames, masks, split = staticmethod(make_frames), staticmethod(make_masks), staticmethod(write_split)

    return Made


@pytest.fixture(scope="session")
def small_root(tmp_path_factory) -> Path:
    """train: 3 videos, val: 2, unlabeled: 2, hidden: 2. Shared: do not change it."""
    root = tmp_path_factory.mktemp("small")
    write_split(root, "train", (0, 2, 10))
    write_split(root, "val", (1000, 1001))
    write_split(root, "unlabeled", (2000, 2001), pattern="video_{:05d}")
    write_split(root, "hidden", (15000, 15001))
    return root


@pytest.fixture
def full_disk():
    """`with full_disk(1000): …`: the kernel refuses to make a file larger than that, in the middle of a write."""
    resource = pytest.importorskip("resource")

    @contextlib.contextmanager
    def limited(file_bytes: int):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited
