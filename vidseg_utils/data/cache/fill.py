"""Fill a split straight into its cache, without image folders: generated and imported videos with store "cache"."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from vidseg_utils.data.cache.split_cache import FILLED_DIRECTLY, direct_folder
from vidseg_utils.data.cache.writer import CacheWriter, written_numbers
from vidseg_utils.data.layout import SPLITS, scan_split
from vidseg_utils.data.locks import lock_folder
from vidseg_utils.task import HEIGHT, WIDTH


@contextlib.contextmanager
def filling(root: Path | str, split: str, *, key: str, n_new: int) -> Iterator[CacheWriter]:
    """Fill a split: `with filling(root, split, key="seed 7", n_new=9) as writer: …`.

    Inside, call writer.append(number, frames, masks) in number order; frames are (22 or 11, 3, 160, 240) uint8.
    `writer.numbers` holds the videos that an earlier call with the same `key` wrote, even if it was interrupted:
    continue after them. Readers see only the earlier videos until the block ends. Another key deletes what was there.

    n_new: the most videos that will be appended; their disk space is allocated first. Raises OSError if there is too
        little.
    """
    root = Path(root)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose from {list(SPLITS)}")
    if (root / split).is_dir() and scan_split(root, split)[0]:
        raise ValueError(f"{root / split} holds image folders, which would be used instead; choose another root")
    folder = direct_folder(root, split)
    with lock_folder(folder):
        source = FILLED_DIRECTLY + key
        writer = CacheWriter(folder, split=split, height=HEIGHT, width=WIDTH, source=source, n_new=n_new)
        try:
            yield writer
        finally:
            writer.save()
        if not writer.numbers:
            shutil.rmtree(folder)
            raise ValueError(f"no video was made for the split {split!r} of {root}")
        writer.publish(skipped={})


def filled_numbers(root: Path | str, split: str, *, key: str) -> list[int]:
    """Numbers of the videos that `filling` with that key wrote so far, even if it was interrupted."""
    folder = direct_folder(Path(root), split)
    return written_numbers(folder, split=split, height=HEIGHT, width=WIDTH, source=FILLED_DIRECTLY + key)
