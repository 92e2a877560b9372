"""Read every file of a data set once and report its faults: a table by kind of fault, and the same as JSON.

The loaders use the same readers, so they leave out exactly the videos that are reported here.
"""

import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data.cache import open_split, writable_folder
from vidseg_utils.data.faults import FAULT_EFFECTS, NOTE_EFFECTS, SKIPPED, Fault, Note, read_bytes
from vidseg_utils.data.label_estimate import LabelEstimate, estimate_from_root
from vidseg_utils.data.layout import ANNOTATION_FILE, LABELLED, MASK_FILE, SPLITS, Video, find_frames, scan_split
from vidseg_utils.data.mask_file import read_raw_mask_file
from vidseg_utils.data.parallel import map_in_order, n_cores
from vidseg_utils.data.png import read_png
from vidseg_utils.paths import write_json
from vidseg_utils.progress import ProgressBar
from vidseg_utils.task import CLIP_FRAMES, HEIGHT, WIDTH
from vidseg_utils.world import read_annotation

logger = logging.getLogger(__name__)
CHECK_REPORT_FILE = "check_report.json"
FLICKER_AREA_PX = 50  # a mask flickers where an object of at least this area is absent, or present, in one frame only


@dataclass
class Report:
    """The result of `check_root`."""

    root: Path
    videos: dict[str, int] = field(default_factory=dict)  # split -> folders
    skipped: dict[str, int] = field(default_factory=dict)  # split -> folders that the loaders skip
    faults: list[Fault] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    labels: LabelEstimate | None = None  # where they lie against the objects in the frames, if that can be told
    path: Path | None = None  # of the JSON report

    @property
    def sound(self) -> bool:
        """True when there is no fault; notes do not count."""
        return not self.faults

    def to_json(self) -> dict:
        """The whole report; file names are relative to the root."""

        def by_kind(findings: Iterable[Fault | Note]) -> dict[str, list[dict[str, str]]]:
            result: dict[str, list[dict[str, str]]] = {}
            for finding in findings:
                entry = {"file": self._name(finding.path), "detail": finding.detail}
                result.setdefault(finding.kind, []).append(entry)
            return result

        splits = {split: {"videos": n, "skipped": self.skipped[split]} for split, n in self.videos.items()}
        return {
            "root": str(self.root),
            "sound": self.sound,
            "splits": splits,
            "faults": by_kind(self.faults),
            "notes": by_kind(self.notes),
            "labels": None if self.labels is None else asdict(self.labels),
        }

    def table(self, *, files_per_kind: int = 8) -> str:
        """The report as text: a row for each split, then a row for each kind of fault or note with its first files."""
        report = self.to_json()
        lines = [f"{'split':12}{'videos':>8}{'usable':>8}"]
        lines += [f"{s:12}{v['videos']:8}{v['videos'] - v['skipped']:8}" for s, v in report["splits"].items()]
        for title, effects in (("faults", FAULT_EFFECTS), ("notes", NOTE_EFFECTS)):
            if report[title]:
                lines += ["", f"{title[:-1]:24}{'files':>6}  {'effect':14}"]
            for kind, findings in sorted(report[title].items(), key=lambda item: -len(item[1])):
                lines.append(f"{kind:24}{len(findings):6}  {effects[kind]}")
                lines += [f"    {entry['file']}: {entry['detail']}" for entry in findings[:files_per_kind]]
                if len(findings) > files_per_kind:
                    lines.append(
                        f"    … and {len(findings) - files_per_kind} more, all in {self.path or CHECK_REPORT_FILE}"
                    )
        if self.labels is not None:
            lines += ["", f"labels against the objects in the frames: {self.labels}"]
        skipped = sum(self.skipped.values())
        faults = f"{len(self.faults)} fault{'s' if len(self.faults) > 1 else ''}"
        verdict = "sound" if self.sound else f"{faults}; {skipped} videos will be skipped"
        return "\n".join([*lines, "", f"{self.root}: {verdict}" + (f" ({self.path})" if self.path else "")])

    def _name(self, path: Path) -> str:
        name = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        return name if name.isprintable() else ascii(name)


def check_root(root: Path | str, *, progress: bool = True) -> Report:
    """Read everything under `root` once, on all cores, and write the report to ROOT/check_report.json.

    The report of a read-only root is written beside its caches. Raises FileNotFoundError for a missing root, ValueError
    for one that holds no split.
    """
    report = Report(root=Path(root))
    videos = _list_all(report)
    bar = ProgressBar(total=len(videos), desc="checking", unit="video", disable=not progress)
    unusable = set()
    with bar, ThreadPoolExecutor(n_cores()) as executor:
        for video, findings in zip(
            videos, map_in_order(check_video, videos, executor=executor, max_waiting=4 * n_cores()), strict=True
        ):
            report.faults += [f for f in findings if isinstance(f, Fault)]
            report.notes += [n for n in findings if isinstance(n, Note)]
            if any(isinstance(f, Fault) and FAULT_EFFECTS[f.kind] == SKIPPED for f in findings):
                unusable.add(video)
            bar.update()
    for video in unusable:
        report.skipped[video.split] += 1
    without_objects = {note.path.parent for note in report.notes if note.kind == "mask without objects"}
    report.labels = estimate_from_root(report.root)
    for split in LABELLED:
        usable = [video for video in videos if video.split == split and video not in unusable]
        if usable and all(video.folder in without_objects for video in usable):
            detail = f"no pixel of its {len(usable)} videos has a class id from 1 to 48"
            report.faults.append(Fault("no object in the split", report.root / split, detail))
    folder = writable_folder(report.root)
    path = (report.root if folder.parent == report.root else folder) / CHECK_REPORT_FILE
    try:
        write_json(path, report.to_json())
        report.path = path
    except OSError as error:
        logger.warning("the report could not be written: %s", error)
    return report


