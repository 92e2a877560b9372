"""About how long notebooks will take, from the records of earlier runs."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from vidseg_utils.paths import runs_dir
from vidseg_utils.running.notebook_file import identity
from vidseg_utils.running.run_record import NotebookRun, read_record


def estimate_seconds(run: NotebookRun, earlier: dict[Path, dict]) -> float | None:
    """Seconds of the run when it was executed last, else the median over runs of its notebook at its profile.

    earlier: from `read_records`; None without any such run
    """
    if "seconds" in (record := earlier.get(run.folder, {})):
        return record["seconds"]
    path = identity(run.notebook)["path"]
    similar = [
        record["seconds"]
        for record in earlier.values()
        if (record["path"], record.get("profile")) == (path, run.profile) and "seconds" in record
    ]
    return statistics.median(similar) if similar else None


def read_records() -> dict[Path, dict]:
    """The record of each finished run of a notebook, by run folder; damaged ones are left out."""
    records = {}
    for folder in runs_dir().glob("*"):
        try:
            record = read_record(folder)
        except (ValueError, OSError):
            continue
        if record:
            records[folder] = record
    return records


def describe_estimate(runs: Sequence[NotebookRun], *, jobs: int) -> str:
    """How long the runs will take, as a phrase: "about 12 min by earlier runs"."""
    earlier = read_records()
    seconds = [estimate_seconds(run, earlier) for run in runs]
    known = [each for each in seconds if each is not None]
    if not known:
        return "no earlier run says how long they take" if runs else "nothing to do"
    # those that were never executed are taken to last as long as the others
    total = statistics.fmean(known) * len(seconds)
    return f"about {describe_seconds(max(total / min(jobs, len(runs)), max(known)))} by earlier runs"


def describe_seconds(seconds: float) -> str:
    """Such as "12 s", "3 min" or "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
