"""What can be wrong with a file of a data set, each kind with a name, and the one door through which files are read.

The checker reports faults, the cache skips the videos that have one, and both see them the same way: here.
"""

import stat
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 1 << 24  # our largest file is a mask of 0.8 MB; pictures of street scenes take 3

# Kind of fault -> what becomes of the video. A kind that is not listed here is a bug.
SKIPPED, KEPT = "video skipped", "video kept"
KINDS = {
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
}
# Worth knowing, and not in the way: the data set is sound with them.
NOTES = {
    "mask values above 48": "pixels ignored",
    "flickering mask": "used as it is",
    "unknown name": "not read",
    "number in two splits": "used as it is",
}


class Fault(ValueError):
    """One thing wrong with one file or folder: `kind` (a key of KINDS), `path`, and what was found there."""

    def __init__(self, kind: str, path: Path, detail: str):
        assert kind in KINDS, kind
        super().__init__(f"{path}: {kind} ({detail})")
        self.kind, self.path, self.detail = kind, Path(path), detail

    def __reduce__(self):
        return Fault, (self.kind, self.path, self.detail)


@dataclass(frozen=True)
class Note:
    """Something worth knowing about one file that takes nothing away: `kind` is a key of NOTES."""

    kind: str
    path: Path
    detail: str


def read_bytes(path: Path, *, missing: str, unreadable: str) -> bytes:
    """The content of a regular file of 1 to MAX_BYTES bytes.

    Raises Fault: of kind `missing` where there is none, `unreadable` where it is too large or the disk fails, else
    "empty file", "no read permission" or "not a regular file" (a folder; a pipe, which would hang).
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
