"""A split decoded once into memory-mapped uint8 arrays: a clip then takes 0.25 ms instead of 20 ms of PNG decoding.

A cache is checked against the files that it came from (names, sizes, times) and rebuilt when one of them changed.
A split can also be filled straight into its cache (`filling`), with no image folders at all.
"""

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidseg_utils.data.cache_build import Loaded, build, fingerprint, load_videos
from vidseg_utils.data.cache_writer import (
    FRAMES_FILE,
    MASKS_FILE,
    META_FILE,
    VERSION,
    CacheWriter,
    annotation_path,
    video_shapes,
    written_numbers,
)
from vidseg_utils.data.faults import Fault, Note
from vidseg_utils.data.layout import ANNOTATION, SPLITS, Video, scan_split
from vidseg_utils.data.locks import lock_folder
from vidseg_utils.data.resize import area_scale, nearest_scale
from vidseg_utils.paths import data_dir, read_json
from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.world.trajectory import Trajectory, read_annotation

logger = logging.getLogger(__name__)
CACHES = ".cache"  # folder of the caches inside a data set
DIRECT = "filled directly: "  # begins the source of a cache that has no image folders behind it


@dataclass
class SplitCache:
    """A split in number order, read from the disk as it is used. Workers may pickle it: only its place travels."""

    root: Path
    split: str
    folder: Path
    meta: dict  # what META holds
    frames: np.memmap  # (N, T, 3, H, W) uint8, read-only; T is 22, or 11 in the split "hidden"
    masks: np.memmap | None  # (N, T, H, W) uint8, 255 = ignore; None in a split without labels

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def numbers(self) -> np.ndarray:
        """(N,) int64 video numbers, rising."""
        return np.array(self.meta["numbers"], dtype=np.int64)

    @property
    def skipped(self) -> dict[str, str]:
        """Name of each video that could not be used -> why."""
        return self.meta["skipped"]

    def annotation(self, index: int) -> Trajectory | None:
        """The true poses of the video at `index`, or None where the data set has none."""
        beside_images = self.root / self.split / self.meta["names"][index] / ANNOTATION
        in_cache = annotation_path(_direct_folder(self.root, self.split), self.meta["numbers"][index])
        return next((read_annotation(path) for path in (beside_images, in_cache) if path.is_file()), None)

    def __getstate__(self):
        return self.root, self.split, self.folder, self.meta["id"]

    def __setstate__(self, state):
        root, split, folder, id_ = state
        cache = _load(root, split, folder, id_=id_)
        if cache is None:
            raise RuntimeError(f"the cache {folder} was rebuilt by another process; open the split again")
        self.__dict__.update(cache.__dict__)


def open_split(
    root: Path | str, split: str, *, height: int = HEIGHT, width: int = WIDTH, progress: bool = True
) -> SplitCache:
    """Open a split at a working size (at most 160x240), caching it first if that has not been done or is out of date.

    Unusable videos are left out and counted in one logged line. Raises FileNotFoundError for a missing root or
    split, ValueError for an unknown split, one without a usable video, or an impossible size, OSError for a full disk.
    """
    root = Path(root)
    if not (1 <= height <= HEIGHT and 1 <= width <= WIDTH):
        raise ValueError(f"working size {height}x{width} is impossible; choose at most {HEIGHT}x{WIDTH}")
    videos, found, direct = find_source(root, split)
    if direct and (height, width) == (HEIGHT, WIDTH):
        return direct
    source = f"scaled from {direct.meta['id']}" if direct else fingerprint(videos, found)
    name = f"{split}_{height}x{width}"
    folder = writable_folder(root) / name
    cache = _load(root, split, root / CACHES / name, source) or _load(root, split, folder, source)
    if cache is None:
        with lock_folder(folder):
            cache = _load(root, split, folder, source)  # another process may have built it meanwhile
            if cache is None:
                build(
                    folder,
                    _scaled(direct, height, width) if direct else load_videos(videos, height=height, width=width),
                    n_videos=len(direct or videos),
                    split=split,
                    height=height,
                    width=width,
                    source=source,
                    skipped={f.path.name: f"{f.kind} ({f.detail})" for f in found if isinstance(f, Fault)},
                    progress=progress,
                )
                cache = _load(root, split, folder, source)
    if cache.skipped:
        video, reason = next(iter(cache.skipped.items()))
        n_videos = len(cache.skipped) + len(cache)
        logger.warning(
            f"{root / split}: skipped {len(cache.skipped)} of {n_videos} videos ({video}: {reason}); "
            f"`vidseg data check {root}` lists them all"
        )
    return cache


