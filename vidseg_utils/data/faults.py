"""Faults of a data set: what can be wrong with a file, each kind with a name, and how bytes are read safely.

The checker reports faults; the cache skips videos that have one. Both use the same readers, so they agree.
"""

import stat
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 1 << 24  # our largest file is a mask of 0.8 MB; an image of a street scene takes 3 MB

SKIPPED, KEPT = "video skipped", "video kept"
FAULT_EFFECTS = {  # every kind of fault -> what happens to the video
    "missing image": SKIPPED,
    "unreadable image": SKIPPED,
    "wrong image size": SKIPPED,
    "image not RGB": SKIPPED,
    "image not greyscale": SKIPPED,
    "duplicate frame number": SKIPPED,
    "missing mask": SKIPPED,
    "unreadable mask": SKIPPED,
    "pickled mask": SKIPPED,
    "wrong mask dtype": SKIPPED,
    "wrong mask shape": SKIPPED,
    "too few mask frames": SKIPPED,
    "empty file": SKIPPED,
    "not a regular file": SKIPPED,
    "no read permission": SKIPPED,
    "not a folder": SKIPPED,
    "duplicate video number": SKIPPED,
    "unreadable annotation": KEPT,
    "empty split": "nothing to read",
    "no object in the split": "cannot be trained",
}
NOTE_EFFECTS = {  # every kind of note -> what happens; a data set with notes only is sound
    "mask values above 48": "pixels ignored",
    "flickering mask": "used as it is",
    "mask without labels": "pixels ignored",
    "mask without objects": "used as it is",
    "unknown name": "not read",
    "number in two splits": "used as it is",
}


class Fault(ValueError):
    """One thing wrong with one file or folder: `kind` (a key of FAULT_EFFECTS), `path`, and a `detail`.

    message: what torch gives instead for a fault in a loader process: a traceback that ends with the fault's text
    """

    message = "of a worker process"  # torch builds exceptions with this attribute from `message` alone

    def __init__(self, kind: str = "unreadable image", path: Path | str = "", detail: str = "", *, message: str = ""):
        assert kind in FAULT_EFFECTS, kind
        text = message.strip().rpartition("\n")[2].partition(f"{Fault.__name__}: ")[2]
        super().__init__(text or f"{path}: {kind} ({detail})")
        self.kind, self.path, self.detail = kind, Path(path), detail

    def __reduce__(self):
        return Fault, (self.kind, self.path, self.detail)


@dataclass(frozen=True)
class Note:
    """Something worth knowing about one file that is no fault: `kind` is a key of NOTE_EFFECTS."""

    kind: str
    path: Path
    detail: str


def read_bytes(path: Path, *, missing: str, unreadable: str) -> bytes:
    """The content of a regular file of 1 to MAX_BYTES bytes.

    Raises Fault of the kind `missing` for a file that does not exist, `unreadable` for one that is too large and for a
    disk error, else "empty file", "no read permission" or "not a regular file" (a folder, or a pipe, which would hang).
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Fault("not a regular file", path, "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device")
        if status.st_size == 0:
            raise Fault("empty file", path, "0 bytes")
        if status.st_size > MAX_BYTES:
            raise Fault(unreadable, path, f"{status.st_size} bytes; expected at most {MAX_BYTES}")
        return path.read_bytes()
    except FileNotFoundError:
        raise Fault(missing, path, "no such file") from None
    except PermissionError:
        raise Fault("no read permission", path, "make it readable, such as with chmod u+r") from None
    except OSError as error:
        raise Fault(unreadable, path, error.strerror or str(error)) from None
