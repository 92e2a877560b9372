"""Open a split at a working size, and cache it first if there is no cache that fits its files."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from functools import cache as cache_result
from pathlib import Path

import numpy as np

from vidseg_utils.data.cache.build import LoadedVideo, build_cache, load_videos
from vidseg_utils.data.cache.source_files import content_digest, state_digest
from vidseg_utils.data.cache.split_cache import (
    CACHES,
    CHECKED_FILE,
    FILLED_DIRECTLY,
    SplitCache,
    direct_folder,
    load_cache,
    writable_folder,
)
from vidseg_utils.data.faults import Fault, Note
from vidseg_utils.data.layout import SPLITS, Video, scan_split
from vidseg_utils.data.locks import lock_folder
from vidseg_utils.data.resize import area_scale, nearest_scale
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.usage import note_data

logger = logging.getLogger(__name__)


def open_split(
    root: Path | str, split: str, *, height: int = HEIGHT, width: int = WIDTH, progress: bool = True
) -> SplitCache:
    """Open a split at a working size (at most 160x240). Caches it first if its cache is missing or out of date.

    Unusable videos are left out and counted in one logged line. Raises FileNotFoundError for a missing root or
    split, ValueError for an unknown split, one without a usable video, or an impossible size, OSError for a full disk.
    """
    root = Path(root)
    if not (1 <= height <= HEIGHT and 1 <= width <= WIDTH):
        raise ValueError(f"working size {height}x{width} is impossible; choose at most {HEIGHT}x{WIDTH}")
    videos, findings, direct = find_source(root, split)
    if direct and (height, width) == (HEIGHT, WIDTH):
        return direct
    name = f"{split}_{height}x{width}"
    folder = writable_folder(root) / name
    state = "" if direct else state_digest(videos, findings)

    @cache_result
    def source() -> str:
        if direct:
            return f"scaled from {direct.meta['id']}"
        return content_digest(videos, findings, split=split, progress=progress)

    cache = _current_cache(root, split, root / CACHES / name, state, source)
    cache = cache or _current_cache(root, split, folder, state, source)
    if cache is None:
        with lock_folder(folder):
            cache = _current_cache(root, split, folder, state, source)  # another process may have built it meanwhile
            if cache is None:
                build_cache(
                    folder,
                    _scale_videos(direct, height, width) if direct else load_videos(videos, height=height, width=width),
                    n_videos=len(direct or videos),
                    split=split,
                    height=height,
                    width=width,
                    source=source(),
                    skipped={f.path.name: f"{f.kind} ({f.detail})" for f in findings if isinstance(f, Fault)},
                    progress=progress,
                )
                cache = _current_cache(root, split, folder, state, source)
    if cache is None:
        raise RuntimeError(f"the cache {folder} was changed by another process; open the split again")
    if cache.skipped:
        video, reason = next(iter(cache.skipped.items()))
        n_videos = len(cache.skipped) + len(cache)
        logger.warning(
            f"{root / split}: skipped {len(cache.skipped)} of {n_videos} videos ({video}: {reason}); "
            f"`vidseg data check {root}` lists them all"
        )
    return cache


def _current_cache(root: Path, split: str, folder: Path, state: str, source: Callable[[], str]) -> SplitCache | None:
    """The cache in `folder` if it was made from the files of the split as they are now, else None.

    state: of the files, see `state_digest`. If it is what it was when they were last read, they are not read again.
    """
    cache = load_cache(root, split, folder)
    if cache is None:
        return None
    checked = {"source": cache.meta["source"], "files": state}
    with contextlib.suppress(OSError, ValueError):
        if state and read_json(folder / CHECKED_FILE) == checked:
            return cache
    if cache.meta["source"] != source():
        return None
    if state:
        with contextlib.suppress(OSError):  # a cache that may not be written is compared again next time
            write_json(folder / CHECKED_FILE, checked, indent=None)
    return cache


def find_source(root: Path, split: str) -> tuple[list[Video], list[Fault | Note], SplitCache | None]:
    """What a split can be read from: its image folders if it has any, else the cache that was filled directly."""
    note_data(root)
    direct = load_cache(root, split, direct_folder(root, split), source=FILLED_DIRECTLY)
    try:
        videos, findings = scan_split(root, split)
    except FileNotFoundError:
        if direct:
            return [], [], direct
        raise
    if videos:
        return videos, findings, None
    if direct:
        return [], [], direct
    reason = next((str(f) for f in findings if isinstance(f, Fault)), "it needs folders named video_0, video_1, …")
    raise ValueError(f"{root / split} is empty; {reason}")


def has_videos(root: Path | str, split: str) -> bool:
    """Whether the data set holds a video of that split. Raises FileNotFoundError for a missing root."""
    root = Path(root)
    try:
        videos, _, direct = find_source(root, split)
    except FileNotFoundError:
        if not root.is_dir():
            raise
        return False
    except ValueError:
        if split not in SPLITS:
            raise
        return False
    return bool(videos or direct)


def _scale_videos(direct: SplitCache, height: int, width: int) -> Iterator[LoadedVideo]:
    for index, (number, name) in enumerate(zip(direct.meta["numbers"], direct.meta["names"], strict=True)):
        frames = area_scale(np.array(direct.frames[index]), height=height, width=width)
        masks = None if direct.masks is None else nearest_scale(direct.masks[index], height=height, width=width)
        yield number, name, (frames, masks)
