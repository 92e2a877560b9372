"""Read every file of a data set once and say what is wrong with it: a table by kind of fault, and the same as JSON.

The same readers serve the loaders, so what is reported here is exactly what they leave out.
"""

import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data.cache import open_split, writable_folder
from vidseg_utils.data.faults import KINDS, NOTES, SKIPPED, Fault, Note, read_bytes
from vidseg_utils.data.layout import ANNOTATION, LABELLED, MASKS, SPLITS, Video, find_frames, scan_split
from vidseg_utils.data.mask_file import read_raw_mask_file
from vidseg_utils.data.parallel import in_order, n_cores
from vidseg_utils.data.png import read_png
from vidseg_utils.paths import write_json
from vidseg_utils.task import CLIP_FRAMES, HEIGHT, WIDTH
from vidseg_utils.world.trajectory import read_annotation

logger = logging.getLogger(__name__)
REPORT = "check_report.json"
FLICKER_AREA_PX = 50  # an object this large that is gone, or there, for one frame only


@dataclass
class Report:
    """What `check_root` found."""

    root: Path
    videos: dict[str, int] = field(default_factory=dict)  # split -> folders
    skipped: dict[str, int] = field(default_factory=dict)  # split -> folders that the loaders leave out
    faults: list[Fault] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    path: Path | None = None  # where the JSON report was written

    @property
    def sound(self) -> bool:
        """True when there is no fault; notes do not count."""
        return not self.faults

    def to_json(self) -> dict:
        """The whole report; file names are relative to the root."""

        def by_kind(found: Iterable[Fault | Note]) -> dict[str, list[dict[str, str]]]:
            result: dict[str, list[dict[str, str]]] = {}
            for one in found:
                result.setdefault(one.kind, []).append({"file": self._name(one.path), "detail": one.detail})
            return result

        splits = {split: {"videos": n, "skipped": self.skipped[split]} for split, n in self.videos.items()}
        return {
            "root": str(self.root),
            "sound": self.sound,
            "splits": splits,
            "faults": by_kind(self.faults),
            "notes": by_kind(self.notes),
        }

    def table(self, *, files_per_kind: int = 8) -> str:
        """Lines for people: a row a split, then a row a kind with its first files."""
        report = self.to_json()
        lines = [f"{'split':12}{'videos':>8}{'usable':>8}"]
        lines += [f"{s:12}{v['videos']:8}{v['videos'] - v['skipped']:8}" for s, v in report["splits"].items()]
        for title, effects in (("faults", KINDS), ("notes", NOTES)):
            if report[title]:
                lines += ["", f"{title[:-1]:24}{'files':>6}  {'effect':14}"]
            for kind, found in sorted(report[title].items(), key=lambda item: -len(item[1])):
                lines.append(f"{kind:24}{len(found):6}  {effects[kind]}")
                lines += [f"    {one['file']}: {one['detail']}" for one in found[:files_per_kind]]
                if len(found) > files_per_kind:
                    lines.append(f"    … and {len(found) - files_per_kind} more, all in {self.path or REPORT}")
        skipped = sum(self.skipped.values())
        faults = f"{len(self.faults)} fault{'s' if len(self.faults) > 1 else ''}"
        verdict = "sound" if self.sound else f"{faults}; {skipped} videos will be skipped"
        return "\n".join([*lines, "", f"{self.root}: {verdict}" + (f" ({self.path})" if self.path else "")])

    def _name(self, path: Path) -> str:
        name = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        return name if name.isprintable() else ascii(name)


def check_root(root: Path | str, *, progress: bool = True) -> Report:
    """Read everything under `root` once, on all cores, and write the report to ROOT/check_report.json.

    For a read-only root the report goes to where its caches go. Raises FileNotFoundError for a missing root, ValueError
    for one that holds no split.
    """
    report = Report(root=Path(root))
    videos = _list_all(report)
    bar = tqdm(total=len(videos), desc="checking", unit="video", disable=not progress)
    unusable = set()
    with bar, ThreadPoolExecutor(n_cores()) as executor:
        for video, found in zip(
            videos, in_order(check_video, videos, executor=executor, ahead=4 * n_cores()), strict=True
        ):
            report.faults += [f for f in found if isinstance(f, Fault)]
            report.notes += [n for n in found if isinstance(n, Note)]
            if any(isinstance(f, Fault) and KINDS[f.kind] == SKIPPED for f in found):
                unusable.add(video)
            bar.update()
    for video in unusable:
        report.skipped[video.split] += 1
    place = writable_folder(report.root)
    path = (report.root if place.parent == report.root else place) / REPORT
    try:
        write_json(path, report.to_json())
        report.path = path
    except OSError as error:
        logger.warning("the report could not be written: %s", error)
    return report