@contextlib.contextmanager
def filling(root: Path | str, split: str, *, key: str, n_new: int) -> Iterator[CacheWriter]:
    """Fill a split straight into its cache: `with filling(root, split, key="seed 7", n_new=9) as writer: …`.

    Inside, call writer.append(number, frames, masks) in number order; frames are (22 or 11, 3, 160, 240) uint8.
    `writer.numbers` holds the videos that an earlier call with the same `key` wrote, even if it was interrupted:
    continue after them. Readers see the earlier videos until the block ends. Another key deletes what was there.

    n_new: the most videos that will be appended; their disk space is allocated first. Raises OSError if there is too
        little.
    """
    root = Path(root)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose from {list(SPLITS)}")
    if (root / split).is_dir() and scan_split(root, split)[0]:
        raise ValueError(f"{root / split} holds image folders, which would be used instead; choose another root")
    folder = _direct_folder(root, split)
    with lock_folder(folder):
        writer = CacheWriter(folder, split=split, height=HEIGHT, width=WIDTH, source=DIRECT + key, n_new=n_new)
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
    folder = _direct_folder(Path(root), split)
    return written_numbers(folder, split=split, height=HEIGHT, width=WIDTH, source=DIRECT + key)


def find_source(root: Path, split: str) -> tuple[list[Video], list[Fault | Note], SplitCache | None]:
    """Image folders where there are any, else the cache that was filled directly."""
    try:
        videos, found = scan_split(root, split)
    except FileNotFoundError:
        if direct := _load(root, split, _direct_folder(root, split), DIRECT):
            return [], [], direct
        raise
    if not videos:
        if direct := _load(root, split, _direct_folder(root, split), DIRECT):
            return [], [], direct
        reason = next((str(f) for f in found if isinstance(f, Fault)), "it needs folders named video_0, video_1, …")
        raise ValueError(f"{root / split} is empty; {reason}")
    return videos, found, None


def _scaled(direct: SplitCache, height: int, width: int) -> Iterator[Loaded]:
    for index, (number, name) in enumerate(zip(direct.meta["numbers"], direct.meta["names"], strict=True)):
        frames = area_scale(np.array(direct.frames[index]), height=height, width=width)
        masks = None if direct.masks is None else nearest_scale(direct.masks[index], height=height, width=width)
        yield number, name, (frames, masks)


def _direct_folder(root: Path, split: str) -> Path:
    return root / CACHES / f"{split}_{HEIGHT}x{WIDTH}"


def writable_folder(root: Path) -> Path:
    """For what we add to a data set: inside it or, if it is read-only, in our data folder, named after its place."""
    if os.access(root, os.W_OK) and root.stat().st_mode & 0o222:  # root may write anywhere; then the mode decides
        return root / CACHES
    place = root.resolve()
    return data_dir() / CACHES / f"{place.name}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"


def _load(root: Path, split: str, folder: Path, source: str = "", id_: str | None = None) -> SplitCache | None:
    """The cache in `folder` if it is published, undamaged and made from a source that begins with `source`, else None.

    The files may hold more videos than were published: a writer may be adding some.
    id_: that version of the cache, which may have been extended since then
    """
    try:
        meta = read_json(folder / META_FILE)
        if meta["version"] != VERSION or not meta["source"].startswith(source):
            return None
        if id_ not in (None, meta["id"]):
            n_videos = meta["extends"][id_]
            meta |= {"id": id_, "numbers": meta["numbers"][:n_videos], "names": meta["names"][:n_videos]}
        n_videos, (height, width) = len(meta["numbers"]), meta["frame_shape"][2:]
        arrays = {}
        for name, shape in video_shapes(split, height=height, width=width).items():
            array = np.load(folder / name, mmap_mode="r", allow_pickle=False)
            if len(array) < n_videos or array.shape[1:] != shape or array.dtype != np.uint8:
                return None
            arrays[name] = array[:n_videos]
        latest = read_json(folder / META_FILE)
        if meta["id"] not in (latest["id"], *latest.get("extends", {})):  # replaced in the meantime
            return None
        return SplitCache(root, split, folder, meta, arrays[FRAMES_FILE], arrays.get(MASKS_FILE))
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
