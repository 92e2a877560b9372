"""Proves that a sweep file gives the runs it names, skips finished ones, and that a failure stops no other run."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidseg_utils.paths import read_json, write_json
from vidseg_utils.running import executors
from vidseg_utils.running.batch import execute_sweep
from vidseg_utils.running.sweep import plan_sweep, read_sweep

RECORD = """
import json
from pathlib import Path
import os
folder = Path(os.environ["VIDSEG_HOME"]) / "runs" / RUN
assert LOSS != "broken", "no such loss"
(folder / "metrics.json").write_text(json.dumps({"score": EPOCHS * 10, "threads": os.environ.get("OMP_NUM_THREADS")}))
"""


@pytest.fixture
def make_sweep(tmp_path, make_notebook, home):
    """make_sweep("grid: …") -> path of a sweep file over a notebook that records its EPOCHS times ten."""

    def make(text: str, *, name: str = "epochs"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"notebook: {make_notebook('09_swept', RECORD)}\n{text}\n")
        return path

    return make


def test_a_grid_is_every_combination_in_order(make_sweep, home):
    runs = plan_sweep(make_sweep("parameters: {RATE: 1e-2}\ngrid: {EPOCHS: [1, 3], LOSS: [mse, l1]}"), profile="smoke")
    assert [run.name for run in runs] == [
        "epochs-smoke-EPOCHS=1-LOSS=mse",
        "epochs-smoke-EPOCHS=1-LOSS=l1",
        "epochs-smoke-EPOCHS=3-LOSS=mse",
        "epochs-smoke-EPOCHS=3-LOSS=l1",
    ]
    assert runs[1].parameters == {"RATE": 0.01, "EPOCHS": 1, "LOSS": "l1"}
    assert runs[0].folder == home / "runs" / "epochs-smoke-EPOCHS=1-LOSS=mse"


def test_a_list_of_runs_is_used_as_it_is(make_sweep):
    runs = plan_sweep(make_sweep("runs:\n- {EPOCHS: 1}\n- {EPOCHS: 1, LOSS: l1}"), profile="smoke")
    assert [run.parameters for run in runs] == [{"EPOCHS": 1}, {"EPOCHS": 1, "LOSS": "l1"}]


@pytest.mark.parametrize("text", ["no", "true", "0123", "1e3", "2024-05-01", "null", "4_8_64", "~"])
def test_text_without_quotes_stays_as_it_is_written(make_sweep, text):
    (run,) = plan_sweep(make_sweep(f"grid: {{LOSS: [{text}]}}"), profile="smoke")
    assert run.parameters == {"LOSS": text} and run.name == f"epochs-smoke-LOSS={text}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid: {EPOCHS: 3}", "`grid:` must give each parameter a list"),
        ("grid: {EPOCHS: []}", "`grid:` must give each parameter a list"),
        ("grid: {EPOCH: [3]}", "has no parameter 'EPOCH'; choose from"),
        ("grid: {EPOCHS: [fast]}", "parameter EPOCHS cannot be read from 'fast'; it takes int, such as 3"),
        ("grid: {EPOCHS: ['3']}", "parameter EPOCHS takes int, not str '3'"),
        ("grid: {FLIP: [1]}", "parameter FLIP cannot be read from '1'; it takes bool, such as true or false"),
        ("grid: {RATE: [.nan]}", "parameter RATE cannot be read from '.nan'; it takes float, such as 1e-3"),
        ("grid: {EPOCHS: [1]}\ngrid: {EPOCHS: [2]}", "is not valid YAML: .*grid is given twice"),
        ("a: &a [1]\nb: *a", r"is not valid YAML: line 3: aliases \(\*a\) are not supported"),
        (
            "grid: {" + ", ".join(f"{name}: [{', '.join('1' * 100)}]" for name in "ABCDE") + "}",
            "describes 10,000,000,000 runs; 10,000 are the most: split it",
        ),
        ("grid: " + "[" * 5000, "is not valid YAML: it is nested too deeply"),
        ("# " + "x" * 100_000, "is not valid YAML: it has 100,... bytes; 100,000 are the most"),
        ("runs: []", "`runs:` must be a list"),
        ("runs: [{EPOCHS: 1}, {EPOCHS: 1}]", "two of its runs are the same"),
        ("parameters: {EPOCHS: 1}", "either `grid:` or `runs:`"),
        ("grid: {EPOCHS: [1]}\nruns: [{EPOCHS: 1}]", "either `grid:` or `runs:`"),
        ("grid: {EPOCHS: [1]}\nprofile: gpu", "unknown key 'profile'"),
        ("grid: {EPOCHS: [1]}\nquestion: 3", "`question:` must be a line of text"),
        ("parameters: 3\ngrid: {EPOCHS: [1]}", "`parameters:` must map names to values"),
        ("grid: {EPOCHS: [1", "is not valid YAML"),
    ],
)
def test_a_wrong_sweep_file_is_named_with_its_fault(make_sweep, text, message):
    with pytest.raises(ValueError, match=rf"epochs\.yaml.*{message}"):
        plan_sweep(make_sweep(text), profile="smoke")


def pretend_finished(run, **metrics):
    write_json(run.folder / "metrics.json", metrics)
    record = {"notebook": run.notebook.stem, "path": str(run.notebook)}
    record |= {"profile": run.profile, "parameters": run.parameters}
    write_json(run.folder / "parameters.json", record)


def test_an_interrupted_sweep_skips_the_finished_runs(make_sweep):
    path = make_sweep("grid: {EPOCHS: [1, 2]}")
    first, second = plan_sweep(path, profile="smoke")
    pretend_finished(first, score=-1)
    outcomes = execute_sweep(path, profile="smoke", progress=False)
    assert [(outcome.run, outcome.seconds is None, outcome.error) for outcome in outcomes] == [
        (first, True, ""),
        (second, False, ""),
    ]
    rows = read_sweep(path, profile="smoke")
    assert [(row["run"], row["EPOCHS"], row["score"]) for row in rows] == [(first.name, 1, -1), (second.name, 2, 20)]


def test_a_run_folder_with_other_parameters_is_refused(make_sweep):
    (run,) = plan_sweep(make_sweep("grid: {EPOCHS: [1]}"), profile="smoke")
    pretend_finished(run)
    changed = make_sweep("parameters: {LOSS: l1}\ngrid: {EPOCHS: [1]}")
    (outcome,) = execute_sweep(changed, profile="smoke", progress=False)
    assert re.search(r"EPOCHS=1 was made with other parameters; delete it", outcome.error)


def test_another_notebook_of_the_same_name_is_not_taken_for_finished(make_sweep, make_notebook, tmp_path):
    path = make_sweep("grid: {EPOCHS: [1]}")
    (run,) = plan_sweep(path, profile="smoke")
    pretend_finished(run)
    (tmp_path / "other").mkdir()
    run.notebook.rename(tmp_path / "other" / run.notebook.name)
    path.write_text(path.read_text().replace(str(run.notebook), str(tmp_path / "other" / run.notebook.name)))
    (outcome,) = execute_sweep(path, profile="smoke", progress=False)
    assert re.search(r"was made by another notebook \(.*/09_swept\.ipynb, not .*/other/09_swept", outcome.error)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("[1, 2]", "SIZES=[1,2]"),
        ("[{a: 1}]", "SIZES=a_1-........"),
        (list(range(70)), r"SIZES=0,1,2,[\d,]{33}-........"),
        (["/data/x"], "SIZES=data_x-........"),
    ],
)
def test_the_name_of_a_run_is_short_and_the_same_every_time(make_sweep, value, name):
    path = make_sweep(f"grid: {{SIZES: [{value}]}}")
    (first,), (second,) = plan_sweep(path, profile="smoke"), plan_sweep(path, profile="smoke")
    assert first.name == second.name
    assert re.fullmatch(re.escape("epochs-smoke-") + (name if "-" in name else re.escape(name)), first.name)


def test_a_name_of_many_parameters_fits_the_file_system(make_sweep):
    values = ", ".join(f"{name}: [{value}]" for name, value in [("LOSS", "x" * 40), ("SIZES", list(range(15)))])
    (run,) = plan_sweep(make_sweep(f"grid: {{{values}}}", name="n" * 100), profile="smoke")
    assert len(run.name) == 150


@pytest.mark.slow
def test_an_error_of_any_kind_stops_no_other_run(make_sweep, home, monkeypatch):
    path = make_sweep("grid: {EPOCHS: [1, 2]}")
    first, second = plan_sweep(path, profile="smoke")
    first.folder.parent.mkdir(parents=True)
    first.folder.touch()  # a file where the run folder should be
    assert "File exists" in execute_sweep(path, profile="smoke", progress=False)[0].error
    assert second.is_finished()
    first.folder.unlink()
    (second.folder / "parameters.json").write_text("{oops")
    assert "parameters.json is not valid JSON" in execute_sweep(path, profile="smoke", progress=False)[1].error
    assert first.is_finished()


SLOW = """
import os, time
from pathlib import Path
(Path(os.environ["VIDSEG_HOME"]) / f"started_{EPOCHS}").write_text(f"{os.getpid()} {os.getppid()}")
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_the_kernels_and_workers_of_a_killed_sweep_end_and_start_nothing_more(
    tmp_path, make_notebook, home, sent, code
):
    home.mkdir()
    path = tmp_path / "slow.yaml"
    path.write_text(f"notebook: {make_notebook('09_slow', SLOW)}\ngrid: {{EPOCHS: [1, 2, 3]}}\n")
    command = [
        sys.executable,
        "-m",
        "vidseg_utils.running.cli",
        "sweep",
        str(path),
        "--profile",
        "smoke",
        "--jobs",
        "2",
    ]
    with subprocess.Popen(
        command,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # nohup ignores it
    ) as sweep:
        started = [home / "started_1", home / "started_2"]
        wait_until(lambda: all(file.is_file() and file.read_text() for file in started), seconds=60)
        if sent == signal.SIGINT:
            os.killpg(sweep.pid, sent)  # Ctrl-C reaches the whole group
        else:
            sweep.kill()
        assert sweep.wait(timeout=20) == code
    processes = [int(pid) for file in started for pid in file.read_text().split()]
    wait_until(lambda: not any(map(is_alive, processes)), seconds=10)
    assert not (home / "started_3").exists()


