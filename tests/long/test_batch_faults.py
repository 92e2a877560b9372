"""Proves, by doing them, that faults cost a batch no finished run, and that nothing half done looks finished.

Kernels and sweeps are killed, the disk is full, files are torn, a job is preempted, and two sweeps run at once. What
runs are tiny notebooks; each writes a line to a log when it is executed.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from benchmarks.faults.kills import kill_command
from tests.helpers import write_notebook
from vidseg_utils.running import batch, cli, run_record, workbook
from vidseg_utils.running.batch import execute_sweep
from vidseg_utils.running.executors import SubmititJobs
from vidseg_utils.running.sweep import plan_sweep

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = 'PROFILE: str = "auto"  # profile\nRUN: str = "auto"  # run folder\nEPOCHS: int = 1  # epochs'
LOGGED = """
import os, time
from pathlib import Path
from vidseg_utils.paths import write_json
home = Path(os.environ["LOG"]).parent
with open(os.environ["LOG"], "a") as log:
    print(RUN, os.getpid(), os.getppid(), file=log)
folder = Path(os.environ["VIDSEG_HOME"]) / "runs" / RUN
"""
RESULTS = """
time.sleep(1)
(folder / "large.bin").write_bytes(bytes(300_000))
write_json(folder / "metrics.json", {"score": EPOCHS * 10})
"""


@pytest.fixture
def log(tmp_path, monkeypatch):
    """The file in which each execution of a notebook has a line: run, process, process that started it."""
    monkeypatch.setenv("LOG", str(tmp_path / "log.txt"))
    return tmp_path / "log.txt"


def executions(log):
    """The names of the runs in the order in which they began."""
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def still_running(log):
    """The kernels, and the processes that started them, that have not ended."""
    pids = {int(pid) for line in log.read_text().splitlines() for pid in line.split()[1:]} - {os.getpid()}
    alive = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
    return psutil.wait_procs([psutil.Process(pid) for pid in alive], timeout=30)[1]


@pytest.fixture
def sweep(tmp_path, home, log):
    """A sweep file of four runs."""
    home.mkdir()
    write_notebook(tmp_path / "09_swept.ipynb", PARAMETERS, LOGGED, RESULTS)
    (tmp_path / "epochs.yaml").write_text("notebook: 09_swept.ipynb\ngrid: {EPOCHS: [1, 2, 3, 4]}\nhighest: score\n")
    return tmp_path / "epochs.yaml"


def start_sweep(path, *, jobs=2):
    """Start `vidseg sweep` in a process of its own."""
    command = [sys.executable, "-m", "vidseg_utils.running.cli", "sweep", str(path), "--profile", "smoke"]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    return subprocess.Popen([*command, "--jobs", str(jobs)], **settings)


def finished_names(path):
    return {run.name for run in plan_sweep(path, profile="smoke") if run.is_finished()}


@pytest.mark.parametrize(("name", "n_kills"), [("kernel", 20), ("sweep", 5)])
def test_what_is_killed_in_mid_training_goes_on_and_ends_with_the_same_files(tmp_path, name, n_kills):
    counts = kill_command(name, n_kills, work=tmp_path, rng=random.Random(0), on_kill=lambda: None)
    assert counts.findings == [] and counts.kills == n_kills


def test_two_sweeps_of_one_file_execute_each_run_once(sweep, log):
    for process in [start_sweep(sweep), start_sweep(sweep)]:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    names = [run.name for run in plan_sweep(sweep, profile="smoke")]
    assert sorted(executions(log)) == sorted(names) and finished_names(sweep) == set(names)
    assert not still_running(log)


def test_a_sweep_goes_on_where_a_killed_one_beside_it_was(sweep, log):
    first, second = start_sweep(sweep), start_sweep(sweep)
    while len(executions(log)) < 2:
        assert first.poll() is None and second.poll() is None
        time.sleep(0.05)
    first.kill()
    before = finished_names(sweep)
    first.communicate(timeout=60)
    _, errors = second.communicate(timeout=600)
    assert second.returncode == 0, errors
    names = [run.name for run in plan_sweep(sweep, profile="smoke")]
    assert finished_names(sweep) == set(names)
    assert all(executions(log).count(name) <= (1 if name in before else 2) for name in names)
    assert not still_running(log)


@contextlib.contextmanager
def small_disk(folder, n_bytes):
    """A file system of so many bytes at `folder`; yields a function that makes it larger."""
    folder.mkdir(exist_ok=True)

    def mount(options):
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode

    if mount(f"size={n_bytes}"):
        pytest.skip("mounting a small file system is not allowed here")
    try:
        yield lambda n_bytes: mount(f"remount,size={n_bytes}")
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("disk", ["home", "tmp"])
def test_a_full_disk_is_named_and_costs_no_finished_run(sweep, log, tmp_path, monkeypatch, disk):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with small_disk(tmp_path / disk, 800_000) as enlarge:
        if disk == "tmp":
            (tmp_path / "tmp" / "other").write_bytes(bytes(780_000))
        process = start_sweep(sweep, jobs=1)
        _, errors = process.communicate(timeout=600)
        before = finished_names(sweep)
        if disk == "home" or process.returncode:  # without room in $TMPDIR, /tmp is taken
            assert process.returncode == 1 and "No space left on device" in errors, errors
        assert "Traceback" not in errors
        runs = plan_sweep(sweep, profile="smoke")
        assert all((run.name in before) == (run.folder / "parameters.json").exists() for run in runs)
        assert not list(tmp_path.glob("home/runs/*/.*.tmp*")) and not still_running(log)
        enlarge(20_000_000)
        process = start_sweep(sweep, jobs=1)
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        assert finished_names(sweep) == {run.name for run in runs}
        assert all(executions(log).count(name) == 1 for name in before)


TRAINS = """
part = folder.parent / "part"
if not part.is_dir():
    write_json(part / "config.json", {"finished": True, "sha256": "abc", "fit": {"epochs": 1}})
    (part / "history.jsonl").write_text('{"epoch": 1, "seconds": 1.0}\\n')