def _list_all(report: Report) -> list[Video]:
    """Every video folder of every split; adds the faults and notes of the folders themselves to the report."""
    videos: list[Video] = []
    first_with_number: dict[int, Video] = {}
    for split in SPLITS:
        try:
            listed, findings = scan_split(report.root, split)
        except FileNotFoundError:
            if not report.root.is_dir():
                raise
            listed, findings = [], []
        except PermissionError:
            report.faults.append(Fault("no read permission", report.root / split, "the whole split"))
            report.videos[split] = report.skipped[split] = 0
            continue
        if not listed and not findings:
            try:  # a split without image folders may be filled directly
                report.videos[split], report.skipped[split] = len(open_split(report.root, split, progress=False)), 0
            except ValueError:
                report.faults.append(Fault("empty split", report.root / split, "no folder named video_N"))
                report.videos[split] = report.skipped[split] = 0
            except FileNotFoundError:
                pass
            continue
        faults = [f for f in findings if isinstance(f, Fault)]
        report.faults += faults
        report.notes += [n for n in findings if isinstance(n, Note)]
        report.videos[split], report.skipped[split] = len(listed) + len(faults), len(faults)
        for video in listed:
            first = first_with_number.setdefault(video.number, video)
            if first.split != split:
                report.notes.append(Note("number in two splits", video.folder, f"also {first.split}/{first.name}"))
        videos += listed
    if not report.videos:
        raise ValueError(f"{report.root} holds none of the folders {', '.join(SPLITS)}; give the folder above them")
    return videos


def check_video(video: Video) -> list[Fault | Note]:
    """All faults and notes of one video."""
    paths, findings = find_frames(video)
    for path in paths:
        try:
            read_png(path, height=HEIGHT, width=WIDTH)
        except Fault as fault:
            findings.append(fault)
    if video.split in LABELLED:
        try:
            findings += _check_masks(video.folder / MASK_FILE)
        except Fault as fault:
            findings.append(fault)
    annotation = video.folder / ANNOTATION_FILE
    if os.path.lexists(annotation):  # False also for a folder without read permission, which is a fault already
        kind = "unreadable annotation"
        try:
            read_bytes(annotation, missing=kind, unreadable=kind)
            read_annotation(annotation)
        except (ValueError, OSError) as error:
            detail = getattr(error, "detail", None) or str(error).removeprefix(f"{annotation} ")
            findings.append(Fault(kind, annotation, detail))
    return findings


def _check_masks(path: Path) -> list[Note]:
    """Notes on a usable mask file. Raises Fault for an unusable one."""
    masks = read_raw_mask_file(path, shape=(CLIP_FRAMES, HEIGHT, WIDTH))
    areas_px = np.stack([np.bincount(mask.ravel(), minlength=256) for mask in masks])  # (22, 256)
    notes = []
    if not areas_px[-1, :N_CLASSES].any():
        frames = "frame 21" if areas_px[:, :N_CLASSES].any() else "all frames"
        notes.append(Note("mask without labels", path, f"{frames}: every pixel is 255 or another value above 48"))
    if not areas_px[:, 1:N_CLASSES].any():
        binary = "; 255 is no object: binary masks need class ids 1 to 48" if areas_px[:, 255].any() else ""
        notes.append(Note("mask without objects", path, f"no class id from 1 to 48{binary}"))
    if (outside := areas_px[:, N_CLASSES:]).any():
        values = ", ".join(str(v + N_CLASSES) for v in np.flatnonzero(outside.any(axis=0))[:5])
        notes.append(Note("mask values above 48", path, f"{outside.sum()} pixels, such as {values}"))
    before, current, after = (areas_px[t : CLIP_FRAMES - 2 + t, 1:N_CLASSES] for t in range(3))
    absent_once = (current == 0) & (before >= FLICKER_AREA_PX) & (after >= FLICKER_AREA_PX)
    present_once = (current >= FLICKER_AREA_PX) & (before == 0) & (after == 0)
    if (flickers := np.argwhere(absent_once | present_once)).size:
        examples = ", ".join(f"class {c + 1} in frame {t + 1}" for t, c in flickers[:3])
        notes.append(Note("flickering mask", path, examples + (" …" if len(flickers) > 3 else "")))
    return notes
