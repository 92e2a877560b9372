"""Proves that a batch keeps the order of what its notebooks read, runs others at once, and that no failure stops it."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from vidseg_utils.paths import write_json
from vidseg_utils.running import batch, workbook
from vidseg_utils.running.batch import execute_batch
from vidseg_utils.running.run_record import NotebookRun


class Threads:
    """An executor in this process: what runs, in which order, and how many at once."""

    def __init__(self, *, jobs, settings):
        self.slots, self.pool = jobs, ThreadPoolExecutor(jobs)

    def submit(self, function, calls):
        return [self.pool.submit(function, *arguments) for arguments in calls]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown()


class InThisThread(Threads):
    """As `Threads`, where kernels are started: their event loops stay with the thread."""

    def submit(self, function, calls):
        futures = [Future() for _ in calls]
        for future, arguments in zip(futures, calls, strict=True):
            future.set_result(function(*arguments))
        return futures


@pytest.fixture
def executed(monkeypatch, home):
    """Names of the runs in the order in which they end. Those named "fails" fail."""
    log, lock = [], threading.Lock()

    def pretend(run, when, again, status):
        time.sleep(0.02)
        with lock:
            log.append(run.name)
        return (None, "cell 3 failed") if "fails" in run.name else (0.02, "")

    monkeypatch.setattr(batch, "_execute", pretend)
    monkeypatch.setitem(batch.EXECUTORS, "threads", Threads)
    return log


def planned(make_notebook, *names):
    path = make_notebook("09_any")
    return {name: NotebookRun(path, "smoke", {}, name) for name in names}


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_run_comes_after_those_that_it_reads(make_notebook, executed, jobs):
    runs = planned(make_notebook, "table", "masks", "frames", "unet")
    reads = {"table": ["masks", "frames"], "masks": ["unet"], "frames": ["unet", "elsewhere"]}
    folders = {name: run.folder for name, run in runs.items()} | {"elsewhere": runs["unet"].folder / "other"}
    after = {folders[name]: [folders[other] for other in others] for name, others in reads.items()}
    outcomes = execute_batch(
        list(runs.values()), title="t", when="always", after=after, jobs=jobs, executor="threads", progress=False
    )
    assert [outcome.run.name for outcome in outcomes] == list(runs), "in the order given"
    assert executed[0] == "unet" and executed[-1] == "table"


def test_a_failure_stops_neither_the_others_nor_what_reads_it(make_notebook, executed, capsys):
    runs = planned(make_notebook, "fails", "reads", "other")
    after = {runs["reads"].folder: [runs["fails"].folder]}
    outcomes = execute_batch(list(runs.values()), title="t", when="always", after=after, executor="threads")
    assert [outcome.error for outcome in outcomes] == ["cell 3 failed", "", ""]
    assert executed.index("fails") < executed.index("reads")
    lines = capsys.readouterr().err.splitlines()
    assert "fails: failed: cell 3 failed" in lines and "other: finished in 0 s" in lines


def test_only_stale_or_unfinished_runs_are_executed(make_notebook, executed, monkeypatch):
    runs = planned(make_notebook, "old", "new")
    monkeypatch.setattr(batch, "why_stale", lambda run: ["it is old"] if run.name == "old" else [])
    outcomes = execute_batch(list(runs.values()), title="t", when="stale", executor="threads", progress=False)
    assert [outcome.seconds for outcome in outcomes] == [0.02, None] and executed == ["old"]
    assert str(outcomes[1]) == "up to date"


def test_nothing_to_do_starts_nothing(make_notebook, home):
    assert execute_batch([], title="t", when="stale") == []


TRAINS = """
import os
from pathlib import Path
from vidseg_utils.paths import write_json
from vidseg_utils.usage import note_part
part = Path(os.environ["VIDSEG_HOME"]) / "runs" / "part"
if not part.is_dir():
    write_json(part / "config.json", {"finished": True, "sha256": "abc"})
note_part(part)
"""


@pytest.mark.slow
def test_the_workbook_is_executed_once_and_a_failure_is_named_and_made_good(
    make_notebook, vidseg, tmp_path, monkeypatch
):
    monkeypatch.setattr(workbook, "notebooks_dir", lambda: tmp_path)
    monkeypatch.setattr(workbook, "READS_FROM", {"01": (), "02": ("01",), "03": ("02",)})
    monkeypatch.setitem(batch.EXECUTORS, "local", InThisThread)  # in this process, for these settings
    make_notebook("01_trains", TRAINS)
    make_notebook("02_fails", "assert False, 'no luck'")
    make_notebook("03_reads", "print(1)")
    code, _, errors = vidseg("run", "--all", "--profile", "smoke")
    failed = [line for line in errors.splitlines() if line.startswith("failed: ")]
    assert code == 1
    assert len(failed) == 1 and "02_fails.ipynb, cell 3 (`assert False, 'no luck'`): AssertionError" in failed[0]
    assert failed[0].endswith(f"{tmp_path / 'runs' / '02_fails-smoke' / 'failed.ipynb'}")
    make_notebook("02_fails", "print(2)")
    code, text, _ = vidseg("run", "--all", "--profile", "smoke", "--why")
    assert code == 0 and text.splitlines() == [
        "01_trains-smoke: up to date",
        "02_fails-smoke: it has no finished run",
        "03_reads-smoke: up to date; asked again after 02_fails-smoke",
    ]
    code, _, errors = vidseg("run", "--all", "--profile", "smoke")
    assert code == 0 and "2 executed, 1 up to date, 0 failed" in errors, "03 was executed before 02 had results"
    code, text, errors = vidseg("run", "--all", "--profile", "smoke")
    assert (code, errors) == (0, "0 of 3 runs to execute: nothing to do\n") and text.count(": up to date\n") == 3
    write_json(tmp_path / "runs" / "part" / "config.json", {"finished": True, "sha256": "other"})
    assert (
        "01_trains-smoke: the part part has other weights" in vidseg("run", "--all", "--profile", "smoke", "--why")[1]
    )


def test_all_lessons_and_named_ones_exclude_each_other(vidseg):
    code, _, errors = vidseg("run", "02", "--all")
    assert code == 1 and "--all takes all lessons; leave it out" in errors