from vidseg_utils.usage import note_part
note_part(part)
write_json(folder / "metrics.json", {"jaccard": 0.5})
"""


@pytest.fixture
def workshop(tmp_path, home, log, monkeypatch, capsys):
    """A home in which a workbook of two lessons and a sweep have run. Calling it runs what is missing."""
    monkeypatch.setattr(run_record, "notebooks_dir", lambda: tmp_path)
    monkeypatch.setattr(workbook, "notebooks_dir", lambda: tmp_path)
    monkeypatch.setattr(workbook, "READS_FROM", {"01": (), "02": ("01",)})
    monkeypatch.setattr(batch, "EXECUTORS", {"local": partial(SubmititJobs, cluster="debug")})  # in this process
    write_notebook(tmp_path / "01_trains.ipynb", PARAMETERS, LOGGED.replace("RUN", "'01_trains-smoke'"), TRAINS)
    write_notebook(tmp_path / "02_reads.ipynb", PARAMETERS, LOGGED.replace("RUN", "'02_reads-smoke'"))
    write_notebook(tmp_path / "swept.ipynb", PARAMETERS, LOGGED, RESULTS.replace("time.sleep(1)", ""))
    (tmp_path / "epochs.yaml").write_text("notebook: swept.ipynb\ngrid: {EPOCHS: [1, 2]}\nhighest: score\n")

    def call():
        codes = []
        for words in (["run", "--all"], ["sweep", str(tmp_path / "epochs.yaml")]):
            monkeypatch.setattr(sys, "argv", ["vidseg", *words, "--profile", "smoke"])
            with pytest.raises(SystemExit) as end:
                cli.main()
            codes.append(end.value.code)
        printed = capsys.readouterr()
        return codes, printed.out + printed.err

    codes, text = call()
    assert codes == [0, 0], text
    return call


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit leaves its log files open
def test_a_torn_file_costs_at_most_its_own_run_and_the_error_names_it(workshop, tmp_path, log):
    files = [path for end in ("json", "jsonl", "ipynb", "yaml") for path in sorted(tmp_path.rglob(f"*.{end}"))]
    names = {path.name for path in files}
    assert {"parameters.json", "metrics.json", "config.json", "executed.ipynb", "epochs.yaml"} <= names
    for path in files:
        log.unlink(missing_ok=True)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        codes, text = workshop()
        own = path.parent.name
        is_result = own in text and path.name in ("parameters.json", "metrics.json")
        assert "--debug" not in text, f"{path}: an error that was not foreseen: {text}"
        assert set(executions(log)) <= {own, "01_trains-smoke", "02_reads-smoke"}, f"{path}: {executions(log)}"
        if is_result:
            assert codes == [0, 0] and executions(log)[0] == own, text
            continue
        assert codes == [0, 0] or path.name in text, f"{path}: {text}"
        path.write_bytes(whole)
        codes, text = workshop()
        assert codes == [0, 0], f"{path}: {text}"
    log.unlink(missing_ok=True)
    assert workshop()[0] == [0, 0] and executions(log) == []


STEPS = """
steps = folder / "steps.txt"
for step in range(len(steps.read_text().split()) if steps.exists() else 0, 30):
    time.sleep(0.2)
    with steps.open("a") as file:
        print(step, file=file, flush=True)
"""


@pytest.mark.filterwarnings("ignore")  # of submitit, which leaves its log files open
def test_a_preempted_job_leaves_nothing_running_and_goes_on(tmp_path, home, log, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setitem(batch.EXECUTORS, "slurm", partial(SubmititJobs, cluster="local"))
    write_notebook(tmp_path / "steps.ipynb", PARAMETERS, LOGGED, STEPS)
    path = tmp_path / "steps.yaml"
    path.write_text("notebook: steps.ipynb\ngrid: {EPOCHS: [1]}\nslurm: {timeout_min: 5}\n")
    (run,) = plan_sweep(path, profile="smoke")
    watcher = subprocess.Popen(
        [sys.executable, "-c", PREEMPT, str(log), str(run.folder / "steps.txt"), str(int(signal.SIGUSR2))]
    )
    (outcome,) = execute_sweep(path, profile="smoke", executor="slurm", progress=False)
    assert watcher.wait(timeout=60) == 0, "it was not preempted"
    assert outcome.error == "" and run.is_finished()
    assert executions(log) == [run.name, run.name], "preempted once"
    steps = (run.folder / "steps.txt").read_text().split()
    assert steps == [str(step) for step in range(30)], "two kernels at once would repeat steps"
    assert not still_running(log)


PREEMPT = """
import os, sys, time
log, steps, number = sys.argv[1:]
end = time.monotonic() + 120
while not os.path.exists(steps) or os.path.getsize(steps) < 6:
    assert time.monotonic() < end
    time.sleep(0.1)
os.kill(int(open(log).read().split()[2]), int(number))
"""
