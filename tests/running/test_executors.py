"""Proves that runs are executed by processes of this machine, by submitit and by dask, and end with their command."""

import os
import signal
import sys
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from vidseg_utils.paths import read_json
from vidseg_utils.running import slurm
from vidseg_utils.running.batch import execute_sweep
from vidseg_utils.running.executors import DaskTasks, LocalProcesses
from vidseg_utils.running.slurm import SubmititJobs


@pytest.mark.slow
def test_a_process_that_dies_takes_only_its_own_run_along():
    with LocalProcesses(jobs=2, settings={}) as processes:
        (dies,) = processes.submit(os._exit, [(1,)])
        (lives,) = processes.submit(os.getpid, [()])
        with pytest.raises(BrokenExecutor):
            dies.result()
        process = lives.result()
        (again,) = processes.submit(os.getpid, [()])
        assert again.result() == process, "a free process is used again"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit leaves its log files open
def test_the_cluster_executor_runs_the_same_jobs(make_sweep):
    pytest.importorskip("submitit")
    path = make_sweep("slurm: {timeout_min: 5}\ngrid: {EPOCHS: [4]}")
    (outcome,) = execute_sweep(path, profile="smoke", executor="debug", progress=False)
    assert read_json(outcome.run.folder / "metrics.json")["score"] == 40


def test_without_slurm_the_slurm_executor_is_refused(make_sweep, monkeypatch):
    path = make_sweep("grid: {EPOCHS: [4]}")
    monkeypatch.setattr(slurm.shutil, "which", lambda command: None)
    pytest.importorskip("submitit")
    with pytest.raises(ValueError, match="this machine has no Slurm"):
        execute_sweep(path, profile="smoke", executor="slurm", progress=False)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match="needs submitit: pip install"):
        execute_sweep(path, profile="smoke", executor="slurm", progress=False)


def wait_to_be_interrupted(folder):
    """Wait for a minute the first time; the second time, say so."""
    started = Path(folder) / "started"
    if started.exists():
        return "went on"
    started.write_text(str(os.getpid()))
    time.sleep(60)
    return "was not interrupted"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_job_that_reaches_its_time_limit_is_queued_again_and_goes_on(tmp_path, home):
    pytest.importorskip("submitit")
    with SubmititJobs(jobs=1, settings={"timeout_min": 5}, cluster="local") as jobs:
        (future,) = jobs.submit(wait_to_be_interrupted, [(str(tmp_path),)])
        end = time.monotonic() + 60
        while not (tmp_path / "started").exists() or not (tmp_path / "started").read_text():
            assert time.monotonic() < end
            time.sleep(0.1)
        os.kill(int((tmp_path / "started").read_text()), signal.SIGUSR2)  # as Slurm before the time is over
        assert future.result(timeout=60) == "went on"


@pytest.fixture
def queue(monkeypatch):
    """What Slurm answers, by job, and the time: `queue.answer`, `queue.now`."""
    state = SimpleNamespace(answer={}, now=1000.0, ended=slurm._Queue().ended)
    lines = lambda *_, **__: SimpleNamespace(stdout="".join(f"{job} {text}\n" for job, text in state.answer.items()))  # noqa: E731
    monkeypatch.setattr(slurm.subprocess, "run", lines)
    monkeypatch.setattr(slurm.time, "monotonic", lambda: state.now)
    return state


def test_a_job_has_ended_if_slurm_says_so_for_longer_than_its_result_takes_to_be_seen(queue):
    jobs = ["7_0", "7_1", "7_2", "8"]
    queue.answer = {"7_0": "CANCELLED", "7_1": "COMPLETING", "7_2": "RUNNING"}
    assert queue.ended(jobs) == {}
    queue.now += slurm.SECONDS_UNTIL_SEEN
    assert queue.ended(jobs) == {"7_0": "CANCELLED", "8": "unknown"}


def test_a_cancelled_job_that_is_queued_again_has_not_ended(queue):
    queue.answer = {"7": "CANCELLED"}
    queue.ended(["7"])
    queue.now += slurm.SECONDS_PER_QUESTION
    queue.answer = {"7": "PENDING"}
    queue.ended(["7"])
    queue.now += slurm.SECONDS_UNTIL_SEEN
    queue.answer = {"7": "CANCELLED"}
    assert queue.ended(["7"]) == {}, "cancelled a second time, just now"


def test_without_an_answer_of_slurm_nothing_has_ended(queue, monkeypatch):
    def fails(*_, **__):
        raise OSError("no squeue")

    monkeypatch.setattr(slurm.subprocess, "run", fails)
    queue.ended(["7"])
    queue.now += slurm.SECONDS_UNTIL_SEEN
    assert queue.ended(["7"]) == {}


def test_wrong_slurm_settings_are_named(monkeypatch, home):
    pytest.importorskip("submitit")
    with pytest.raises(ValueError, match="wrong `slurm:` or --slurm settings"):
        SubmititJobs(jobs=1, settings={"gpu": 3}, cluster="debug")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of dask's own event loops and processes
def test_a_dask_cluster_executes_a_sweep_into_the_folders_of_the_command(make_sweep, monkeypatch):
    distributed = pytest.importorskip("distributed")
    path = make_sweep("grid: {EPOCHS: [4, 5, 6]}")
    own_home = os.environ["VIDSEG_HOME"]
    monkeypatch.setenv("VIDSEG_HOME", "/elsewhere")  # of the workers
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        monkeypatch.setenv("VIDSEG_HOME", own_home)
        where = {"executor": "dask", "scheduler": cluster.scheduler_address, "progress": False}
        outcomes = execute_sweep(path, profile="smoke", **where)
        assert [read_json(outcome.run.folder / "metrics.json")["score"] for outcome in outcomes] == [40, 50, 60]
        assert all(outcome.seconds is None for outcome in execute_sweep(path, profile="smoke", **where))


def test_without_a_dask_scheduler_the_cure_is_named(monkeypatch):
    pytest.importorskip("distributed")
    with pytest.raises(ValueError, match="needs --scheduler ADDRESS, such as tcp://node1:8786"):
        DaskTasks(jobs=1, settings={})
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match="executor 'dask' needs distributed: pip install"):
        DaskTasks(jobs=1, settings={})
