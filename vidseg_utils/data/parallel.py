"""Apply a function to many items on all cores; results come in the order of the items and take little memory."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from functools import partial
from multiprocessing.synchronize import Lock
from typing import Protocol, TypeVar

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
Item = TypeVar("Item")
Result = TypeVar("Result")
_turn: Lock | None = None  # of this worker and those beside it


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
def worker_processes(n_processes: int) -> Iterator[MapFunction]:
    """`with worker_processes(4) as parallel_map: for result in parallel_map(function, items): …`.

    One process means this process. When the block ends, also by an error, each worker finishes its current item and
    exits; workers also exit when this process is killed. Raises RuntimeError when a worker dies.
    """
    if n_processes == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process that has used torch may hang
    executor = ProcessPoolExecutor(
        n_processes, mp_context=context, initializer=_start_worker, initargs=(context.Lock(),)
    )
    try:
        yield partial(map_in_order, executor=executor, max_waiting=3 * n_processes)
    except BrokenExecutor:
        raise RuntimeError("a worker process died (out of memory?); run again with fewer processes") from None
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def turn_on(device: str) -> Iterator[None]:
    """Give the block a GPU for itself among the workers of `worker_processes`. On a CPU they do not wait.

    Many processes that start small steps on one GPU make each other slow.
    """
    if _turn is None or device == "cpu":
        yield
        return
    import torch

    with _turn:
        yield
        torch.cuda.empty_cache()  # or each worker would keep what only one needs at a time


def _start_worker(turn: Lock) -> None:
    """Use one thread, leave Ctrl-C to the parent, and exit when the parent does."""
    import torch  # here, because the workers of `vidseg run` do without it

    global _turn
    _turn = turn
    torch.set_num_threads(1)
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
