"""Run a function over many items on all cores, with results in the order of the items and little memory."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from functools import partial
from typing import TypeVar

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
Run = Callable[[Callable, Iterable], Iterator]  # like map: function, items -> results in the items' order
Item, Result = TypeVar("Item"), TypeVar("Result")


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, executor: Executor, ahead: int
) -> Iterator[Result]:
    """Yield function(item) for each item, in order, while at most `ahead` results wait.

    `executor.map` would start all at once and hold every result that is not yet taken: 40 GB for the full set.
    """
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


@contextlib.contextmanager
def worker_processes(n_processes: int) -> Iterator[Run]:
    """`with worker_processes(4) as run: for result in run(function, items): …`; one process is this one.

    However the block ends, the workers finish the item at hand and go; they also go when this process is killed.
    Raises RuntimeError when a worker dies.
    """
    if n_processes == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process that has used torch may hang
    executor = ProcessPoolExecutor(n_processes, mp_context=context, initializer=_start_worker)
    try:
        yield partial(in_order, executor=executor, ahead=3 * n_processes)
    except BrokenExecutor:
        raise RuntimeError("a worker process died (out of memory?); run again with fewer processes") from None
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """One thread; Ctrl-C is the parent's to handle; gone when the parent is."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _keep_memory()

    def leave_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def _keep_memory() -> None:
    """Let glibc keep what is freed: else it hands every large array back, and a twentieth of the time goes into
    clearing new ones. Other systems are left as they are.
    """
    with contextlib.suppress(OSError, TypeError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, 1 << 30)
        mallopt(M_MMAP_THRESHOLD, 1 << 28)
