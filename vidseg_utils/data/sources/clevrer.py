"""Import CLEVRER's public videos and annotations into the course layout, with masks ray cast from the annotated poses.

This rebuilds the full set from public files, without the rare wrong classes of the course's masks.
Yi et al., CLEVRER (ICLR 2020), CC0.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from vidseg_utils.data.cache import filled_numbers, filling
from vidseg_utils.data.layout import GENERATED_FILE, IMPORTED_FILE, LABELLED, STORES, scan_split, write_video
from vidseg_utils.data.locks import lock_dataset
from vidseg_utils.data.parallel import MapFunction, map_in_order, n_cores
from vidseg_utils.data.sources.clevrer_video import SCALING, ClevrerVideo, load_clevrer_video
from vidseg_utils.data.sources.label_record import check_record, label_record
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.progress import ProgressBar
from vidseg_utils.world import DEFAULT_LABELS, LABELS, LabelOffset

IMPORTED_SPLITS = ("train", "val", "unlabeled")
CLEVRER_SOURCE = "CLEVRER"  # in IMPORTED_FILE, and in caches filled directly
_VIDEO = re.compile(r"video_([0-9]{1,9})\.mp4", re.IGNORECASE)
_ANNOTATION = re.compile(r"annotation_([0-9]{1,9})\.json", re.IGNORECASE)


@dataclass
class ImportReport:
    """The result of `import_clevrer`."""

    out: Path
    imported: dict[str, int] = field(default_factory=lambda: dict.fromkeys(IMPORTED_SPLITS, 0))
    already_present: int = 0
    beyond_sizes: int = 0  # more videos than the split sizes allow
    failed: dict[str, str] = field(default_factory=dict)  # file name -> why it could not be imported

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {split}" for split, n in self.imported.items())
        lines = [
            f"{self.out}: imported {counts}; {self.already_present} were already there, {self.beyond_sizes} beyond the "
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
    labels: str = DEFAULT_LABELS,
    progress: bool = True,
) -> ImportReport:
    """Import video_*.mp4 with annotation_*.json of the same number, found in the folders at any depth.

    Videos keep their numbers. In number order, the first `split_sizes[0]` videos with an annotation become "train" and
    the next `split_sizes[1]` "val". Of all other videos, the first `split_sizes[2]` become "unlabeled". Videos of
    earlier imports stay in their split and count, so an import can be interrupted, resumed and extended.

    processes: videos at a time, all cores when None. They are threads, because decoding and ray casting release the
        interpreter's lock.
    store: "png" writes the course layout; "cache" fills the splits' caches directly (2.5 MB a video, few files)
    labels: "course" for masks that are shifted and fattened as the course's are, or "exact" (`world.LABELS`). They are
        recorded in IMPORTED_FILE with the way in which frames are scaled, and a set grows with the same ones only.
    A video that cannot be read is reported and left out. Raises FileNotFoundError for a missing folder, ValueError for
    one without videos, for two files with one number, for a split size below 0, for other labels or another scaling
    than the set has and for a folder of generated videos; OSError for a full disk and where another process writes.
    """
    if store not in STORES:
        raise ValueError(f"unknown store {store!r}; choose from {list(STORES)}")
    if len(split_sizes) != 3 or min(split_sizes) < 0:
        raise ValueError(f"split sizes {tuple(split_sizes)}; give one for each of {IMPORTED_SPLITS}, 0 or more")
    report = ImportReport(Path(out))
    record = {"source": CLEVRER_SOURCE, "scaling": SCALING, **label_record(labels)}
    clevrer_videos = list_clevrer_videos(Path(videos), Path(annotations))
    if (report.out / GENERATED_FILE).exists():
        raise ValueError(f"{report.out} holds generated videos; choose another folder")
    n_threads = processes or n_cores()
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several videos at a time use the cores better than several threads for one video
    try:
        with lock_dataset(report.out), ThreadPoolExecutor(n_threads) as executor:
            _check_and_record(report.out, record)
            jobs = _plan(clevrer_videos, dict(zip(IMPORTED_SPLITS, split_sizes, strict=True)), report)
            parallel_map = partial(map_in_order, executor=executor, max_waiting=2 * n_threads)
            with ProgressBar(total=len(jobs), desc="importing", unit="video", disable=not progress) as bar:
                import_videos = _import_to_folders if store == "png" else _import_to_caches
                import_videos(jobs, LABELS[labels], report, parallel_map, bar)
    finally:
        torch.set_num_threads(torch_threads)
    return report


def list_clevrer_videos(videos: Path, annotations: Path) -> list[ClevrerVideo]:
    """CLEVRER's videos in number order, each with the annotation of the same number if there is one."""
    video_paths, annotation_paths = _files_by_number(videos, _VIDEO), _files_by_number(annotations, _ANNOTATION)
    if not video_paths:
        raise ValueError(f"{videos} holds no video_*.mp4")
    return [ClevrerVideo(number, path, annotation_paths.get(number)) for number, path in sorted(video_paths.items())]


