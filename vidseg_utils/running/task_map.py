"""A map over items that an executor's workers apply: `vidseg data generate`, `predict` and `evaluate` on many machines.

The workers see the same folders. What an item leaves on disk is its result, or its result is small. So a worker that
dies costs only its task, which is repeated, and after an interruption the same command does what is missing.
"""

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import Any

from vidseg_utils.data.parallel import Item, MapFunction, Result
from vidseg_utils.running.executors import EXECUTORS, RunExecutor
from vidseg_utils.running.parameter_values import read_yaml

MAX_ATTEMPTS = 3  # of a task whose workers die
TASKS_PER_JOB = 4  # where each task starts a process of its own, so that tasks of different lengths even out
STARTS_PROCESSES = ("slurm", "debug")  # executors that start a process for each task


@contextlib.contextmanager
def task_map(
    executor: str, *, jobs: int, scheduler: str | None = None, slurm: Sequence[str] = ()
) -> Iterator[MapFunction | None]:
    """`with task_map("dask", jobs=1, scheduler=…) as parallel_map: for result in parallel_map(function, items): …`.

    executor: one of EXECUTORS; jobs: how many tasks run at once
    scheduler: address of the scheduler of "dask"; slurm: settings for submitit, such as "timeout_min=240"
    Yields None for one job of the executor "local", which needs nothing but this process.
    Raises ValueError for an unknown executor, a number of jobs below 1 and wrong settings.
    """
    if executor not in EXECUTORS:
        raise ValueError(f"unknown executor {executor!r}; choose from {list(EXECUTORS)}")
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; give 1 or more")
    settings = {"scheduler": scheduler} if executor == "dask" else dict(map(_parse_setting, slurm))
    if executor == "local" and jobs == 1:
        yield None
        return
    with EXECUTORS[executor](jobs=jobs, settings=settings) as workers:
        n_tasks = TASKS_PER_JOB * jobs if executor in STARTS_PROCESSES else None
        yield partial(_map, workers=workers, n_tasks=n_tasks)


def _parse_setting(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--slurm {text} is not NAME=VALUE, such as timeout_min=240")
    return name, read_yaml(value)


def _map(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: RunExecutor, n_tasks: int | None
) -> Iterator[Result]:
    """Results in the items' order. An error of the function ends the map. n_tasks: None for a task an item."""
    items = list(items)
    per_task = -(-len(items) // n_tasks) if n_tasks else 1
    tasks = [items[start : start + per_task] for start in range(0, len(items), per_task)] if items else []
    waiting, attempts, results = deque(range(len(tasks))), Counter[int](), dict[int, list[Result]]()
    running: dict[Future, int] = {}
    for number in range(len(tasks)):
        while number not in results:
            starting = [waiting.popleft() for _ in range(min(len(waiting), workers.slots - len(running)))]
            if starting:
                futures = workers.submit(_apply, [(function, tasks[index]) for index in starting])
                running |= zip(futures, starting, strict=True)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                index = running.pop(future)
                try:
                    results[index], error = future.result()
                except Exception as death:
                    attempts[index] += 1
                    if attempts[index] == MAX_ATTEMPTS:
                        raise RuntimeError(
                            f"the worker died {MAX_ATTEMPTS} times at the same task (out of memory?), the last time by "
                            f"{type(death).__name__}: {death}"
                        ) from None
                    waiting.appendleft(index)
                else:
                    if error is not None:
                        raise error
        yield from results.pop(number)


def _apply(function: Callable[[Item], Result], items: list[Item]) -> tuple[list[Result], Exception | None]:
    """In the worker: the results, and an error of the function, which is no death of the worker."""
    results: list[Any] = []
    try:
        for item in items:
            results.append(function(item))
    except ValueError as error:  # copies, because not every error can be sent
        return results, ValueError(str(error))
    except OSError as error:
        return results, OSError(*([error.errno, error.strerror, error.filename] if error.errno else error.args))
    except Exception as error:
        return results, RuntimeError(f"{type(error).__name__}: {error}")
    return results, None
