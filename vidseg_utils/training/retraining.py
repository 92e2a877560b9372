"""The door of a training to its run folder: whether it may use the folder as it is, or replaces what is in it.

A finished run is only read, so it needs no lock and may be on a read-only disk. A run that was made with other settings
is refused, unless the user asked to train anew (`--again`): then its files are deleted, and the folder is named.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vidseg_utils.run_folders import LAST
from vidseg_utils.training.run_folder import OWN_FILES, claim, is_finished, locked, read_config

AGAIN = "VIDSEG_AGAIN"  # environment variable, so that it reaches the kernel of a notebook
CURE = (
    "to train anew, add --again or delete the folder; to keep it, choose another one (`vidseg run … --run NAME`, "
    "RUN in a notebook) or another folder of runs (`vidseg train … --runs FOLDER`, $VIDSEG_RUNS for notebooks)"
)


def is_asked_to_train_anew() -> bool:
    """Whether runs with other settings are to be replaced."""
    return os.environ.get(AGAIN) == "1"


@contextlib.contextmanager
def training_anew(asked: bool) -> Iterator[None]:
    """Trainings in the block, and in the notebooks that it executes, replace runs with other settings, if `asked`."""
    before = os.environ.get(AGAIN)
    os.environ[AGAIN] = "1" if asked else ""
    try:
        yield
    finally:
        os.environ.pop(AGAIN) if before is None else os.environ.update({AGAIN: before})


def locked_unless_finished(run: Path) -> contextlib.AbstractContextManager[None]:
    """The lock of a run folder; none for a finished run, which is only read."""
    return contextlib.nullcontext() if is_finished(run) and not is_asked_to_train_anew() else locked(run)


def claim_or_replace(run: Path, settings: dict[str, Any], *, defaults: dict[str, Any]) -> None:
    """As `claim`; a training with other settings is deleted first if the user asked to train anew."""
    try:
        claim(run, settings, defaults=defaults)
    except ValueError as error:
        if not {"fit", "task"} & read_config(run).keys():  # not the run folder of a training
            raise
        if not is_asked_to_train_anew():
            raise ValueError(f"{error}; {CURE}") from None
        print(f"run folder {run} is trained anew, because {error}", file=sys.stderr)
        shutil.rmtree(run / LAST, ignore_errors=True)
        for name in OWN_FILES:
            (run / name).unlink(missing_ok=True)
        claim(run, settings, defaults=defaults)
