"""Where the notebooks of a batch are executed: processes of this machine, a Slurm cluster through submitit, or dask.

An executor has `slots`, how many runs it takes at once, and `submit`, which gives a future. Leaving its block ends what
it has started.
"""

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, Protocol, Self

from vidseg_utils.data.parallel import exit_with_parent, n_cores
from vidseg_utils.paths import home, runs_dir
from vidseg_utils.running.kernel import environment
from vidseg_utils.running.slurm import MAX_QUEUED, SubmititJobs

SECONDS_TO_CONNECT = 10
ONE_AT_A_TIME = threading.Lock()  # the environment of a process is that of one notebook


class RunExecutor(Protocol):
    """What a batch needs of an executor."""

    slots: int

    def submit(self, function: Callable[..., Any], calls: Sequence[tuple]) -> list[Future]:
        """Call the function elsewhere, once with each tuple of arguments."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class LocalProcesses:
    """`jobs` processes on this machine, which share its cores equally. One that dies takes only its own run along."""

    def __init__(self, *, jobs: int, settings: Mapping[str, object]):
        self.slots, self.threads = jobs, max(1, n_cores() // jobs)
        self.calls: dict[ProcessPoolExecutor, Future] = {}  # each process and its last call

    def submit(self, function: Callable[..., Any], calls: Sequence[tuple]) -> list[Future]:
        """Call the function in processes that are free, or in new ones."""
        futures = []
        for arguments in calls:
            pool = next((pool for pool, call in self.calls.items() if _is_free(call)), None) or self._new_pool()
            self.calls[pool] = pool.submit(function, *arguments)
            futures.append(self.calls[pool])
        return futures

    def _new_pool(self) -> ProcessPoolExecutor:
        arguments = {"mp_context": get_context("spawn"), "initializer": _start_worker, "initargs": (self.threads,)}
        return ProcessPoolExecutor(1, **arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes; those that still execute a notebook at once, and its kernel ends with its process."""
        for pool, call in self.calls.items():
            if not call.done():
                for process in list((pool._processes or {}).values()):
                    process.kill()  # nbclient catches the gentler SIGTERM, and the process would go on
            pool.shutdown(cancel_futures=True)


def _is_free(call: Future) -> bool:
    return call.done() and (call.cancelled() or not isinstance(call.exception(), BrokenExecutor))


def _start_worker(threads: int) -> None:
    exit_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the parent ends its workers
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # the kernels inherit it; what the user has set holds


class DaskTasks:
    """Tasks of a dask cluster, whose workers share the file system and have one thread each.

    settings: {"scheduler": address}, such as tcp://node1:8786
    A task whose worker vanishes is given to another worker.
    """

    slots = MAX_QUEUED

    def __init__(self, *, jobs: int, settings: Mapping[str, object]):
        try:
            from distributed import Client
        except ImportError:
            raise ValueError("executor 'dask' needs distributed: pip install 'vidseg[dask]'") from None
        address = settings.get("scheduler")
        if not address:
            raise ValueError("executor 'dask' needs --scheduler ADDRESS, such as tcp://node1:8786; see docs/cluster.md")
        try:
            self.client = Client(address, timeout=SECONDS_TO_CONNECT)
        except (OSError, TimeoutError, ValueError) as error:
            raise ValueError(f"no dask scheduler at {address} ({error}); start one with `dask scheduler`") from None
        self.executor = self.client.get_executor(pure=False)
        self.futures: list[Future] = []

    def submit(self, function: Callable[..., Any], calls: Sequence[tuple]) -> list[Future]:
        """Submit a task for each call; it has this process's folders, whichever the worker was started with."""
        folders = (str(home()), str(runs_dir()))
        futures = [self.executor.submit(_call_with_folders, folders, function, arguments) for arguments in calls]
        self.futures += futures
        return futures

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel the tasks that no worker has begun; a notebook that runs goes on, and counts as finished later."""
        for future in self.futures:
            future.cancel()
        self.client.close()


def _call_with_folders(folders: tuple[str, str], function: Callable[..., Any], arguments: tuple) -> Any:
    with ONE_AT_A_TIME, environment("VIDSEG_HOME", folders[0]), environment("VIDSEG_RUNS", folders[1]):
        return function(*arguments)


EXECUTORS: dict[str, Callable[..., RunExecutor]] = {
    "local": LocalProcesses,
    "slurm": SubmititJobs,
    "dask": DaskTasks,
    "debug": partial(SubmititJobs, cluster="debug"),
}
