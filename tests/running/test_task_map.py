"""Proves that a map over an executor's workers gives results in order, repeats the tasks of workers that die, and that
data sets and forecasts made so equal those of one process."""

import contextlib
import errno
import os
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path

import pytest

from tests.helpers import data_files
from vidseg_utils.data import generate
from vidseg_utils.paths import read_json
from vidseg_utils.running import task_map as task_map_module
from vidseg_utils.running.task_map import task_map

SIZES = {"train": 17, "val": 0, "unlabeled": 0, "hidden": 1}  # the training videos make two shards


class Workers:
    """Executes tasks at once, in this process; the workers of the first `deaths` tasks die. Keeps their lengths."""

    def __init__(self, *, slots=2, deaths=0):
        self.slots, self.deaths, self.lengths = slots, deaths, []

    def submit(self, function, calls):
        futures = []
        for called, items in calls:
            future = Future()
            if self.deaths:
                self.deaths -= 1
                future.set_exception(BrokenExecutor("gone"))
            else:
                self.lengths.append(len(items))
                future.set_result(function(called, items))
            futures.append(future)
        return futures

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@pytest.fixture
def map_with(monkeypatch):
    """map_with(workers, executor="dask", jobs=1) -> the map of an executor that has these workers."""
    with contextlib.ExitStack() as stack:

        def make(workers, *, executor="dask", jobs=1):
            monkeypatch.setitem(task_map_module.EXECUTORS, executor, lambda **settings: workers)
            return stack.enter_context(task_map(executor, jobs=jobs))

        yield make


def square(number):
    return number**2


def fails(error):
    raise error


def test_results_come_in_order_and_dead_workers_are_replaced(map_with):
    squares = [number**2 for number in range(7)]
    assert list(map_with(Workers(deaths=2))(square, range(7))) == squares
    assert list(map_with(Workers())(square, [])) == []
    with pytest.raises(RuntimeError, match=r"the worker died 3 times at the same task .*BrokenExecutor: gone"):
        list(map_with(Workers(slots=1, deaths=3))(square, range(7)))


def test_a_task_has_several_items_where_each_starts_a_process(map_with):
    workers = Workers(slots=99)
    assert list(map_with(workers, executor="slurm", jobs=2)(square, range(20))) == [n**2 for n in range(20)]
    assert workers.lengths == [3] * 6 + [2]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "wrong"), ValueError),
        (OSError(errno.ENOSPC, "No space left on device", "x"), OSError),
        (KeyError("x"), RuntimeError),
    ],
)
def test_an_error_of_the_function_ends_the_map_at_once(map_with, error, raised):
    with pytest.raises(raised) as caught:
        list(map_with(Workers())(fails, [error, error]))
    assert type(caught.value) is raised
    assert getattr(caught.value, "errno", None) == getattr(error, "errno", None)


def test_what_cannot_be_is_refused_before_anything_is_done():
    for options, words in [
        ({"executor": "pbs", "jobs": 1}, r"unknown executor 'pbs'; choose from \['local', 'slurm', 'dask', 'debug'\]"),
        ({"executor": "local", "jobs": 0}, "jobs is 0; give 1 or more"),
        ({"executor": "slurm", "jobs": 1, "slurm": ["gpus"]}, "--slurm gpus is not NAME=VALUE, such as timeout_min"),
    ]:
        with pytest.raises(ValueError, match=words), task_map(options.pop("executor"), **options):
            raise AssertionError("not reached")
    with task_map("local", jobs=1) as alone:
        assert alone is None


def dies_once(marker):
    """End the process the first time."""
    if not Path(marker).exists():
        Path(marker).write_text("")
        os._exit(1)
    return os.getpid()


@pytest.mark.slow
def test_the_task_of_a_killed_process_is_repeated_in_another_one(tmp_path):
    with task_map("local", jobs=2) as parallel_map:
        processes = list(parallel_map(dies_once, [str(tmp_path / "a"), str(tmp_path / "b")]))
    assert os.getpid() not in processes


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of dask's own event loops and processes
def test_dask_and_local_processes_make_the_same_bytes_as_one_process(tmp_path, home):
    distributed = pytest.importorskip("distributed")
    made = {"seed": 3, "store": "cache", "progress": False, **SIZES}
    generate(tmp_path / "one", processes=1, **made)
    with task_map("local", jobs=2) as parallel_map:
        generate(tmp_path / "local", parallel_map=parallel_map, **made)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        task_map("dask", jobs=1, scheduler=cluster.scheduler_address) as parallel_map,
    ):
        generate(tmp_path / "dask", parallel_map=parallel_map, **made)
    expected = data_files(tmp_path / "one")
    assert data_files(tmp_path / "local") == data_files(tmp_path / "dask") == expected


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit leaves its log files open
def test_the_commands_give_the_same_with_an_executor(vidseg, tmp_path):
    pytest.importorskip("submitit")
    executors = {"alone": (), "local": ("--jobs", "2"), "debug": ("--executor", "debug", "--slurm", "timeout_min=9")}
    sizes = ("--train", "0", "--val", "3", "--unlabeled", "0", "--hidden", "0", "--profile", "smoke")
    for name, options in executors.items():
        assert vidseg("data", "generate", "--root", name, *sizes, *options)[0] == 0
    assert data_files(tmp_path / "local") == data_files(tmp_path / "debug") == data_files(tmp_path / "alone")
    evaluate = ("evaluate", "object_dynamics", "--shipped", "--root", "alone")
    for name, options in executors.items():
        assert vidseg(*evaluate, "--run", name, *options)[0] == 0
    metrics = [read_json(run / "metrics.json") | {"seconds_per_video": 0} for run in (tmp_path / "runs").glob("*-*")]
    assert len(metrics) == 3 and all(found == metrics[0] for found in metrics)
