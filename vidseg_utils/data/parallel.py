"""Run a function over many items on all cores, with results in the order of the items and little memory."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

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
