"""Proves that a sweep file gives the runs it names, skips finished ones, and that a failure stops no other run."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidseg_utils.paths import write_json
from vidseg_utils.running.batch import execute_sweep
from vidseg_utils.running.sweep import plan_sweep
from vidseg_utils.running.sweep_results import read_sweep, sweep_table


def test_a_grid_is_every_combination_in_order(make_sweep, home):
    runs = plan_sweep(make_sweep("parameters: {RATE: 1e-2}\ngrid: {EPOCHS: [1, 3], LOSS: [mse, l1]}"), profile="smoke")
    assert [run.name.rpartition("-")[0] for run in runs] == [
        "epochs-smoke-EPOCHS=1-LOSS=mse",
        "epochs-smoke-EPOCHS=1-LOSS=l1",
        "epochs-smoke-EPOCHS=3-LOSS=mse",
        "epochs-smoke-EPOCHS=3-LOSS=l1",
    ]
    assert runs[1].parameters == {"RATE": 0.01, "EPOCHS": 1, "LOSS": "l1"}
    assert runs[0].folder == home / "runs" / runs[0].name
    assert runs[0].setting == "EPOCHS=1, LOSS=mse"


def test_a_list_of_runs_is_used_as_it_is(make_sweep):
    runs = plan_sweep(make_sweep("runs:\n- {EPOCHS: 1}\n- {EPOCHS: 1, LOSS: l1}"), profile="smoke")
    assert [run.parameters for run in runs] == [{"EPOCHS": 1}, {"EPOCHS": 1, "LOSS": "l1"}]


@pytest.mark.parametrize("text", ["no", "true", "0123", "1e3", "2024-05-01", "null", "4_8_64", "~"])
def test_text_without_quotes_stays_as_it_is_written(make_sweep, text):
    (run,) = plan_sweep(make_sweep(f"grid: {{LOSS: [{text}]}}"), profile="smoke")
    assert run.parameters == {"LOSS": text} and run.name.startswith(f"epochs-smoke-LOSS={text}-")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid: {EPOCHS: 3}", "`grid:` must give each parameter a list"),
        ("grid: {EPOCHS: []}", "`grid:` must give each parameter a list"),
        ("grid: {EPOCH: [3]}", "has no parameter 'EPOCH'; choose from"),
        ("grid: {PROFILE: [cpu]}", "PROFILE cannot be given as a parameter; use --profile"),
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
    record = {"notebook": run.notebook.stem, "path": str(run.notebook), "seconds": metrics.get("seconds", 1)}
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


def test_other_parameters_and_other_notebooks_of_the_same_name_have_other_run_folders(make_sweep, tmp_path):
    path = make_sweep("grid: {EPOCHS: [1]}")
    (run,) = plan_sweep(path, profile="smoke")
    pretend_finished(run)
    (changed,) = plan_sweep(make_sweep("parameters: {LOSS: l1}\ngrid: {EPOCHS: [1]}"), profile="smoke")
    make_sweep("grid: {EPOCHS: [1]}")
    (tmp_path / "other").mkdir()
    run.notebook.rename(tmp_path / "other" / run.notebook.name)
    path.write_text(path.read_text().replace(str(run.notebook), str(tmp_path / "other" / run.notebook.name)))
    (moved,) = plan_sweep(path, profile="smoke")
    assert len({run.name, changed.name, moved.name}) == 3 and run.is_finished()
    assert not changed.is_finished() and not moved.is_finished()


def test_a_run_that_an_earlier_version_has_finished_keeps_its_name(make_sweep, home):
    path = make_sweep("grid: {EPOCHS: [1]}")
    (run,) = plan_sweep(path, profile="smoke")
    pretend_finished(run)
    run.folder.rename(home / "runs" / "epochs-smoke-EPOCHS=1")
    (again,) = plan_sweep(path, profile="smoke")
    assert again.name == "epochs-smoke-EPOCHS=1" and again.is_finished()


def test_the_notebook_may_be_beside_the_sweep_file(make_sweep, monkeypatch, home):
    path = make_sweep("grid: {EPOCHS: [1]}")
    path.write_text(path.read_text().replace(f"{path.parent}/", ""))
    monkeypatch.chdir("/")
    (run,) = plan_sweep(path, profile="smoke")
    assert run.notebook == path.parent / "09_swept.ipynb"


def test_seeds_are_given_to_the_notebook_or_to_its_trainings(make_sweep, make_notebook, tmp_path):
    sized = make_notebook("09_sized", parameters='SIZES: dict = {}  # sizes\nRUN: str = "auto"\nPROFILE: str = "auto"')
    path = tmp_path / "seeds.yaml"
    path.write_text(f"notebook: {sized}\nparameters: {{SIZES: {{height: 40}}}}\nseeds: [0, 3]\n")
    runs = plan_sweep(path, profile="smoke")
    assert [run.parameters["SIZES"] for run in runs] == [{"height": 40, "training_seed": seed} for seed in (0, 3)]
    assert [run.setting for run in runs] == ["09_sized"] * 2 and "-seed=3-" in runs[1].name
    own = make_notebook("09_own", parameters='SEED: int = 0  # seed\nRUN: str = "auto"\nPROFILE: str = "auto"')
    path.write_text(f"notebook: {own}\nseeds: [5]\n")
    assert plan_sweep(path, profile="smoke")[0].parameters == {"SEED": 5}
    neither = make_notebook("09_neither", parameters='RUN: str = "auto"\nPROFILE: str = "auto"')
    path.write_text(f"notebook: {neither}\nseeds: [5]\n")
    with pytest.raises(ValueError, match="09_neither has neither a parameter SEED nor SIZES"):
        plan_sweep(path, profile="smoke")


def test_a_sweep_may_have_several_notebooks(tmp_path, make_notebook, home):
    first, second = make_notebook("08_first"), make_notebook("09_second")
    path = tmp_path / "two.yaml"
    path.write_text(f"notebook: [{first}, {second}]\ngrid: {{EPOCHS: [1, 2]}}\n")
    settings = [run.setting for run in plan_sweep(path, profile="smoke")]
    assert settings == [f"notebook={name}, EPOCHS={n}" for name in ("08_first", "09_second") for n in (1, 2)]


def test_the_table_has_mean_and_spread_and_marks_the_best_setting(tmp_path, make_notebook, home):
    parameters = 'SEED: int = 0\nLOSS: str = "a"\nRUN: str = "auto"\nPROFILE: str = "auto"'
    path = tmp_path / "table.yaml"
    text = f"notebook: {make_notebook('09_any', parameters=parameters)}\ngrid: {{LOSS: [a, b, c]}}\nseeds: [0, 1]\n"
    path.write_text(text)
    assert sweep_table(path, profile="smoke") == ""
    for run, score in zip(plan_sweep(path, profile="smoke"), (0.2, 0.4, 0.5, 0.5, 0.1), strict=False):
        pretend_finished(run, jaccard=score, mse_last=score)
    assert sweep_table(path, profile="smoke").splitlines()[2:] == [
        "| LOSS=a | 2 | 0.3 | 0.14 |",
        "| **LOSS=b** | **2** | **0.5** | **0** |",
        "| LOSS=c | 1 | 0.1 |  |",
    ]
    path.write_text(text + "lowest: mse_last\n")
    assert "| **LOSS=c** | **1** | **0.1** |  |" in sweep_table(path, profile="smoke")


def test_a_damaged_run_is_left_out_of_the_table(make_sweep, caplog):
    path = make_sweep("grid: {EPOCHS: [1, 2]}\nhighest: score")
    runs = plan_sweep(path, profile="smoke")
    for run in runs:
        pretend_finished(run, score=1)
    (runs[0].folder / "config.json").write_text("{")  # of a network that it trained
    assert sweep_table(path, profile="smoke").splitlines()[2:] == ["| **EPOCHS=2** | **1** | **1** |  |"]
    assert f"{runs[0].name} is left out, because it is damaged: config.json is not" in caplog.text


def test_a_dry_run_lists_the_runs_and_estimates_their_time(make_sweep, vidseg, tmp_path):
    path = make_sweep("grid: {EPOCHS: [1, 2, 3]}")
    first, *_ = plan_sweep(path, profile="smoke")
    code, text, errors = vidseg("sweep", str(path), "--profile", "smoke", "--dry-run")
    assert code == 0 and text.count(": to be executed\n") == 3
    disk = f"{tmp_path / 'data' / 'smoke'} takes about 18 MB of disk when complete; "
    assert errors.startswith(f"3 of 3 runs to execute: no earlier run says how long they take; {disk}")
    pretend_finished(first, seconds=90)
    code, text, errors = vidseg("sweep", str(path), "--profile", "smoke", "--dry-run", "--jobs", "2")
    assert f"{first.name}: finished\n" in text and not (first.folder.parent / "x").exists()
    assert errors.startswith(f"2 of 3 runs to execute: about 90 s by earlier runs; {disk}")


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
    expected = re.escape("epochs-smoke-") + (name if "-" in name else re.escape(name)) + "-[0-9a-f]{8}"
    assert re.fullmatch(expected, first.name)


def test_a_name_of_many_parameters_fits_the_file_system(make_sweep):
    values = ", ".join(f"{name}: [{value}]" for name, value in [("LOSS", "x" * 40), ("SIZES", list(range(15)))])
    (run,) = plan_sweep(make_sweep(f"grid: {{{values}}}", name="n" * 100), profile="smoke")
    assert len(run.name) == 100


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
    assert not second.is_finished()
    assert all(outcome.error == "" for outcome in execute_sweep(path, profile="smoke", progress=False))
    assert first.is_finished() and second.is_finished()


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


def test_an_unknown_executor_names_the_choices(make_sweep):
    path = make_sweep("grid: {EPOCHS: [4]}")
    with pytest.raises(ValueError, match=r"unknown executor 'lsf'; choose from \['local', 'slurm', 'dask', 'debug'\]"):
        execute_sweep(path, executor="lsf")
    with pytest.raises(ValueError, match="jobs is 0; give 1 or more"):
        execute_sweep(path, jobs=0)


def test_the_largest_sweep_is_planned_in_seconds(make_sweep):
    path = make_sweep(f"grid: {{EPOCHS: {list(range(1, 101))}, SIZES: {[[n] for n in range(100)]}}}")
    started = time.process_time()
    assert len(plan_sweep(path, profile="smoke")) == 10_000
    assert time.process_time() - started < 10
