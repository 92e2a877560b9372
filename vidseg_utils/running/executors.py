"""Execute a sweep: one notebook with many parameters, on the cores of this machine or on a Slurm cluster."""

import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from vidseg_utils.data.parallel import exit_with_parent
from vidseg_utils.paths import runs_dir
from vidseg_utils.progress import ProgressBar
from vidseg_utils.running import NotebookFailed
from vidseg_utils.running.execute import execute_notebook
from vidseg_utils.running.sweep import SweepRun, plan_sweep, read_sweep_file


def execute_sweep(
    path: Path | str, *, profile: str = "auto", executor: str = "local", jobs: int = 1, progress: bool = True
) -> list[Path]:
    """Execute the unfinished runs of a sweep file; returns all its run folders, in the file's order.

    executor: "local" (processes on this machine), "slurm" (an array job through submitit, which gets the file's
        `slurm:` settings) or "debug" (submitit in this process, to try a file without a cluster)
    jobs: how many notebooks are executed at once; progress: show a progress bar over the runs on stderr
    Raises ValueError for a file that does not fit its notebook. Raises NotebookFailed at the end if notebooks failed.
    """
    if executor not in EXECUTORS:
        raise ValueError(f"unknown executor {executor!r}; choose from {list(EXECUTORS)}")
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; give 1 or more")
    runs = plan_sweep(path, profile=profile)
    unfinished, failures = _unfinished_runs(runs)
    with ProgressBar(
        total=len(runs), initial=len(runs) - len(unfinished), desc=Path(path).stem, unit="run", disable=not progress
    ) as bar:
        for failure in EXECUTORS[executor](unfinished, jobs=jobs, slurm=read_sweep_file(path)["slurm"]):
            failures += [failure] if failure else []
            bar.update()
    if failures:
        more = f" (and {len(failures) - 1} more runs failed)" if len(failures) > 1 else ""
        raise NotebookFailed(f"{Path(path).name}: {failures[0]}{more}")
    return [run.folder for run in runs]


def _unfinished_runs(runs: Sequence[SweepRun]) -> tuple[list[SweepRun], list[str]]:
    """The runs to execute, and an error for each run whose folder cannot be used; these do not stop the others."""
    unfinished, failures = [], []
    for run in runs:
        try:
            unfinished += [] if run.is_finished() else [run]
        except ValueError as error:
            failures.append(f"{run.name}: {error}")
    return unfinished, failures


def _execute(run: SweepRun) -> str | None:
    """Execute the notebook of a run; returns the error as text, whichever it was, so that the other runs go on."""
    try:
        execute_notebook(run.notebook, profile=run.profile, parameters=run.parameters, run=run.name, progress=False)
    except Exception as error:
        expected = isinstance(error, NotebookFailed | ValueError | OSError)
        return f"{run.name}: {error if expected else f'{type(error).__name__}: {error}'}"
    return None


def _execute_locally(runs: Sequence[SweepRun], *, jobs: int, slurm: Mapping) -> Iterator[str | None]:
    """One process a run, `jobs` at once; the processes share the cores equally."""
    if jobs == 1 or len(runs) <= 1:
        yield from map(_execute, runs)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pending = list(runs)
    while pending:
        pool = ProcessPoolExecutor(
            min(jobs, len(pending)), mp_context=get_context("spawn"), initializer=_start_worker, initargs=(threads,)
        )
        futures = {pool.submit(_execute, run): run for run in pending}
        try:
            for future in as_completed(futures):
                failure = future.result()
                pending.remove(futures[future])
                yield failure
        except BrokenExecutor:  # the others are executed by new processes
            yield f"{pending.pop(0).name}: a worker process died (out of memory?)"
        finally:
            _end(pool)


def _start_worker(threads: int) -> None:
    exit_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the parent ends its workers
    os.environ["OMP_NUM_THREADS"] = str(threads)  # the kernels inherit it


def _end(pool: ProcessPoolExecutor) -> None:
    """End the workers of a pool at once, which is harmless if they have finished; each kernel ends with its worker."""
    for process in list((pool._processes or {}).values()):
        process.kill()  # nbclient catches the gentler SIGTERM, and the worker would go on with the next run
    pool.shutdown(cancel_futures=True)


def _execute_with_submitit(
    runs: Sequence[SweepRun], *, jobs: int, slurm: Mapping, cluster: str
) -> Iterator[str | None]:
    """One array job; RUNS/.slurm keeps what its tasks print."""
    try:
        import submitit  # pyright: ignore[reportMissingImports] (the extra `slurm`)
    except ImportError:
        raise ValueError("executor 'slurm' needs submitit: pip install 'vidseg[slurm]'") from None
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise ValueError("this machine has no Slurm (no command sbatch); use a login node, or --executor local")
    executor = submitit.AutoExecutor(folder=runs_dir() / ".slurm", cluster=cluster)
    try:
        executor.update_parameters(slurm_array_parallelism=jobs, **slurm)
    except (NameError, TypeError) as error:
        raise ValueError(f"wrong `slurm:` settings in the sweep file: {error}") from None
    for job in executor.map_array(_execute, runs) if runs else ():
        yield job.result()


EXECUTORS = {
    "local": _execute_locally,
    "slurm": partial(_execute_with_submitit, cluster="slurm"),
    "debug": partial(_execute_with_submitit, cluster="debug"),
}
