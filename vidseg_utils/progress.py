"""Progress bars: a line in the terminal, and text in a notebook.

A notebook that `vidseg run` executes passes its line to that command through a file, and the terminal shows it.

A saved notebook holds the last state of each bar as text, never as a widget. One that `vidseg run` executed holds none.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

PROGRESS_FILE = "VIDSEG_PROGRESS_FILE"  # environment variable: path of the file for the line
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # MIME type of a widget in the output of a cell
LINE_CHARACTERS = 100  # of a bar in a notebook or in the file, where the width of the window is unknown
SECONDS_PER_UPDATE = 0.5  # at least, in a notebook or in the file


class ProgressBar(tqdm):
    """tqdm's bar. It writes to stderr, or to the output of the notebook cell, or to the file $VIDSEG_PROGRESS_FILE."""

    def __init__(self, *arguments, **settings):
        self.output: Callable[[str], None] | None = None if settings.get("disable") else _find_output()
        if self.output is not None:
            own = {"file": io.StringIO(), "ascii": False, "ncols": LINE_CHARACTERS, "mininterval": SECONDS_PER_UPDATE}
            settings = {**own, **settings}
        super().__init__(*arguments, **settings)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Show the state of the bar, or `msg` in its place; tqdm calls this."""
        if self.output is None:
            return bool(super().display(msg, pos))
        self.output(str(self) if msg is None else msg)
        return True

    def close(self) -> None:
        """Show the last state. In the file it is cleared, because the cell goes on to other work."""
        super().close()
        if isinstance(self.output, ProgressFile):
            self.output("")


class NotebookOutput:
    """An output of the running cell that is replaced by each update."""

    def __init__(self):
        self.handle: Any = None

    def __call__(self, text: str) -> None:
        """Show a line of text."""
        self.show({"text/plain": text})

    def show(self, bundle: dict[str, str]) -> None:
        """Show a bundle of MIME type -> content in place of the one before."""
        from IPython.display import display

        if self.handle is None:
            self.handle = display(bundle, raw=True, display_id=True)
        else:
            self.handle.update(bundle, raw=True)


class ProgressFile:
    """A file that holds only the last line."""

    def __init__(self, path: Path):
        self.path = path

    def __call__(self, text: str) -> None:
        """Write the line."""
        with contextlib.suppress(OSError):  # the folder goes when the command that reads it ends; or the disk is full
            self.path.write_text(text, encoding="utf-8")


def _find_output() -> Callable[[str], None] | None:
    """None: stderr."""
    if path := os.environ.get(PROGRESS_FILE):
        return ProgressFile(Path(path))
    ipython = sys.modules.get("IPython")
    return NotebookOutput() if ipython and hasattr(ipython.get_ipython(), "kernel") else None
