"""Notebooks in batches: one into its run folder, or a whole sweep on this machine's cores or on a Slurm cluster."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from vidseg_utils.paths import runs_dir, write_json
from vidseg_utils.profiles import get_profile
from vidseg_utils.running import NotebookFailed
from vidseg_utils.running.execute import execute
from vidseg_utils.running.run_folder import run_folder
from vidseg_utils.running.source import checked_parameters, find_notebooks
from vidseg_utils.running.sweep import SweepRun, plan_sweep, read_sweep_file

__all__ = ["EXECUTORS", "find_notebooks", "run_notebook", "run_sweep"]


def run_notebook(
    path: Path | str,
    *,
    profile: str = "auto",
    parameters: Mapping[str, object] | None = None,
    run: str | None = None,
    progress: bool = True,
) -> Path:
    """Execute a notebook and keep the executed copy, with its parameters, in its run folder; returns that folder.

    profile: given to the notebook as PROFILE; parameters: for its parameters cell, checked by name and type
    run: name of the run folder, given to the notebook as RUN; None for the usual one, such as 02_unet_segmentation-cpu
    progress: a bar over the cells on stderr
    Raises ValueError for parameters that do not fit or a run folder in use, NotebookFailed when a cell fails.
    """
    path, profile = Path(path), get_profile(profile).name
    given = dict(parameters or {})
    if reserved := sorted({"PROFILE", "RUN"} & set(given)):
        cure = {"PROFILE": "say --profile", "RUN": "set it in Jupyter, or write a sweep"}
        raise ValueError(f"{reserved[0]} is no free parameter here; {cure[reserved[0]]}")
    values = checked_parameters(path, given | {"PROFILE": profile} | ({} if run is None else {"RUN": run}))
    # a solution has its lesson's name, but must not take its run folder
    name = f"{path.stem}_solutions" if path.resolve().parent.name == "solutions" else path.stem
    folder = run_folder(name, profile, run or "auto")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".executing.lock", timeout=0):
            marker = folder / "parameters.json"  # written last: where it is, the run is finished
            marker.unlink(missing_ok=True)
            execute(path, folder / "executed.ipynb", parameters=values, progress=progress)
            write_json(marker, {"notebook": path.stem, "profile": profile, "parameters": given})
    except Timeout:
        raise ValueError(f"run folder {folder} is in use by another process; wait for it to end") from None
    return folder


def run_sweep(
    path: Path | str, *, profile: str = "auto", executor: str = "local", jobs: int = 1, progress: bool = True
) -> list[Path]:
    """Run every combination of a sweep file that has not been run; returns the run folders, in the file's order.

    executor: "local" (processes of this machine), "slurm" (an array job through submitit; the file's `slurm:` is handed
        on to it) or "debug" (submitit in this process, to try a file without a cluster)
    jobs: runs at once; progress: a bar over the runs on stderr
    Raises ValueError for a file that does not fit its notebook, NotebookFailed at the end if runs failed.
    """
    if executor not in EXECUTORS:
        raise ValueError(f"unknown executor {executor!r}; choose from {list(EXECUTORS)}")
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; give 1 or more")
    runs = plan_sweep(path, profile=profile)
    todo = [run for run in runs if not run.is_finished()]
    failures = []
    with tqdm(
        total=len(runs), initial=len(runs) - len(todo), desc=Path(path).stem, unit="run", disable=not progress
    ) as bar:
        for failure in EXECUTORS[executor](todo, jobs=jobs, slurm=read_sweep_file(path)["slurm"]):
            failures += [failure] if failure else []
            bar.update()
    if failures:
        rest = f" (and {len(failures) - 1} more runs failed)" if len(failures) > 1 else ""
        raise NotebookFailed(f"{Path(path).name}: {failures[0]}{rest}")
    return [run.folder for run in runs]


def _attempt(run: SweepRun) -> str | None:
    """Run it; returns what went wrong, if anything did, so that the other runs go on."""
    try:
        run_notebook(run.notebook, profile=run.profile, parameters=run.parameters, run=run.run, progress=False)
    except (NotebookFailed, ValueError) as error:
        return f"{run.run}: {error}"
    return None


def _here(todo: Sequence[SweepRun], *, jobs: int, slurm: Mapping) -> Iterator[str | None]:
    """One process a run, `jobs` at once, each with its share of the cores."""
    if jobs == 1 or len(todo) <= 1:
        yield from map(_attempt, todo)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_limit_threads, initargs=(threads,)
    ) as pool:
        for future in as_completed([pool.submit(_attempt, run) for run in todo]):
            yield future.result()


def _limit_threads(threads: int) -> None:
    os.environ["OMP_NUM_THREADS"] = str(threads)  # the kernels inherit it


def _submitted(todo: Sequence[SweepRun], *, jobs: int, slurm: Mapping, cluster: str) -> Iterator[str | None]:
    """An array job; what the jobs print lies in RUNS/.slurm."""
    try:
        import submitit
    except ImportError:
        raise ValueError("executor 'slurm' needs submitit: pip install 'vidseg[slurm]'") from None
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise ValueError("there is no Slurm here (no sbatch command); start the sweep on its login node, or locally")
    executor = submitit.AutoExecutor(folder=runs_dir() / ".slurm", cluster=cluster)
    try:
        executor.update_parameters(slurm_array_parallelism=jobs, **slurm)
    except (NameError, TypeError) as error:
        raise ValueError(f"the sweep's `slurm:` does not fit: {error}") from None
    for job in executor.map_array(_attempt, todo) if todo else ():
        yield job.result()


EXECUTORS = {
    "local": _here,
    "slurm": partial(_submitted, cluster="slurm"),
    "debug": partial(_submitted, cluster="debug"),
}