def _files_by_number(folder: Path, pattern: re.Pattern) -> dict[int, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    files: dict[int, Path] = {}
    for path in sorted(folder.rglob("*")):
        if match := pattern.fullmatch(path.name):
            other = files.setdefault(int(match[1]), path)
            if other != path:
                raise ValueError(f"{other} and {path} have the same number; remove one")
    return files


def _check_and_record(out: Path, record: dict) -> None:
    """Check that the videos of earlier imports into `out` have the same labels and scaling; write IMPORTED_FILE."""
    before = {"source": CLEVRER_SOURCE, "scaling": "area"}  # of the first releases, which recorded less or nothing
    if (out / IMPORTED_FILE).exists():
        check_record(out, before | read_json(out / IMPORTED_FILE), record, made="imported")
    elif any(_imported_numbers(out, split) for split in IMPORTED_SPLITS):
        check_record(out, before, record, made="imported")
    write_json(out / IMPORTED_FILE, record)


def _plan(
    clevrer_videos: list[ClevrerVideo], sizes: dict[str, int], report: ImportReport
) -> list[tuple[ClevrerVideo, str]]:
    """The videos that are not imported yet, each with its split."""
    imported = {number: split for split in IMPORTED_SPLITS for number in _imported_numbers(report.out, split)}
    room = {split: size - sum(s == split for s in imported.values()) for split, size in sizes.items()}
    jobs = []
    for video in clevrer_videos:
        if video.number in imported:
            report.already_present += 1
            continue
        choices = IMPORTED_SPLITS if video.annotation_path else ("unlabeled",)
        split = next((s for s in choices if room[s] > 0), None)
        if split is None:
            report.beyond_sizes += 1
            continue
        room[split] -= 1
        jobs.append((video, split))
    return jobs


def _imported_numbers(out: Path, split: str) -> list[int]:
    folders = scan_split(out, split)[0] if (out / split).is_dir() else []
    return [video.number for video in folders] or filled_numbers(out, split, key=CLEVRER_SOURCE)


def _import_to_folders(
    jobs: list[tuple[ClevrerVideo, str]],
    offset: LabelOffset,
    report: ImportReport,
    parallel_map: MapFunction,
    bar: ProgressBar,
) -> None:
    def import_video(job: tuple[ClevrerVideo, str]) -> str | None:
        video, split = job
        loaded = load_clevrer_video(video, labelled=split in LABELLED, offset=offset)
        if isinstance(loaded, str):
            return loaded
        annotation = video.annotation_path if split in LABELLED else None
        write_video(report.out / split / f"video_{video.number}", *loaded, annotation=annotation)
        return None

    for (video, split), failure in zip(jobs, parallel_map(import_video, jobs), strict=True):
        _count(report, video, split, failure, bar)


def _import_to_caches(
    jobs: list[tuple[ClevrerVideo, str]],
    offset: LabelOffset,
    report: ImportReport,
    parallel_map: MapFunction,
    bar: ProgressBar,
) -> None:
    for split in IMPORTED_SPLITS:
        videos = [video for video, video_split in jobs if video_split == split]
        if not videos:
            continue
        labelled = split in LABELLED
        with filling(report.out, split, key=CLEVRER_SOURCE, n_new=len(videos)) as writer:
            results = parallel_map(partial(load_clevrer_video, labelled=labelled, offset=offset), videos)
            for video, loaded in zip(videos, results, strict=True):
                if isinstance(loaded, str):
                    _count(report, video, split, loaded, bar)
                else:
                    writer.append(video.number, *loaded, annotation=video.annotation_path if labelled else None)
                    _count(report, video, split, None, bar)


def _count(report: ImportReport, video: ClevrerVideo, split: str, failure: str | None, bar: ProgressBar) -> None:
    if failure is None:
        report.imported[split] += 1
    else:
        report.failed[video.video_path.name] = failure
    bar.update()
