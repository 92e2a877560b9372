"""The course layout on disk: ROOT/SPLIT/video_N/image_T.png and mask.npy, listed, read and written.

Videos and frames are ordered by number, never by name (image_10 comes after image_9). `video_7` may also be called
`video_00007`, as in a later edition of the set.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidseg_utils.data.faults import Fault, Note
from vidseg_utils.data.mask_file import read_mask_file, write_mask_file
from vidseg_utils.data.png import read_png, write_png
from vidseg_utils.paths import atomic_write
from vidseg_utils.task import CLIP_FRAMES, HEIGHT, PAST_FRAMES, WIDTH
from vidseg_utils.world import Trajectory, write_annotation

SPLITS: tuple[str, ...] = ("train", "val", "unlabeled", "hidden")
LABELLED = ("train", "val")  # splits whose videos have masks
STORES = ("png", "cache")  # how generated and imported videos are stored: this layout, or straight into the cache
MASK_FILE = "mask.npy"
ANNOTATION_FILE = "annotation.json"  # beside the images of generated and imported videos
GENERATED_FILE = "generated.json"  # in the root of a generated set: seed, physics, labels, sizes
IMPORTED_FILE = "imported.json"  # in the root of a set imported from CLEVRER's files: scaling, labels
HIDDEN_TRUTH = "hidden_truth"  # ROOT/hidden_truth: masks and annotations of generated hidden videos; no loader reads it

_VIDEO = re.compile(r"video_([0-9]{1,9})")
_IMAGE = re.compile(r"image_([0-9]{1,9})\.png")


def n_frames(split: str) -> int:
    """Frames that each video of a split has."""
    return PAST_FRAMES if split == "hidden" else CLIP_FRAMES


@dataclass(frozen=True)
class Video:
    """One video folder."""

    number: int
    folder: Path
    split: str

    @property
    def name(self) -> str:
        """Such as "video_7"."""
        return self.folder.name


def scan_split(root: Path | str, split: str) -> tuple[list[Video], list[Fault | Note]]:
    """The usable video folders of a split in number order, and the faults and notes about other entries.

    Raises ValueError for an unknown split, FileNotFoundError for a missing root or split, NotADirectoryError for a root
    that is a file. An empty split is no error.
    """
    folder = Path(root) / split
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose from {list(SPLITS)}")
    if Path(root).is_file():
        raise NotADirectoryError(f"{root} is a file; if it is an archive: vidseg data import-archive {root} --out DIR")
    if not Path(root).is_dir():
        raise FileNotFoundError(f"no data at {root}; make some with: vidseg data generate --root {root}")
    if not folder.is_dir():
        raise FileNotFoundError(f"{root} has no split {split!r}; it needs a folder {folder}")
    by_number: dict[int, list[Path]] = {}
    findings: list[Fault | Note] = []
    for path in sorted(folder.iterdir()):
        if match := _VIDEO.fullmatch(path.name):
            if path.is_dir():
                by_number.setdefault(int(match[1]), []).append(path)
            else:
                findings.append(Fault("not a folder", path, "a video is a folder of images"))
        elif not path.name.startswith("."):
            findings.append(Note("unknown name", path, "expected video_N"))
    videos = []
    for number, paths in sorted(by_number.items()):
        if len(paths) == 1:
            videos.append(Video(number, paths[0], split))
        else:
            names = " and ".join(p.name for p in paths)
            findings += [Fault("duplicate video number", p, f"{names}; remove all but one") for p in paths]
    return videos, findings


def list_videos(root: Path | str, split: str) -> list[Video]:
    """The videos of a split in number order.

    Raises what `scan_split` raises, ValueError for an empty split, and Fault (a ValueError) for duplicate numbers.
    """
    videos, findings = scan_split(root, split)
    for fault in findings:
        if isinstance(fault, Fault) and fault.kind == "duplicate video number":
            raise fault
    if not videos:
        raise ValueError(f"{Path(root) / split} is empty; it needs folders named video_0, video_1, …")
    return videos


def find_frames(video: Video) -> tuple[list[Path], list[Fault | Note]]:
    """The image files of frames 0, 1, … in order, and faults and notes about missing, duplicate or unknown files."""
    by_number: dict[int, list[Path]] = {}
    findings: list[Fault | Note] = []
    try:
        paths = sorted(video.folder.iterdir())
    except OSError as error:
        kind = "no read permission" if isinstance(error, PermissionError) else "not a folder"
        return [], [Fault(kind, video.folder, error.strerror or str(error))]
    for path in paths:
        if match := _IMAGE.fullmatch(path.name):
            by_number.setdefault(int(match[1]), []).append(path)
        elif path.name not in (MASK_FILE, ANNOTATION_FILE) and not path.name.startswith("."):
            findings.append(Note("unknown name", path, "not part of a video"))
    frames = []
    n_expected = n_frames(video.split)
    for number in range(n_expected):
        candidates = by_number.pop(number, [])
        if not candidates:
            path = video.folder / f"image_{number}.png"
            findings.append(Fault("missing image", path, f"frame {number} of 0..{n_expected - 1}"))
        elif len(candidates) > 1:
            names = " and ".join(p.name for p in candidates)
            findings.append(Fault("duplicate frame number", candidates[0], f"{names}; remove all but one"))
        else:
            frames.append(candidates[0])
    if video.split != "hidden":  # a hidden video may have images of its future
        extra = [path for candidates in by_number.values() for path in candidates]
        findings += [Note("unknown name", p, f"frames end at {n_expected - 1}") for p in extra]
    return frames, findings


def read_frames(video: Video) -> np.ndarray:
    """(T, 3, 160, 240) uint8 RGB; T is 22, or 11 in the split "hidden". Raises Fault for the first fault findings."""
    paths, findings = find_frames(video)
    for fault in findings:
        if isinstance(fault, Fault):
            raise fault
    frames = np.empty((len(paths), 3, HEIGHT, WIDTH), dtype=np.uint8)
    for t, path in enumerate(paths):
        frames[t] = read_png(path, height=HEIGHT, width=WIDTH).transpose(2, 0, 1)
    return frames


def read_masks(video: Video) -> np.ndarray:
    """(22, 160, 240) uint8 class ids; values above 48, which are no class, become 255 (ignored).

    Raises Fault for a mask.npy that is missing, unreadable, pickled, or of another type or shape.
    """
    return read_mask_file(video.folder / MASK_FILE, shape=(CLIP_FRAMES, HEIGHT, WIDTH))


def write_video(
    folder: Path | str,
    frames: np.ndarray,
    masks: np.ndarray | None = None,
    *,
    annotation: Trajectory | Path | None = None,
) -> None:
    """Write one video folder atomically; an existing folder is replaced.

    folder: ROOT/SPLIT/video_N; frames: (22 or 11, 3, 160, 240) uint8; masks: (22, 160, 240) uint8;
    annotation: a trajectory, or an annotation file to copy unchanged.
    """
    folder = Path(folder)
    number = _VIDEO.fullmatch(folder.name)
    if number is None:
        raise ValueError(f"{folder}: a video folder is called video_N")
    if frames.dtype != np.uint8 or frames.shape not in [(t, 3, HEIGHT, WIDTH) for t in (CLIP_FRAMES, PAST_FRAMES)]:
        raise ValueError(f"frames are {frames.dtype} {frames.shape}; expected uint8 (22 or 11, 3, {HEIGHT}, {WIDTH})")
    if masks is not None and (masks.dtype != np.uint8 or masks.shape != (CLIP_FRAMES, HEIGHT, WIDTH)):
        raise ValueError(f"masks are {masks.dtype} {masks.shape}; expected uint8 {(CLIP_FRAMES, HEIGHT, WIDTH)}")
    with atomic_write(folder) as temporary:
        temporary.mkdir()
        for t, frame in enumerate(frames):
            write_png(temporary / f"image_{t}.png", frame.transpose(1, 2, 0))
        if masks is not None:
            write_mask_file(temporary / MASK_FILE, masks)
        if annotation is not None:
            write_annotation(temporary / ANNOTATION_FILE, annotation, number=int(number[1]))