def _list_all(report: Report) -> list[Video]:
    """Every video folder of every split that is there; what is wrong with the folders goes into the report."""
    videos: list[Video] = []
    number_seen: dict[int, Video] = {}
    for split in SPLITS:
        try:
            listed, found = scan_split(report.root, split)
        except FileNotFoundError:
            if not report.root.is_dir():
                raise
            listed, found = [], []
        except PermissionError:
            report.faults.append(Fault("no read permission", report.root / split, "the whole split"))
            report.videos[split] = report.skipped[split] = 0
            continue
        if not listed and not found:
            try:  # filled directly, with no image folders
                report.videos[split], report.skipped[split] = len(open_split(report.root, split, progress=False)), 0
            except ValueError:
                report.faults.append(Fault("empty split", report.root / split, "no folder named video_N"))
                report.videos[split] = report.skipped[split] = 0
            except FileNotFoundError:
                pass
            continue
        faults = [f for f in found if isinstance(f, Fault)]
        report.faults += faults
        report.notes += [n for n in found if isinstance(n, Note)]
        report.videos[split], report.skipped[split] = len(listed) + len(faults), len(faults)
        for video in listed:
            other = number_seen.setdefault(video.number, video)
            if other.split != split:
                report.notes.append(Note("number in two splits", video.folder, f"also {other.split}/{other.name}"))
        videos += listed
    if not report.videos:
        raise ValueError(f"{report.root} holds none of the folders {', '.join(SPLITS)}; give the folder above them")
    return videos


def check_video(video: Video) -> list[Fault | Note]:
    """Everything that is wrong with, or worth knowing about, one video."""
    paths, found = find_frames(video)
    for path in paths:
        try:
            read_png(path, height=HEIGHT, width=WIDTH)
        except Fault as fault:
            found.append(fault)
    if video.split in LABELLED:
        try:
            found += _look_at_masks(video.folder / MASKS)
        except Fault as fault:
            found.append(fault)
    annotation = video.folder / ANNOTATION
    if os.path.lexists(annotation):  # False also where the folder may not be looked into, which was found above
        kind = "unreadable annotation"
        try:
            read_bytes(annotation, missing=kind, unreadable=kind)
            read_annotation(annotation)
        except (ValueError, OSError) as error:
            detail = getattr(error, "detail", None) or str(error).removeprefix(f"{annotation} ")
            found.append(Fault(kind, annotation, detail))
    return found


def _look_at_masks(path: Path) -> list[Note]:
    """Notes on a mask file that can be used; raises Fault for one that cannot."""
    masks = read_raw_mask_file(path, shape=(CLIP_FRAMES, HEIGHT, WIDTH))
    areas_px = np.stack([np.bincount(mask.ravel(), minlength=256) for mask in masks])  # (22, 256)
    notes = []
    if (outside := areas_px[:, N_CLASSES:]).any():
        values = ", ".join(str(v + N_CLASSES) for v in np.flatnonzero(outside.any(axis=0))[:5])
        notes.append(Note("mask values above 48", path, f"{outside.sum()} pixels, such as {values}"))
    before, now, after = (areas_px[t : CLIP_FRAMES - 2 + t, 1:N_CLASSES] for t in range(3))
    gone = (now == 0) & (before >= FLICKER_AREA_PX) & (after >= FLICKER_AREA_PX)
    flash = (now >= FLICKER_AREA_PX) & (before == 0) & (after == 0)
    if (flickers := np.argwhere(gone | flash)).size:
        places = ", ".join(f"class {c + 1} in frame {t + 1}" for t, c in flickers[:3])
        notes.append(Note("flickering mask", path, places + (" …" if len(flickers) > 3 else "")))
    return notes
