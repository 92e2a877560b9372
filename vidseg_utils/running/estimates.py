"""What long work will need: about how long, from the records of earlier runs, and how much disk."""

import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from vidseg_utils.paths import describe_disk, read_json, runs_dir
from vidseg_utils.profiles import Profile
from vidseg_utils.running.notebook_file import identity
from vidseg_utils.running.run_record import NotebookRun, read_record

SECONDS_PER_VIDEO = 0.1  # to generate one, of a core; measured with benchmarks/generate_speed.py


def describe_needs(time: str, profile: Profile, root: Path) -> str:
    """Time and disk of work at a profile, in a line for before it begins.

    time: from one of the functions below; root: the data set, which is generated if it is missing
    """
    return f"{time}; {describe_disk(profile.disk_bytes, root)}"


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


def describe_trainings(folders: Sequence[Path]) -> str:
    """How long trainings into these run folders will take, as a phrase: "about 12 min by earlier trainings"."""
    seconds = {folder: estimate_training(folder) for folder in folders}
    known = [each for each in seconds.values() if each is not None]
    unknown = ", ".join(folder.name for folder, each in seconds.items() if each is None)
    if not known:
        return f"no earlier training says how long {unknown} will take" if unknown else "nothing to do"
    return f"about {describe_seconds(sum(known))} by earlier trainings" + (f", without {unknown}" if unknown else "")


def describe_generation(n_videos: int, n_processes: int) -> str:
    """How long generating that many videos takes, as a phrase."""
    return f"about {describe_seconds(n_videos * SECONDS_PER_VIDEO / n_processes)} for {n_videos:,} videos"


def describe_seconds(seconds: float) -> str:
    """Such as "12 s", "3 min" or "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


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


def estimate_training(folder: Path) -> float | None:
    """Seconds that the training of a run folder has left, by its own epochs, else by those of another seed, or by
    shipped ones; None without any. Constants of a formula have no epochs.
    """
    from vidseg_utils.training import read_history, shipped_run

    name, _, profile = folder.name.rpartition("-")
    name = re.sub(r"_seed\d+$", "", name)
    same = re.compile(rf"{re.escape(name)}(_seed\d+)?-{re.escape(profile)}")
    others = [run for run in sorted(folder.parent.glob("*")) if same.fullmatch(run.name)]
    shipped = [run for run in [shipped_run(name)] if run.name == f"{name}-{profile}"]
    for run in (folder, *others, *shipped):
        try:
            n_epochs, history = read_json(run / "config.json")["fit"]["epochs"], read_history(run)
            n_left = n_epochs - (len(history) if run == folder else 0)
            return n_left * statistics.fmean(epoch["seconds"] for epoch in history)
        except (OSError, ValueError, KeyError, TypeError):  # not begun, or damaged
            continue
    return None
