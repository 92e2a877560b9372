"""Proves that a sweep on dask survives the loss of a worker in the middle of a run: it is executed once to its end."""

import contextlib
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from vidseg_utils.running.batch import execute_sweep

pytestmark = pytest.mark.filterwarnings("ignore")  # of dask's own event loops and processes
PARAMETERS = 'PROFILE: str = "auto"  # profile\nRUN: str = "auto"  # run folder\nNUMBER: int = 0  # of the run'
BEGIN = """
import os, signal, time
from pathlib import Path
folder = Path(os.environ["VIDSEG_HOME"])
def note(event):
    with (folder / f"{NUMBER}.{event}").open("a") as file:
        print(os.getppid(), file=file)
note("begun")
begun = (folder / f"{NUMBER}.begun").read_text().split()
"""
KILL_THE_WORKER = "if NUMBER == 1 and len(begun) == 1:\n    os.kill(os.getppid(), signal.SIGKILL)\n    time.sleep(600)"
WAIT = "while not (folder / 'go').exists():\n    time.sleep(0.1)"
END = 'note("ended")'


@pytest.fixture
def cluster(home, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture
def sweep(home, cluster):
    """sweep(numbers, "code", …) executes a notebook with these cells once for each number; returns the outcomes."""
    home.mkdir()

    def execute(numbers, *sources):
        cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), *map(new_code_cell, sources)]
        nbformat.write(new_notebook(cells=cells, metadata={"language_info": {"name": "python"}}), home / "any.ipynb")
        (home / "any.yaml").write_text(f"notebook: {home / 'any.ipynb'}\ngrid: {{NUMBER: {numbers}}}\n")
        where = {"executor": "dask", "scheduler": cluster.scheduler_address, "progress": False}
        return execute_sweep(home / "any.yaml", profile="smoke", **where)

    return execute


def noted(home: Path, number: int, event: str) -> list[str]:
    """Processes that have begun, or ended, the notebook with this number."""
    with contextlib.suppress(FileNotFoundError):
        return (home / f"{number}.{event}").read_text().split()
    return []


def wait_until(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_run_whose_worker_is_killed_is_given_to_another_one(sweep, home):
    outcomes = sweep([0, 1, 2], BEGIN, KILL_THE_WORKER, END)
    assert not any(outcome.error for outcome in outcomes) and all(outcome.run.is_finished() for outcome in outcomes)
    assert [len(set(noted(home, number, "begun"))) for number in range(3)] == [1, 2, 1]
    assert [len(noted(home, number, "ended")) for number in range(3)] == [1, 1, 1]
    assert not list(home.rglob("failed.ipynb"))


def test_a_worker_that_the_scheduler_has_lost_and_its_successor_do_not_both_finish_the_run(sweep, home, cluster):
    with ThreadPoolExecutor(1) as thread:
        outcomes = thread.submit(sweep, [0], BEGIN, WAIT, END)
        wait_until(lambda: noted(home, 0, "begun"))
        scheduler = cluster.scheduler
        (first,) = [address for address, worker in scheduler.workers.items() if worker.processing]
        cluster.sync(scheduler.remove_worker, first, stimulus_id="lost", close=False)
        wait_until(lambda: any(w.processing for address, w in scheduler.workers.items() if address != first))
        (home / "go").touch()
        (outcome,) = outcomes.result()
    assert not outcome.error and outcome.run.is_finished()
    assert len(noted(home, 0, "ended")) == 1
