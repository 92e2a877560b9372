"""Turn CLEVRER's public videos and annotations into the course layout, with masks cast from the annotated poses.

Anyone can so rebuild the full set, with cleaner masks than the course's. Yi et al., CLEVRER (ICLR 2020), CC0.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import av
import numpy as np
import torch
from einops import rearrange
from tqdm.auto import tqdm

from vidseg_utils.data.cache import filled_numbers, filling
from vidseg_utils.data.layout import LABELLED, RECORD, scan_split, write_video
from vidseg_utils.data.locks import lock_dataset
from vidseg_utils.data.parallel import in_order, n_cores
from vidseg_utils.data.resize import area_scale
from vidseg_utils.renderer.masks import render_masks
from vidseg_utils.task import CLIP_VIDEO_FRAMES, HEIGHT, WIDTH
from vidseg_utils.world.trajectory import read_annotation

IMPORTED_SPLITS = ("train", "val", "unlabeled")
STORES = ("png", "cache")
CACHE_KEY = "CLEVRER"
_VIDEO, _ANNOTATION = re.compile(r"video_([0-9]{1,9})\.mp4"), re.compile(r"annotation_([0-9]{1,9})\.json")


@dataclass(frozen=True)
class Source:
    """One CLEVRER video, by its own number, which it keeps."""

    number: int
    video: Path
    annotation: Path | None


@dataclass
class ImportReport:
    """What became of the videos."""

    out: Path
    imported: dict[str, int] = field(default_factory=lambda: dict.fromkeys(IMPORTED_SPLITS, 0))
    already_there: int = 0
    not_wanted: int = 0  # more than the split sizes ask for
    failed: dict[str, str] = field(default_factory=dict)  # file name -> why it could not be imported

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {split}" for split, n in self.imported.items())
        lines = [
            f"{self.out}: imported {counts}; {self.already_there} were already there, {self.not_wanted} beyond the "
            f"split sizes, {len(self.failed)} failed"
        ]
        return "\n".join(lines + [f"    {name}: {reason}" for name, reason in self.failed.items()])


def import_clevrer(
    videos: Path | str,
    annotations: Path | str,
    out: Path | str,
    *,
    split_sizes: tuple[int, int, int] = (1000, 1000, 13000),
    processes: int | None = None,
    store: str = "png",
    progress: bool = True,
) -> ImportReport:
    """Import video_*.mp4 with annotation_*.json of the same number, found in the folders at any depth.

    Videos keep their numbers. In number order, the first `split_sizes[0]` with an annotation become "train", the next
    `split_sizes[1]` "val"; of all others, with one or without, the first `split_sizes[2]` become "unlabeled". What
    earlier runs put into a split stays there and counts, so an import can be stopped, resumed and extended.

    processes: videos at a time (all cores when None; threads, as decoding and casting run outside the interpreter).
    store: "png" writes the course layout; "cache" fills the splits' caches directly (2.5 MB a video, few files).
    A video that cannot be read is reported and left out. Raises FileNotFoundError for a missing folder, ValueError for
    one without videos, for two files with one number, for a split size below 0 and for a folder of generated videos;
    OSError for a full disk and where another process writes.
    """
    if store not in STORES:
        raise ValueError(f"unknown store {store!r}; choose from {list(STORES)}")
    if len(split_sizes) != 3 or min(split_sizes) < 0:
        raise ValueError(f"split sizes {tuple(split_sizes)}; give one for each of {IMPORTED_SPLITS}, 0 or more")
    report = ImportReport(Path(out))
    sources = find_sources(Path(videos), Path(annotations))
    if (report.out / RECORD).exists():
        raise ValueError(f"{report.out} holds generated videos; choose another folder")
    workers = processes or n_cores()
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several videos at a time use the cores better than several threads a video
    try:
        with lock_dataset(report.out), ThreadPoolExecutor(workers) as executor:
            jobs = _plan(sources, dict(zip(IMPORTED_SPLITS, split_sizes, strict=True)), report)
            run = partial(in_order, executor=executor, ahead=2 * workers)
            with tqdm(total=len(jobs), desc="importing", unit="video", disable=not progress) as bar:
                (_to_folders if store == "png" else _to_caches)(jobs, report, run, bar)
    finally:
        torch.set_num_threads(n_threads)
    return report


def find_sources(videos: Path, annotations: Path) -> list[Source]:
    """CLEVRER's files in number order, each video with the annotation of its number if there is one."""
    by_number = [_by_number(videos, _VIDEO), _by_number(annotations, _ANNOTATION)]
    if not by_number[0]:
        raise ValueError(f"{videos} holds no video_*.mp4")
    return [Source(number, path, by_number[1].get(number)) for number, path in sorted(by_number[0].items())]


