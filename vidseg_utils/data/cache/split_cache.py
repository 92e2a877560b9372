"""The cache of a split on disk: which files it has, and how they are opened read-only.

CACHE/frames.npy and CACHE/masks.npy hold one row a video. CACHE/meta.json lists the videos and what they were made
from; it is written last, so a folder without it is no cache yet.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np

from vidseg_utils.data.layout import ANNOTATION_FILE, LABELLED, n_frames
from vidseg_utils.paths import data_dir, read_json
from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.world import Trajectory, read_annotation

CACHES = ".cache"  # folder of the caches inside a data set
META_FILE, FRAMES_FILE, MASKS_FILE, ANNOTATIONS = "meta.json", "frames.npy", "masks.npy", "annotations"
CHECKED_FILE = "checked.json"  # the state of the source files when they were last compared with the cache
MAX_NUMBER = 10**9  # a video number has at most nine digits
VERSION = 1  # of the format; caches of another version are rebuilt
FILLED_DIRECTLY = "filled directly: "  # prefix of the source of a cache that was not made from image folders


@dataclass
class SplitCache:
    """A split in number order, read from the disk as it is used. When pickled, only its path travels."""

    root: Path
    split: str
    folder: Path
    meta: dict  # content of META_FILE
    frames: np.memmap  # (N, T, 3, H, W) uint8, read-only; T is 22, or 11 in the split "hidden"
    masks: np.memmap | None  # (N, T, H, W) uint8, 255 = ignore; None in a split without labels

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def numbers(self) -> np.ndarray:
        """(N,) int64 video numbers, ascending."""
        return np.array(self.meta["numbers"], dtype=np.int64)

    @property
    def skipped(self) -> dict[str, str]:
        """Name of each video that could not be used -> reason."""
        return self.meta["skipped"]

    def annotation(self, index: int) -> Trajectory | None:
        """The true poses of the video at `index`, or None if the data set has none."""
        beside_images = self.root / self.split / self.meta["names"][index] / ANNOTATION_FILE
        in_cache = annotation_path(direct_folder(self.root, self.split), self.meta["numbers"][index])
        return next((read_annotation(path) for path in (beside_images, in_cache) if path.is_file()), None)

    def __getstate__(self):
        return self.root, self.split, self.folder, self.meta["id"]

    def __setstate__(self, state):
        root, split, folder, id_ = state
        cache = load_cache(root, split, folder, id_=id_)
        if cache is None:
            raise RuntimeError(f"the cache {folder} was rebuilt by another process; open the split again")
        self.__dict__.update(cache.__dict__)


def load_cache(root: Path, split: str, folder: Path, *, source: str = "", id_: str | None = None) -> SplitCache | None:
    """The cache in `folder` if it is published, undamaged and made from a source that begins with `source`, else None.

    The files may hold more videos than were published, because a writer may be adding some.
    id_: the version of the cache to open; it may have been extended since then
    """
    try:
        meta = read_json(folder / META_FILE)
        if meta["version"] != VERSION or not meta["source"].startswith(source) or not _is_sound(meta):
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
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, SyntaxError, TokenError):
        return None  # the last two come from numpy, which parses the header of an array as Python


def _is_sound(meta: dict) -> bool:
    """Whether numbers, names and reasons have their types, and each name has its number."""
    numbers, names, skipped = meta["numbers"], meta["names"], meta["skipped"]
    return (
        all(type(number) is int and 0 <= number < MAX_NUMBER for number in numbers)
        and [int(name.removeprefix("video_")) for name in names] == numbers
        and numbers == sorted(set(numbers))
        and all(isinstance(reason, str) for reason in skipped.values())
    )


def video_shapes(split: str, *, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """Array file -> shape of one video in it: frames (T, 3, H, W) and, in a labelled split, masks (T, H, W)."""
    shapes = {FRAMES_FILE: (n_frames(split), 3, height, width), MASKS_FILE: (n_frames(split), height, width)}
    return shapes if split in LABELLED else {FRAMES_FILE: shapes[FRAMES_FILE]}


def annotation_path(folder: Path, number: int) -> Path:
    """Where the cache `folder` keeps the annotation of a video that has no image folder."""
    return folder / ANNOTATIONS / f"annotation_{number:05d}.json"


def direct_folder(root: Path, split: str) -> Path:
    """The cache that `filling` writes. It has the full frame size."""
    return root / CACHES / f"{split}_{HEIGHT}x{WIDTH}"


def writable_folder(root: Path) -> Path:
    """Folder for what we derive from a data set: inside it or, if the set is read-only, in our own data folder."""
    # A superuser passes os.access everywhere, so the mode decides too.
    if os.access(root, os.W_OK) and root.stat().st_mode & 0o222:
        return root / CACHES
    path = root.resolve()
    return data_dir() / CACHES / f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
