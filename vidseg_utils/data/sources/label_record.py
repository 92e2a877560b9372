"""The labels that a set was made with, as its record names them: "course", or "exact" (see `world.label_offset`)."""

from dataclasses import asdict
from pathlib import Path

from vidseg_utils.world import LABELS


def label_record(labels: str) -> dict:
    """The entries of a set's record about labels of that name. Raises ValueError for an unknown name."""
    if labels not in LABELS:
        raise ValueError(f"unknown labels {labels!r}; choose from {list(LABELS)}")
    return {"labels": labels, "label_offset": asdict(LABELS[labels])}


def check_record(root: Path, recorded: dict, identity: dict, *, made: str) -> None:
    """Raise ValueError unless the record of `root` holds every entry of `identity`.

    A record without labels is of an older set, whose labels are exact. made: how the set was made, such as "generated"
    """
    recorded = label_record("exact") | recorded
    for key, value in identity.items():
        if (found := recorded.get(key)) != value:
            cure = f"continue it with --labels {found}, or " if key == "labels" and found in LABELS else ""
            raise ValueError(f"{root} was {made} with {key} {found}, not {value}; {cure}use another folder")