def _by_number(folder: Path, pattern: re.Pattern) -> dict[int, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    files: dict[int, Path] = {}
    for path in sorted(folder.rglob("*")):
        if match := pattern.fullmatch(path.name):
            other = files.setdefault(int(match[1]), path)
            if other != path:
                raise ValueError(f"{other} and {path} have the same number; remove one")
    return files


def _plan(sources: list[Source], sizes: dict[str, int], report: ImportReport) -> list[tuple[Source, str]]:
    """Which videos are still to be imported, and into which split."""
    there = {number: split for split in IMPORTED_SPLITS for number in _imported_numbers(report.out, split)}
    room = {split: size - sum(s == split for s in there.values()) for split, size in sizes.items()}
    jobs = []
    for source in sources:
        if source.number in there:
            report.already_there += 1
            continue
        choices = IMPORTED_SPLITS if source.annotation else ("unlabeled",)
        split = next((s for s in choices if room[s] > 0), None)
        if split is None:
            report.not_wanted += 1
            continue
        room[split] -= 1
        jobs.append((source, split))
    return jobs


def _imported_numbers(out: Path, split: str) -> list[int]:
    folders = scan_split(out, split)[0] if (out / split).is_dir() else []
    return [video.number for video in folders] or filled_numbers(out, split, key=CACHE_KEY)


def _to_folders(jobs: list[tuple[Source, str]], report: ImportReport, run: Callable, bar: tqdm) -> None:
    def make(job: tuple[Source, str]) -> str | None:
        source, split = job
        loaded = load(source, labelled=split in LABELLED)
        if isinstance(loaded, str):
            return loaded
        annotation = source.annotation if split in LABELLED else None
        write_video(report.out / split / f"video_{source.number}", *loaded, annotation=annotation)
        return None

    for (source, split), failure in zip(jobs, run(make, jobs), strict=True):
        _count(report, source, split, failure, bar)


def _to_caches(jobs: list[tuple[Source, str]], report: ImportReport, run: Callable, bar: tqdm) -> None:
    for split in IMPORTED_SPLITS:
        sources = [source for source, chosen in jobs if chosen == split]
        if not sources:
            continue
        with filling(report.out, split, key=CACHE_KEY, n_new=len(sources)) as writer:
            for source, loaded in zip(sources, run(partial(load, labelled=split in LABELLED), sources), strict=True):
                failure = loaded if isinstance(loaded, str) else None
                if failure is None:
                    writer.append(source.number, *loaded, annotation=source.annotation if split in LABELLED else None)
                _count(report, source, split, failure, bar)


def _count(report: ImportReport, source: Source, split: str, failure: str | None, bar: tqdm) -> None:
    if failure is None:
        report.imported[split] += 1
    else:
        report.failed[source.video.name] = failure
    bar.update()


def load(source: Source, *, labelled: bool) -> tuple[np.ndarray, np.ndarray | None] | str:
    """Frames (22, 3, 160, 240) uint8 and, if `labelled`, cast masks (22, 160, 240) uint8; or why there are none."""
    try:
        masks = None
        if labelled:
            trajectory = read_annotation(source.annotation)
            if len(trajectory.positions) <= CLIP_VIDEO_FRAMES[-1]:
                needed = CLIP_VIDEO_FRAMES[-1] + 1
                return f"{source.annotation.name} has {len(trajectory.positions)} frames; needs {needed}"
            masks = np.asarray(render_masks(trajectory.select_frames(CLIP_VIDEO_FRAMES), height=HEIGHT, width=WIDTH))
        return decode(source.video), masks
    except (ValueError, OSError, av.FFmpegError) as error:
        return " ".join(str(error).split())


def decode(path: Path) -> np.ndarray:
    """(22, 3, 160, 240) uint8: frames 0, 6, …, 126. Raises ValueError or av.FFmpegError for a damaged video."""
    frames = []
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError(f"{path.name} has no pictures")
        for number, frame in enumerate(container.decode(video=0)):
            if number in CLIP_VIDEO_FRAMES:
                frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == len(CLIP_VIDEO_FRAMES):
                break
        else:
            raise ValueError(f"{path.name} has too few frames: {len(frames)} of {len(CLIP_VIDEO_FRAMES)} are there")
    height, width, _ = frames[0].shape
    if width * HEIGHT != height * WIDTH or width < WIDTH:
        raise ValueError(f"{path.name} is {height}x{width} (height x width); expected 320x480")
    return area_scale(rearrange(frames, "t h w c -> t c h w"), height=HEIGHT, width=WIDTH)
