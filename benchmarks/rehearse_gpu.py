"""Execute every lesson at profile gpu: networks and frames at full size, few videos and epochs. Five minutes on a GPU.

    python benchmarks/rehearse_gpu.py
    python benchmarks/rehearse_gpu.py --only 02 13 --minutes 3 --work rehearsal      # keep the run folders
    python benchmarks/rehearse_gpu.py --profile smoke                                # on any machine

A lesson waits for those that it reads; the others run at once. Prints a line for each, and writes rehearsal.json. The
internet is not used; `bare_machine.sh` helps where packages are missing.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package, also if it is not installed
import vidseg_utils.systems  # noqa: F401 - the recipes register their sizes
from vidseg_utils.profiles import Sizes
from vidseg_utils.running import NotebookRun, Outcome, execute_batch
from vidseg_utils.running.notebook_file import known_parameters
from vidseg_utils.running.run_record import METRICS, read_record
from vidseg_utils.running.workbook import notebooks_before, number_of, workbook
from vidseg_utils.training.machine import describe_machine

ROOT = Path(__file__).resolve().parents[1]
FEW_VIDEOS = {"train": 64, "val": 24, "unlabeled": 24, "hidden": 6}
FEW_EPOCHS = {"unet.epochs": 3}  # others take one; a U-Net that sees no object teaches the later lessons nothing
FEW_MORE = {"image.more_videos": 24}


def few_sizes(profile: str) -> dict[str, int]:
    """Sizes for the parameter SIZES: few videos, and few epochs of every recipe. Profile smoke is small as it is."""
    if profile == "smoke":
        return {}
    names = [f"{group}.{size.name}" for group, sizes in Sizes.groups.items() for size in fields(sizes)]  # pyright: ignore[reportArgumentType]
    return {**FEW_VIDEOS, **FEW_MORE, **{name: 1 for name in names if name.endswith("epochs")}, **FEW_EPOCHS}


def rehearse(numbers: Sequence[str], *, profile: str, jobs: int, seconds: float) -> list[dict[str, Any]]:
    """Execute the lessons of those numbers, all if there are none; returns what became of each.

    seconds: when they are over, the lessons that still run are ended
    """
    paths, sizes = [path for path in workbook() if not numbers or number_of(path) in numbers], few_sizes(profile)
    runs = {
        path: NotebookRun(path, profile, {"SIZES": sizes} if sizes and "SIZES" in known_parameters(path) else {})
        for path in paths
    }
    after = {run.folder: [runs[p].folder for p in notebooks_before(path) if p in runs] for path, run in runs.items()}
    outcomes: dict[Path, Outcome] = {}
    try:
        with interrupted_after(seconds):
            done = execute_batch(list(runs.values()), title="rehearsal", when="always", after=after, jobs=jobs)
        outcomes = {outcome.run.folder: outcome for outcome in done}
    except KeyboardInterrupt:
        print(f"ended after {seconds:.0f} s", flush=True)
    return [describe(run, outcomes.get(run.folder)) for run in runs.values()]


def describe(run: NotebookRun, outcome: Outcome | None) -> dict[str, Any]:
    """What became of a lesson. outcome: None if the rehearsal was ended before all lessons were"""
    seconds, error = read_record(run.folder).get("seconds"), outcome.error if outcome else ""
    if seconds is None and not error:
        error = "failed: see failed.ipynb" if (run.folder / "failed.ipynb").is_file() else "not done in time"
    metrics = json.loads((run.folder / METRICS).read_text()) if (run.folder / METRICS).is_file() else {}
    return {"lesson": run.notebook.stem, "seconds": seconds, "error": error, "metrics": metrics}


@contextlib.contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Raise KeyboardInterrupt in the block when the time is over, as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NUMBER", help="only these lessons, such as 02 13")
    parser.add_argument("--profile", default="gpu", help="default gpu; smoke keeps its own sizes")
    parser.add_argument("--jobs", type=int, default=6, help="lessons at once; default 6")
    parser.add_argument("--minutes", type=float, default=5.0, help="default 5; what still runs then is ended")
    parser.add_argument("--out", type=Path, default=Path("rehearsal.json"), help="default rehearsal.json")
    parser.add_argument("--work", type=Path, help="folder for data and runs, which is kept; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vidseg-rehearsal-") as temporary:
        os.environ["VIDSEG_HOME"] = str((options.work or Path(temporary)).resolve())
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        lessons = rehearse(options.only, profile=options.profile, jobs=options.jobs, seconds=60 * options.minutes)
        for lesson in lessons:
            print(f"{lesson['lesson']}: {lesson['error'] or 'finished'}, {lesson['seconds']} s", flush=True)
        report = {"machine": describe_machine(), "profile": options.profile, "lessons": lessons}
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if any(lesson["error"] for lesson in lessons):
        sys.exit(1)


if __name__ == "__main__":
    main()
