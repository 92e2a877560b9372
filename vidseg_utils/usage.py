"""Notes which trained parts and data sets a notebook uses, so that its run can tell later whether they have changed.

The runner names a file in the environment of the notebook's kernel; elsewhere, nothing is noted.
"""

import os
from pathlib import Path

USAGE_FILE = "VIDSEG_USAGE_FILE"  # environment variable: path of the file


def note_part(run: Path | str) -> None:
    """Note the run folder of a training whose result is loaded; a training that has just ended loads it too."""
    _note("part", run)


def note_data(root: Path | str) -> None:
    """Note a data set that was opened."""
    _note("data", root)


def _note(kind: str, path: Path | str) -> None:
    file = os.environ.get(USAGE_FILE)
    if file and Path(file).parent.is_dir():  # the folder goes when the command that reads it ends
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(f"{kind}\t{Path(path).resolve()}\n")


def read_usage(file: Path) -> tuple[list[Path], list[Path]]:
    """Run folders of the parts, and roots of the data sets, that were noted in the file, each once."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    lines = sorted({tuple(line.split("\t", 1)) for line in text.splitlines() if "\t" in line})
    parts, data = ([Path(path) for kind, path in lines if kind == wanted] for wanted in ("part", "data"))
    return parts, data