def wait_until(condition, *, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def is_alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_two_jobs_run_in_processes_and_a_failure_stops_no_other(make_sweep, home):
    path = make_sweep("grid: {LOSS: [broken, l1]}")
    broken, sound = execute_sweep(path, profile="smoke", jobs=2, progress=False)
    assert "AssertionError: no such loss" in broken.error and sound.error == ""
    (row,) = read_sweep(path, profile="smoke")
    assert row["LOSS"] == "l1" and row["threads"] is not None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit leaves its log files open
def test_the_cluster_executor_runs_the_same_jobs(make_sweep):
    pytest.importorskip("submitit")
    path = make_sweep("slurm: {timeout_min: 5}\ngrid: {EPOCHS: [4]}")
    (outcome,) = execute_sweep(path, profile="smoke", executor="debug", progress=False)
    assert read_json(outcome.run.folder / "metrics.json")["score"] == 40


def test_without_slurm_the_slurm_executor_is_refused(make_sweep, monkeypatch):
    path = make_sweep("grid: {EPOCHS: [4]}")
    monkeypatch.setattr(executors.shutil, "which", lambda command: None)
    pytest.importorskip("submitit")
    with pytest.raises(ValueError, match="this machine has no Slurm"):
        execute_sweep(path, profile="smoke", executor="slurm", progress=False)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match="needs submitit: pip install"):
        execute_sweep(path, profile="smoke", executor="slurm", progress=False)


def test_an_unknown_executor_names_the_choices(make_sweep):
    path = make_sweep("grid: {EPOCHS: [4]}")
    with pytest.raises(ValueError, match=r"unknown executor 'lsf'; choose from \['local', 'slurm', 'debug'\]"):
        execute_sweep(path, executor="lsf")
    with pytest.raises(ValueError, match="jobs is 0; give 1 or more"):
        execute_sweep(path, jobs=0)


def test_the_largest_sweep_is_planned_in_seconds(make_sweep):
    path = make_sweep(f"grid: {{EPOCHS: {list(range(1, 101))}, SIZES: {[[n] for n in range(100)]}}}")
    started = time.monotonic()
    assert len(plan_sweep(path, profile="smoke")) == 10_000
    assert time.monotonic() - started < 10
