"""Whether the image folders of a split are those that its cache was made from.

`content_digest` reads every file, so equal sizes and times cannot hide a change, and a copy of a data set keeps its
cache. `state_digest` only looks at sizes and times. While it stays the same, the content is not read again: the system
changes a file's ctime with its content, whatever time a user or an archive gives it.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import attrgetter
from pathlib import Path

from vidseg_utils.data.faults import MAX_BYTES, Fault, Note
from vidseg_utils.data.layout import MASK_FILE, Video
from vidseg_utils.data.parallel import map_in_order, n_cores
from vidseg_utils.progress import ProgressBar

Finding = Fault | Note
READ_BYTES = 1 << 20  # at a time


def state_digest(videos: list[Video], findings: list[Finding]) -> str:
    """A digest of name, size, times, mode and inode of every file that a cache is made from."""
    return _digest(findings, (_folder_lines(video, _file_state) for video in videos))


def content_digest(videos: list[Video], findings: list[Finding], *, split: str, progress: bool) -> str:
    """A digest of the name and content of every file that a cache is made from, read on all cores."""
    with ThreadPoolExecutor(n_cores()) as executor:
        read = partial(_folder_lines, describe=_file_content)
        folders = map_in_order(read, videos, executor=executor, max_waiting=4 * n_cores())
        bar = ProgressBar(
            folders, desc=f"reading {split}", total=len(videos), unit="video", delay=2, disable=not progress
        )
        return _digest(findings, bar)


def _digest(findings: list[Finding], folders: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for fault in findings:
        if isinstance(fault, Fault):
            digest.update(f"{fault.kind}/{fault.path.name}\n".encode(errors="surrogateescape"))
    for lines in folders:
        digest.update(lines.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _folder_lines(video: Video, describe: Callable[[os.DirEntry], str]) -> str:
    """The video's name, then a line for each of its files."""
    lines = [video.name]
    try:
        with os.scandir(video.folder) as entries:  # faster than pathlib: the full set has 0.3 million files
            used = [e for e in entries if e.name.startswith("image_") or e.name == MASK_FILE]
        lines += [f"{entry.name} {describe(entry)}" for entry in sorted(used, key=attrgetter("name"))]
    except OSError as error:  # no permission, or a broken link: the cache is out of date when this changes
        lines.append(type(error).__name__)
    return "\n".join([*lines, ""])


def _file_state(entry: os.DirEntry) -> str:
    status = entry.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_mode} {status.st_ino}"


def _file_content(entry: os.DirEntry) -> str:
    status = entry.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:  # no reader of this package opens such a file
        return f"{stat.S_IFMT(status.st_mode)} {status.st_size}"
    digest = hashlib.sha256()
    with Path(entry.path).open("rb", buffering=0) as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
