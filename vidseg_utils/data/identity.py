"""The identity of a data set: the same for a copy under another name, another one for other videos.

A generated set is known by its seed, physics, look, labels and video numbers: the same set made on another machine may
differ in a rounding. Any other set is known by its video numbers and the decoded pixels of a few videos, so it
does not matter how they are encoded or stored. 15,000 videos take less than a second.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from vidseg_utils.data.cache import SplitCache, find_source
from vidseg_utils.data.faults import Fault
from vidseg_utils.data.layout import GENERATED_FILE, LABELLED, SPLITS, Video, find_frames, read_masks
from vidseg_utils.data.png import png_size, read_png
from vidseg_utils.data.sources.label_record import label_record
from vidseg_utils.paths import read_json
from vidseg_utils.simulator import WORLDS, world_name
from vidseg_utils.task import HEIGHT, WIDTH

CITYSCAPES_LABELS = "gtFine"  # folder of a Cityscapes tree


def dataset_identity(root: Path | str) -> dict[str, str]:
    """{"id": 12 hexadecimal digits, "text": such as "generated with seed 0 in the world clevrer: 300 train, 100 val"}.

    root: of a set in the course layout, or of a Cityscapes tree
    Raises FileNotFoundError for a missing root, ValueError for one without a video or with a damaged generated.json.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"no data at {root}; make some with: vidseg data generate --root {root}")
    sources = {split: source for split in SPLITS if (source := _split_source(root, split)) is not None}
    if not sources and (root / CITYSCAPES_LABELS).is_dir():
        return _cityscapes_identity(root / CITYSCAPES_LABELS)
    if not sources:
        raise ValueError(f"{root} has no videos in any of the splits {list(SPLITS)}")
    numbers = {split: _video_numbers(source) for split, source in sources.items()}
    counts = ", ".join(f"{len(some)} {split}" for split, some in numbers.items())
    if (root / GENERATED_FILE).is_file():
        made = read_json(root / GENERATED_FILE)
        seed, physics = made.get("seed"), made.get("physics")
        world = world_name(physics)
        others = f" in the world {world}" if world in WORLDS else f" and physics {json.dumps(physics, sort_keys=True)}"
        others = "" if world == "first" else others  # as when it was the only world, so that its runs fit
        content = ["generated", seed, physics, numbers]
        if (look := made.get("look", 1)) != 1:  # as the first releases drew
            content.append({"look": look})
        exact = label_record("exact")  # also in older sets, which do not name their labels
        if (labels := {key: made.get(key, value) for key, value in exact.items()}) != exact:
            others += f" and {labels['labels']} labels"
            content.append(labels)
        return _identity(f"generated with seed {seed}{others}: {counts}", content)
    samples = {split: _sample_digest(source, split) for split, source in sources.items()}
    return _identity(f"not generated: {counts}", [numbers, samples])


def has_grown(old: dict[str, str], new: dict[str, str]) -> bool:
    """Whether both identities are of one generated set, with other numbers of videos."""
    made = [_how_made(identity) for identity in (old, new)]
    return old["id"] != new["id"] and made[0] == made[1] and made[0].startswith("generated")


def has_exact_labels(identity: dict[str, str]) -> bool:
    """Whether the identity is of a set that was generated with exact labels; it does not tell for other sets."""
    made = _how_made(identity)
    return made.startswith("generated") and not made.endswith(" labels")


def _how_made(identity: dict[str, str]) -> str:
    """The text of an identity without the numbers of videos."""
    return identity["text"].rpartition(":")[0]


def _identity(text: str, content: object) -> dict[str, str]:
    return {"id": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12], "text": text}


def _split_source(root: Path, split: str) -> list[Video] | SplitCache | None:
    """The split's image folders or the cache that was filled directly; None if it has neither."""
    try:
        videos, _, direct = find_source(root, split)
    except (FileNotFoundError, ValueError):
        return None
    return direct or videos or None


def _video_numbers(source: list[Video] | SplitCache) -> list[int]:
    return source.numbers.tolist() if isinstance(source, SplitCache) else [video.number for video in source]


def _sample_digest(source: list[Video] | SplitCache, split: str) -> str:
    """Digest of frame 0 and of the masks of the first, the middle and the last video, decoded."""
    digest = hashlib.sha256()
    for index in sorted({0, len(source) // 2, len(source) - 1}):
        try:
            if isinstance(source, SplitCache):
                frame, masks = source.frames[index, 0], None if source.masks is None else source.masks[index]
            else:
                frame = _first_frame(source[index])
                masks = read_masks(source[index]) if split in LABELLED else None
        except Fault as fault:  # such a video is left out of training; `vidseg data check` lists it
            digest.update(fault.kind.encode())
            continue
        digest.update(np.ascontiguousarray(frame).tobytes())
        if masks is not None:
            digest.update(np.ascontiguousarray(masks).tobytes())
    return digest.hexdigest()


def _first_frame(video: Video) -> np.ndarray:
    """(3, 160, 240) uint8. Raises Fault."""
    paths, findings = find_frames(video)
    for finding in findings:
        if isinstance(finding, Fault):
            raise finding
    return read_png(paths[0], height=HEIGHT, width=WIDTH).transpose(2, 0, 1)


def _cityscapes_identity(folder: Path) -> dict[str, str]:
    """From the names of the label files, and the pixels of the first, the middle and the last one."""
    paths = sorted(folder.glob("*/*/*_labelIds.png"))
    if not paths:
        raise ValueError(f"{folder} has no label files SPLIT/CITY/*_gtFine_labelIds.png")
    digest = hashlib.sha256()
    for index in sorted({0, len(paths) // 2, len(paths) - 1}):
        height, width = png_size(paths[index])
        digest.update(read_png(paths[index], height=height, width=width, greyscale=True).tobytes())
    names = [path.relative_to(folder).as_posix() for path in paths]
    return _identity(f"Cityscapes: {len(names)} labelled frames", [names, digest.hexdigest()])
