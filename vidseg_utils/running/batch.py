"""Execute many notebooks: in the order in which they read each other's results, several at once.

A failure stops no other run. A run that reads what a failed one should have left is executed too: it works with what is
there, and counts as out of date as soon as the other one has succeeded.
"""

import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass
from pathlib import Path

from vidseg_utils.running import NotebookFailed
from vidseg_utils.running.cell_progress import BatchDisplay
from vidseg_utils.running.estimates import describe_seconds
from vidseg_utils.running.execute import execute_run
from vidseg_utils.running.executors import EXECUTORS
from vidseg_utils.running.run_record import NotebookRun, why_stale
from vidseg_utils.running.slurm import JobEnded
from vidseg_utils.running.sweep import find_sweep, plan_sweep, read_sweep_file

SECONDS_PER_LOOK = 0.5  # at the progress of the runs


@dataclass(frozen=True)
class Outcome:
    """What became of a run: it was executed in `seconds`, or it failed with `error`, or neither was needed."""

    run: NotebookRun
    seconds: float | None = None
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return f"failed: {self.error}"
        return "up to date" if self.seconds is None else f"finished in {describe_seconds(self.seconds)}"


def execute_batch(
    runs: Sequence[NotebookRun],
    *,
    title: str,
    when: str,
    after: Mapping[Path, Collection[Path]] | None = None,
    executor: str = "local",
    jobs: int = 1,
    settings: Mapping[str, object] | None = None,
    again: bool = False,
    progress: bool = True,
) -> list[Outcome]:
    """Execute runs, each after those that it reads; returns what became of each, in the order given.

    title: for the bar; when, again: see `execute_run`
    after: run folder -> run folders that have to be finished, or failed, first; others than those of `runs` are ignored
    executor: one of EXECUTORS; jobs: how many runs are executed at once; settings: for the executor
    progress: show on stderr what the runs do
    Raises ValueError for an unknown executor or a number of jobs below 1.
    """
    if executor not in EXECUTORS:
        raise ValueError(f"unknown executor {executor!r}; choose from {list(EXECUTORS)}")
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; give 1 or more")
    if not runs:
        return []
    outcomes: dict[Path, Outcome] = {}
    waiting = {run.folder: run for run in runs}
    before = {folder: set((after or {}).get(folder, ())) & set(waiting) - {folder} for folder in waiting}
    running: dict[Future, NotebookRun] = {}
    with (
        EXECUTORS[executor](jobs=min(jobs, len(runs)), settings=settings or {}) as elsewhere,
        BatchDisplay(len(runs), title, show=progress) as display,
        tempfile.TemporaryDirectory(prefix="vidseg-progress-") as statuses,
    ):

        def end(outcome: Outcome) -> None:
            outcomes[outcome.run.folder] = outcome
            display.end(outcome.run.folder.name, str(outcome))

        while waiting or running:
            calls: list[tuple] = []
            for folder, run in list(waiting.items()):
                if before[folder] <= outcomes.keys() and len(running) + len(calls) < elsewhere.slots:
                    del waiting[folder]
                    needed, error = _is_needed(run, when)
                    if needed:
                        status = Path(statuses) / f"{len(outcomes) + len(running) + len(calls)}.txt"
                        display.start(folder.name, status)
                        calls.append((run, when, again, status if executor == "local" else None))
                    else:
                        end(Outcome(run, error=error))
            if calls:  # Slurm warns of an empty array
                running |= dict(zip(elsewhere.submit(_execute, calls), (run for run, *_ in calls), strict=True))
            if running:
                done, _ = wait(running, timeout=SECONDS_PER_LOOK, return_when=FIRST_COMPLETED)
                for future in done:
                    end(_outcome(running.pop(future), future))
            display.update()
    return [outcomes[run.folder] for run in runs]


def _is_needed(run: NotebookRun, when: str) -> tuple[bool, str]:
    """Whether a run is to be executed, and why its folder cannot be used."""
    try:
        needed: Callable[[], bool] = {
            "always": lambda: True,
            "unfinished": lambda: not run.is_finished(),
            "stale": lambda: bool(why_stale(run)),
        }[when]
        return needed(), ""
    except ValueError as error:
        return False, str(error)


def _execute(run: NotebookRun, when: str, again: bool, status: Path | None) -> tuple[float | None, str]:
    """Execute a run in another process: its seconds, None if another process had executed it meanwhile; and its error
    as text, whichever it was, so that the other runs go on.
    """
    started = time.monotonic()
    try:
        executed = execute_run(run, when=when, again=again, progress=False, status=status)
    except Exception as error:
        expected = isinstance(error, NotebookFailed | ValueError | OSError)
        return None, str(error) if expected else f"{type(error).__name__}: {error}"
    return (time.monotonic() - started if executed else None), ""


def _outcome(run: NotebookRun, future: Future) -> Outcome:
    try:
        seconds, error = future.result()
    except BrokenExecutor:
        return Outcome(run, error="the process that executed it died (out of memory?)")
    except CancelledError:  # of dask, when it loses its scheduler
        return Outcome(run, error="the cluster has dropped it; does its scheduler still run?")
    except JobEnded as error:
        return Outcome(run, error=str(error))
    except Exception as error:  # of a cluster: a lost job, a time-out
        return Outcome(run, error=f"{type(error).__name__}: {error}")
    return Outcome(run, seconds, error)


def execute_sweep(
    path: Path | str,
    *,
    profile: str = "auto",
    executor: str = "local",
    jobs: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
) -> list[Outcome]:
    """Execute the unfinished runs of a sweep file; returns what became of each run, in the file's order.

    executor, jobs, progress: see `execute_batch`; "slurm" gets the file's `slurm:` settings
    scheduler: address of the scheduler of "dask"
    Raises ValueError for a file that does not fit its notebook.
    """
    path = find_sweep(path)
    runs = plan_sweep(path, profile=profile)
    settings = {"scheduler": scheduler} if executor == "dask" else read_sweep_file(path)["slurm"]
    where = {"executor": executor, "jobs": jobs, "settings": settings, "progress": progress}
    return execute_batch(runs, title=path.stem, when="unfinished", **where)
