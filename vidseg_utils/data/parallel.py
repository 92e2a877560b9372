"""Apply a function to many items on all cores; results come in the order of the items and take little memory."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

# Processes are copies of one that has imported what they need; a fork of this one, once it has used torch, may hang.
# Elsewhere each one imports for itself, which takes seconds.
START_METHOD = "forkserver" if sys.platform == "linux" else "spawn"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
Item = TypeVar("Item")
Result = TypeVar("Result")


class MapFunction(Protocol):
    """Like the built-in map of one iterable."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        """Results in the items' order."""
        ...


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, executor: Executor, max_waiting: int
) -> Iterator[Result]:
    """Yield function(item) for each item, in order, while at most `max_waiting` results wait.

    `executor.map` would submit all items at once and keep all results that wait: 40 GB for the full set.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) >= max_waiting:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


@contextlib.contextmanager
def worker_processes(n_processes: int, *, modules: Sequence[str]) -> Iterator[MapFunction]:
    """`with worker_processes(4, modules=["…"]) as parallel_map: for result in parallel_map(function, items): …`.

    modules: that the function is in and that it needs, so that they are imported once for all (`START_METHOD`)
    One process means this process. Others may have the environment variables of the first call. When the block ends,
    also by an error, each worker finishes its current item and exits; workers also exit when this process is killed.
    Raises RuntimeError when a worker dies.
    """
    if n_processes == 1:
        yield map
        return
    context = multiprocessing.get_context(START_METHOD)
    context.set_forkserver_preload(list(modules))
    executor = ProcessPoolExecutor(n_processes, mp_context=context, initializer=_start_worker)
    try:
        yield partial(map_in_order, executor=executor, max_waiting=3 * n_processes)
    except BrokenExecutor:
        raise RuntimeError("a worker process died (out of memory?); run again with fewer processes") from None
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Use one thread, leave Ctrl-C to the parent, and exit when the parent does."""
    if "torch" in sys.modules:  # some workers do without it, and its import takes two seconds
        sys.modules["torch"].set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # for what is imported later
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _keep_memory()
    exit_with_parent()


def exit_with_parent() -> None:
    """Exit this worker process as soon as its parent has ended, also if the parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _keep_memory() -> None:
    """Tell glibc to keep freed memory. Otherwise it returns every large array to the system, and clearing new memory
    takes a twentieth of the time. Has no effect with other C libraries.
    """
    with contextlib.suppress(OSError, TypeError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, 1 << 30)
        mallopt(M_MMAP_THRESHOLD, 1 << 28)
