"""Shows in the terminal what executed notebooks are doing: one at a time, or several at once.

A notebook's kernel writes the line of its progress bar to a file, see `progress`; the command reads the file.
"""

import contextlib
import io
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

from tqdm import tqdm

from vidseg_utils.progress import PROGRESS_FILE
from vidseg_utils.running.kernel import environment

SECONDS_PER_UPDATE = 1.0  # in a terminal
SECONDS_PER_LOG_LINE = 60.0  # in a log file, where lines stay


@contextlib.contextmanager
def show_cell_progress(file: Path, notebook: str, *, show: bool) -> Iterator[None]:
    """Notebooks that are executed in the block write their progress to `file`; it is shown on stderr if `show`."""
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(file, notebook, stop), daemon=True)
    if show:
        watcher.start()
    try:
        with environment(PROGRESS_FILE, str(file)):
            yield
    finally:
        stop.set()
        if show:
            watcher.join()


def _watch(file: Path, notebook: str, stop: threading.Event) -> None:
    """Show the line in `file` until `stop`, below the bar over the cells; in a log file, every minute a new line."""
    is_terminal = sys.stderr.isatty()
    with tqdm(bar_format="{desc}", position=1, leave=False, disable=not is_terminal) as line:
        while not stop.wait(SECONDS_PER_UPDATE if is_terminal else SECONDS_PER_LOG_LINE):
            text = _read(file)
            if is_terminal:
                line.set_description_str(text)
            elif text:
                tqdm.write(f"{notebook}: {text}", file=sys.stderr)


class CellCounter(io.TextIOBase):
    """Takes papermill's bar over the cells and keeps its last state in a file beside the one of the cell's progress."""

    BAR: ClassVar[dict[str, Any]] = {"bar_format": "cell {n_fmt} of {total_fmt}", "ncols": 40}

    def __init__(self, status: Path):
        self.file = cell_file(status)

    def write(self, text: str) -> int:
        """Keep the line if it is one."""
        if text.strip():
            with contextlib.suppress(OSError):  # the folder is gone, or the disk is full
                self.file.write_text(text.strip(), encoding="utf-8")
        return len(text)


def cell_file(status: Path) -> Path:
    """The file with the number of the cell, for the file `status` with the cell's own progress."""
    return status.with_suffix(".cell")


def _read(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text(encoding="utf-8").strip()
    return ""


class BatchDisplay:
    """A bar over many runs and, below it, a line for each run that is being executed.

    In a log file: a line when a run starts or ends, and every minute one for each run that goes on.
    """

    def __init__(self, total: int, title: str, *, show: bool = True):
        self.is_terminal, self.show = sys.stderr.isatty(), show
        self.bar = tqdm(total=total, desc=title, unit="run", position=0, disable=not (show and self.is_terminal))
        self.running: dict[str, Path] = {}  # name of a run -> its file of progress
        self.lines: list[tqdm] = []
        self.updated = time.monotonic()

    def start(self, name: str, status: Path) -> None:
        """A run begins."""
        self.running[name] = status
        if not self.is_terminal:
            self.write(f"{name}: started")

    def end(self, name: str, text: str) -> None:
        """A run has ended, or is not executed; `text` says how."""
        self.running.pop(name, None)
        self.write(f"{name}: {text}")
        self.bar.update()
        self.update(at_once=True)

    def write(self, text: str) -> None:
        """Show a line that stays, above the bar."""
        if self.show:
            tqdm.write(text, file=sys.stderr)

    def update(self, *, at_once: bool = False) -> None:
        """Show what the runs are doing; call it often, it does so now and then."""
        interval = SECONDS_PER_UPDATE if self.is_terminal else SECONDS_PER_LOG_LINE
        if not self.show or (time.monotonic() - self.updated < interval and not (at_once and self.is_terminal)):
            return
        self.updated = time.monotonic()
        texts = [
            f"{name}: {text}"
            for name, status in self.running.items()
            if (text := ", ".join(filter(None, (_read(cell_file(status)), _read(status)))))
        ]
        if not self.is_terminal:
            for text in texts:
                self.write(text)
            return
        while len(self.lines) < len(texts):
            self.lines.append(tqdm(bar_format="{desc}", position=len(self.lines) + 1, leave=False))
        for line, text in zip(self.lines, texts + [""] * (len(self.lines) - len(texts)), strict=True):
            line.set_description_str(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in self.lines:
            line.close()
        self.bar.close()
