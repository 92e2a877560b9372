"""Notebooks of a batch as jobs of a Slurm cluster, through submitit.

submitit asks `sacct` whether a job has ended, which many small clusters do not have; here `squeue` is asked.
"""

import math
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Self

from vidseg_utils.paths import runs_dir

MAX_QUEUED = 10_000
MAX_ARRAY = 1000  # jobs in an array; Slurm's default settings refuse more
MINUTES = 60  # time limit of a job whose sweep file gives none
MAX_REQUEUES = 100  # of a job that reaches its time limit
SECONDS_PER_LOOK = 1.0  # at the results
SECONDS_PER_QUESTION = 10.0  # to Slurm, which jobs have ended
SECONDS_UNTIL_SEEN = 30.0  # after the end of its job, a result on a shared file system is seen by every node
SECONDS_UNTIL_KILLED = 600.0  # after SIGTERM; Slurm kills after 30 s unless it is configured otherwise
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY"}
ENDED |= {"PREEMPTED", "REVOKED", "TIMEOUT"}  # states of jobs; all others lead to one of these


class JobEnded(RuntimeError):
    """A job has ended without a result; the message says in which state, and where its output is."""


class SubmititJobs:
    """Jobs of a Slurm cluster, in arrays; `jobs` of them at once. RUNS/.slurm keeps what they print.

    cluster: "slurm", or "debug": in this process, to try a file without a cluster
    settings: for submitit's `update_parameters`, such as {"timeout_min": 240}
    A job that reaches its time limit, or is preempted, is queued again and goes on: see `_Requeued`.
    """

    slots = MAX_QUEUED

    def __init__(self, *, jobs: int, settings: Mapping[str, Any], cluster: str = "slurm"):
        try:
            import submitit
        except ImportError:
            raise ValueError("executor 'slurm' needs submitit: pip install 'vidseg[slurm]'") from None
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise ValueError("this machine has no Slurm (no command sbatch); use a login node, or --executor local")
        requeues = {"slurm_max_num_timeout": MAX_REQUEUES}
        self.executor = submitit.AutoExecutor(folder=runs_dir() / ".slurm", cluster=cluster, **requeues)
        self.cluster, self.jobs = cluster, jobs
        self.pending: dict[Future, Any] = {}  # each future and its job
        try:
            additional = {"requeue": True, **settings.get("slurm_additional_parameters", {})}  # if the cluster lets us
            given = {"timeout_min": MINUTES, **settings, "slurm_additional_parameters": additional}
            self.executor.update_parameters(**given)
        except (NameError, TypeError, AssertionError) as error:
            raise ValueError(f"wrong `slurm:` or --slurm settings: {error}") from None

    def submit(self, function: Callable[..., Any], calls: Sequence[tuple]) -> list[Future]:
        """Submit array jobs. Raises ValueError with Slurm's words if it refuses them."""
        from submitit.core.utils import FailedJobError

        called = function if self.cluster == "debug" else _Requeued(function)
        arrays = [calls[start : start + MAX_ARRAY] for start in range(0, len(calls), MAX_ARRAY)]
        jobs: list[Any] = []
        for array in arrays:
            self.executor.update_parameters(slurm_array_parallelism=max(1, self.jobs // len(arrays)))
            try:
                jobs += self.executor.map_array(called, *zip(*array, strict=True))
            except FailedJobError as error:
                raise ValueError(f"Slurm refused the jobs: {' '.join(str(error).split())}") from None
        futures = [Future() for _ in jobs]
        self.pending |= dict(zip(futures, jobs, strict=True))
        if self.cluster == "debug":
            self._watch(futures)
        elif futures:
            threading.Thread(target=self._watch, args=(futures,), daemon=True).start()
        return futures

    def _watch(self, futures: list[Future]) -> None:
        """Give each future the result of its job."""
        queue = _Queue()
        while waiting := {self.pending[future].job_id: future for future in futures if not future.done()}:
            ended = queue.ended(waiting) if self.cluster == "slurm" else {}
            for job_id, future in waiting.items():
                job = self.pending[future]
                try:
                    if job.paths.result_pickle.exists() if self.cluster == "slurm" else job.done():
                        error = job.exception()
                        future.set_result(job.result()) if error is None else future.set_exception(error)
                    elif job_id in ended:
                        raise JobEnded(
                            f"Slurm's job {job_id} ended ({ended[job_id]}); it printed to {job.paths.stderr}"
                        )
                except Exception as error:
                    future.set_exception(error)
            time.sleep(SECONDS_PER_LOOK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel the jobs that have not ended."""
        jobs = [job for future, job in self.pending.items() if not future.done()]
        if jobs and self.cluster == "slurm":
            subprocess.run(["scancel", *(job.job_id for job in jobs)], check=False)
        else:
            for job in jobs:
                job.cancel(check=False)


class _Queue:
    """Which jobs have ended, as Slurm says; it is asked now and then, so call `ended` as often as you like."""

    def __init__(self) -> None:
        self.asked = -math.inf
        self.states: dict[str, tuple[str, float]] = {}  # of the jobs that have ended: state, and since when

    def ended(self, job_ids: Collection[str]) -> dict[str, str]:
        """The state of each job that ended so long ago that a result would have been seen.

        A job that is cancelled and soon queued again, by `scontrol requeue`, has not ended.
        """
        now = time.monotonic()
        if now - self.asked >= SECONDS_PER_QUESTION:
            self.asked, states = now, self._ask()
            if states is not None:
                known = {job_id: states.get(job_id, "unknown") for job_id in job_ids}
                self.states = {
                    job_id: (state, self.states.get(job_id, ("", now))[1])
                    for job_id, state in known.items()
                    if state in ENDED or job_id not in states
                }
        return {job_id: state for job_id, (state, since) in self.states.items() if now - since >= SECONDS_UNTIL_SEEN}

    @staticmethod
    def _ask() -> dict[str, str] | None:
        """Job -> state, for all jobs of this user that Slurm knows; None if it does not answer."""
        command = ["squeue", "--me", "--array", "--states=all", "--noheader", "--format=%i %T"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        except (OSError, subprocess.SubprocessError):
            return None
        return dict(line.split(maxsplit=1) for line in answer.splitlines())


class _Requeued:
    """A function that Slurm may interrupt: its job is queued again with the same arguments.

    Nothing has to be saved: trainings write checkpoints, and finished parts are loaded.
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function

    def __call__(self, *arguments: object) -> Any:
        terminated = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: terminated.set())
        result = self.function(*arguments)
        if terminated.is_set():  # of a job that is cancelled or queued again; its kernel dies first, which is no result
            time.sleep(SECONDS_UNTIL_KILLED)
        return result

    def checkpoint(self, *arguments: object) -> Any:
        """What to run instead; submitit calls it before the time is over."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *arguments)
