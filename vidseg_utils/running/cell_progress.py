"""Shows in the terminal what a cell of an executed notebook is doing: the line of its progress bar, see `progress`."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from vidseg_utils.progress import PROGRESS_FILE

SECONDS_PER_UPDATE = 1.0  # in a terminal
SECONDS_PER_LOG_LINE = 60.0  # in a log file, where lines stay


@contextlib.contextmanager
def show_cell_progress(file: Path, notebook: str, *, show: bool) -> Iterator[None]:
    """Notebooks that are executed in the block write their progress to `file`; it is shown on stderr if `show`."""
    before, stop = os.environ.get(PROGRESS_FILE), threading.Event()
    os.environ[PROGRESS_FILE] = str(file)
    watcher = threading.Thread(target=_watch, args=(file, notebook, stop), daemon=True)
    if show:
        watcher.start()
    try:
        yield
    finally:
        os.environ.pop(PROGRESS_FILE) if before is None else os.environ.update({PROGRESS_FILE: before})
        stop.set()
        if show:
            watcher.join()


def _watch(file: Path, notebook: str, stop: threading.Event) -> None:
    """Show the line in `file` until `stop`, below the bar over the cells; in a log file, every minute a new line."""
    is_terminal = sys.stderr.isatty()
    with tqdm(bar_format="{desc}", position=1, leave=False, disable=not is_terminal) as line:
        while not stop.wait(SECONDS_PER_UPDATE if is_terminal else SECONDS_PER_LOG_LINE):
            text = file.read_text(encoding="utf-8") if file.is_file() else ""
            if is_terminal:
                line.set_description_str(text)
            elif text:
                tqdm.write(f"{notebook}: {text}", file=sys.stderr)
