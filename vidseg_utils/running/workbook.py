"""The workbook as a graph: which notebooks read what others leave in the run folders.

A notebook that trains a part comes before those that only load it, so that none of them waits for another's training.
`tests/long/test_workbook.py` compares the table with what the notebooks do.
"""

from collections.abc import Sequence
from pathlib import Path

from vidseg_utils.running.notebook_file import notebooks_dir

READS_FROM: dict[str, tuple[str, ...]] = {  # number of a notebook -> notebooks by number, and sweeps by name
    "01": (),
    "02": (),
    "03": ("02",),
    "04": ("02", "03", "11", "12", "13", "15", "17"),
    "05": ("03", "04", "sweeps"),
    "11": ("02", "mask_configurations"),
    "12": ("02",),
    "13": ("02", "03"),
    "14": ("02", "15"),
    "15": ("02",),
    "16": ("02", "15", "unet_real_videos"),
    "17": ("13",),
}


def workbook() -> list[Path]:
    """The lessons, in the order of their numbers."""
    return sorted(notebooks_dir().glob("[0-9][0-9]_*.ipynb"))


def notebooks_before(notebook: Path) -> list[Path]:
    """The lessons whose results a lesson reads; none for any other notebook, such as a solution."""
    return [path for path in workbook() if number_of(path) in _entries(notebook)]


def sweeps_before(notebook: Path) -> list[str]:
    """Names of the sweeps whose results a lesson reads."""
    names = sorted(path.stem for path in (notebooks_dir() / "sweeps").glob("*.yaml"))
    entries = _entries(notebook)
    return [name for name in names if name in entries or "sweeps" in entries]


def number_of(notebook: Path) -> str:
    """The two digits that a lesson's file name starts with."""
    return notebook.name[:2]


def _entries(notebook: Path) -> Sequence[str]:
    is_lesson = notebook.resolve().parent == notebooks_dir().resolve()
    return READS_FROM.get(number_of(notebook), ()) if is_lesson else ()
