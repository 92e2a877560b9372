"""Proves that sweeps run on a real Slurm, go on after a time limit or `scontrol requeue`, and say what was cancelled.

A Slurm of one node is started in a temporary folder and ended again. It needs Debian's packages slurmctld, slurmd,
slurm-client and munge.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.test_docs import code_blocks
from vidseg_utils.paths import read_json
from vidseg_utils.running.sweep import plan_sweep

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scancel", "scontrol")
SYSTEM_FOLDERS = os.pathsep.join(("/usr/sbin", "/sbin"))
CONFIGURATION = """
ClusterName=vidseg
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SlurmdParameters=config_overrides
KillWait=5
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
PARAMETERS = 'PROFILE: str = "auto"  # profile\nRUN: str = "auto"  # run folder'
WAIT_ONCE = """
import os, time
from pathlib import Path
known = os.environ
job = f"{known['SLURM_ARRAY_JOB_ID']}_{known['SLURM_ARRAY_TASK_ID']}" if "SLURM_ARRAY_JOB_ID" in known else "single"
begun = Path("{begun}")
with begun.open("a") as file:
    print(job, file=file)
if len(begun.read_text().split()) == 1:
    for _ in range(6000):
        if begun.with_name("go").exists():
            break
        time.sleep(0.1)
"""
RECORD = """
from vidseg_utils.paths import runs_dir, write_json
write_json(runs_dir() / RUN / "metrics.json", {"jaccard": 0.5})
"""


def wait_until(condition: Callable[[], object], what: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.5)


def free_ports(n_ports: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n_ports)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Slurm:
    """The commands of a Slurm whose daemons are processes of this one."""

    def __init__(self, folder: Path):
        self.configuration = folder / "slurm.conf"
        path = os.pathsep.join((os.environ["PATH"], SYSTEM_FOLDERS))
        self.variables = os.environ | {"PATH": path, "SLURM_CONF": str(self.configuration)}
        self.host, self.daemons = socket.gethostname().split(".")[0], []
        for name in ("state", "spool"):
            (folder / name).mkdir()
        values = {"host": self.host, "ports": free_ports(2), "user": getpass.getuser(), "folder": folder}
        self.configuration.write_text(CONFIGURATION.format(**values))
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {"socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "munge.seed"}
        munge = [f"--{option}={folder / file}" for option, file in files.items()]
        self._start(folder, "munged", "--foreground", "--force", f"--key-file={key}", *munge)
        wait_until((folder / "munge.socket").exists, "munged", 30)
        self._start(folder, "slurmctld", "-D")
        self._start(folder, "slurmd", "-D")
        wait_until(lambda: self("sinfo", "--noheader", "--format=%T").strip() == "idle", "an idle node", 60)

    def _start(self, folder: Path, program: str, *arguments: str) -> None:
        with (folder / f"{program}.out").open("w") as output:
            command = [shutil.which(program, path=self.variables["PATH"]), *arguments]
            self.daemons.append(subprocess.Popen(command, env=self.variables, stdout=output, stderr=output))

    def __call__(self, *command: str) -> str:
        return subprocess.run(command, env=self.variables, capture_output=True, text=True, timeout=60).stdout

    def processes(self) -> list[psutil.Process]:
        """All processes that this Slurm has started, and the daemons."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("SLURM_CONF") == str(self.configuration):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def end(self) -> None:
        self("scancel", f"--user={getpass.getuser()}")
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait(60)
        for process in self.processes():
            process.kill()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[Slurm]:
    path = os.pathsep.join((os.environ["PATH"], SYSTEM_FOLDERS))
    if missing := [program for program in PROGRAMS if shutil.which(program, path=path) is None]:
        pytest.skip(f"no {', '.join(missing)} on this machine; in Debian: apt-get install slurmctld slurmd munge")
    running = Slurm(tmp_path_factory.mktemp("slurm"))
    yield running
    running.end()


class Sweep:
    """A sweep file over notebooks, each of which waits to be ended the first time that it is executed."""

    def __init__(self, folder: Path, slurm: Slurm, *names: str, lessons: tuple[str, ...] = (), settings: str = "{}"):
        self.folder, self.slurm, self.names = folder, slurm, names
        notebooks = [*lessons, *(str(self._make_notebook(name)) for name in names)]
        self.file = folder / f"{'_'.join(names)}.yaml"
        self.file.write_text(f"notebook: {notebooks}\nruns: [{{}}]\nslurm: {settings}\n")

    def _make_notebook(self, name: str) -> Path:
        path = self.folder / f"{name}.ipynb"
        sources = WAIT_ONCE.replace("{begun}", str(self.folder / f"{name}.begun")), RECORD
        cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), *map(new_code_cell, sources)]
        nbformat.write(new_notebook(cells=cells, metadata={"language_info": {"name": "python"}}), path)
        return path

    def start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "vidseg_utils.running.cli", "sweep", str(self.file), "--profile", "smoke"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*command, "--executor", "slurm", "--jobs", "8"], env=self.slurm.variables, **pipes)

    def jobs(self, name: str) -> list[str]:
        """The job in which the notebook was begun, once for each time."""
        begun = self.folder / f"{name}.begun"
        return begun.read_text().split() if begun.exists() else []

    def wait_until_begun(self, *, times: int = 1) -> None:
        for name in self.names:
            wait_until(lambda name=name: len(self.jobs(name)) == times, f"{name} begins")


@pytest.fixture
def make_sweep(tmp_path, slurm, home, monkeypatch):
    """make_sweep("name", …) -> a sweep over notebooks of these names, in folders of the test's own."""
    monkeypatch.setitem(slurm.variables, "VIDSEG_HOME", str(home))
    monkeypatch.setitem(slurm.variables, "PYTHONPATH", os.pathsep.join(sys.path))
    return lambda *names, **options: Sweep(tmp_path, slurm, *names, **options)


def states(slurm: Slurm) -> dict[str, str]:
    return dict(line.split() for line in slurm("squeue", "--array", "--states=all", "-h", "-o", "%i %T").splitlines())


def test_a_sweep_goes_on_after_a_requeue_and_after_a_time_limit_and_says_what_was_cancelled(slurm, make_sweep, home):
    limited = make_sweep("limited", "other", settings="{timeout_min: 1, slurm_signal_delay_s: 5}")
    others = make_sweep("requeued", "cancelled_and_requeued", "cancelled", lessons=("02",))
    with limited.start() as limited_command, others.start() as command:
        others.wait_until_begun()
        (requeued,), (later,), (cancelled,) = map(others.jobs, others.names)
        slurm("scontrol", "requeue", requeued)
        slurm("scancel", later)
        slurm("scancel", cancelled)
        wait_until(lambda: states(slurm)[later] == "CANCELLED", "a cancelled job")
        slurm("scontrol", "requeue", later)
        _, errors = command.communicate(timeout=600)
        failed = [line for line in errors.splitlines() if line.startswith("failed: ")]
        assert command.returncode == 1 and "3 executed, 0 up to date, 1 failed" in errors, errors
        assert len(failed) == 1 and f"Slurm's job {cancelled} ended (CANCELLED); it printed to " in failed[0], failed
        assert [len(others.jobs(name)) for name in others.names] == [2, 2, 1]

        with others.start() as again:
            _, errors = again.communicate(timeout=600)
        assert again.returncode == 0 and "1 executed, 3 up to date, 0 failed" in errors, errors

        _, errors = limited_command.communicate(timeout=600)
        assert limited_command.returncode == 0 and "2 executed, 0 up to date, 0 failed" in errors, errors
        assert [len(set(limited.jobs(name))) for name in limited.names] == [1, 1], "the same jobs"
        assert [len(limited.jobs(name)) for name in limited.names] == [2, 2], "executed twice"
    assert all(run.is_finished() for sweep in (limited, others) for run in plan_sweep(sweep.file, profile="smoke"))
    assert not list(home.rglob("failed.ipynb"))


def test_ctrl_c_cancels_the_jobs_and_nobody_is_left_running(slurm, make_sweep):
    sweep = make_sweep("endless", "other")
    with sweep.start() as command:
        sweep.wait_until_begun()
        command.send_signal(signal.SIGINT)
        _, errors = command.communicate(timeout=60)
        assert command.returncode == 130, errors
    jobs = [job for name in sweep.names for job in sweep.jobs(name)]
    wait_until(lambda: {states(slurm)[job] for job in jobs} == {"CANCELLED"}, "cancelled jobs")
    daemons = {daemon.pid for daemon in slurm.daemons}
    wait_until(lambda: {process.pid for process in slurm.processes()} == daemons, "only the daemons")


def test_the_jobs_of_a_killed_command_go_on_and_the_same_command_waits_for_them(slurm, make_sweep, tmp_path):
    sweep = make_sweep("first", "second")
    with sweep.start() as command:
        sweep.wait_until_begun()
        command.kill()
    with sweep.start() as command:
        wait_until(lambda: list(states(slurm).values()).count("RUNNING") == 4, "jobs of both commands")
        (tmp_path / "go").touch()
        _, errors = command.communicate(timeout=120)
        assert command.returncode == 0 and "0 executed, 2 up to date, 0 failed" in errors, errors
    assert [len(sweep.jobs(name)) for name in sweep.names] == [1, 1], "nothing is executed twice"


def test_what_slurm_refuses_is_said_in_its_words(slurm, make_sweep):
    sweep = make_sweep("one", settings="{slurm_partition: nowhere}")
    with sweep.start() as command:
        _, errors = command.communicate(timeout=60)
    assert command.returncode == 1
    assert "Slurm refused the jobs: sbatch: error: invalid partition specified: nowhere" in errors


def test_the_examples_of_the_page_work_as_they_stand(slurm, tmp_path, home):
    folder = tmp_path / "checkout"
    program = folder / ".venv" / "bin" / "vidseg"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vidseg_utils.running.cli "$@"\n')
    program.chmod(0o755)
    (program.parent / "activate").write_text(f'PATH="{program.parent}:$PATH"\n')
    here = {"VIDSEG_HOME": str(home), "VIDSEG_PROFILE": "smoke", "PYTHONPATH": os.pathsep.join(sys.path)}
    variables = slurm.variables | here

    blocks = code_blocks("docs/cluster.md")
    (sweep,) = (block for block in blocks if "\nslurm: {" in block)
    (command,) = (block for block in blocks if block.startswith("vidseg sweep questions.yaml --executor slurm"))
    (job,) = (block for block in blocks if block.startswith("#!/bin/bash\n#SBATCH "))
    (folder / "questions.yaml").write_text(sweep)
    (folder / "job.sh").write_text(job)
    for line in (f". .venv/bin/activate && {command}", "sbatch --wait --output=job.out job.sh"):
        done = subprocess.run(line, shell=True, cwd=folder, env=variables, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr + (folder / "job.out").read_text() * (folder / "job.out").exists()
        if "sbatch" not in line:
            assert "4 executed, 0 up to date, 0 failed" in done.stderr
    assert (home / "runs" / "simvp_unet-smoke" / "metrics.json").is_file()


def test_generated_videos_and_scores_are_those_of_this_machine(slurm, tmp_path):
    sizes = ["--train", "4", "--val", "3", "--unlabeled", "2", "--hidden", "2"]
    files, scores = {}, {}
    for executor in ("local", "slurm"):
        home, where = tmp_path / executor, ["--profile", "smoke", "--executor", executor, "--jobs", "2"]
        variables = slurm.variables | {"VIDSEG_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
        for words in (["data", "generate", *sizes], ["evaluate", "copy_last"]):
            command = [sys.executable, "-m", "vidseg_utils.running.cli", *words, *where]
            done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stderr
        videos = [path for path in (home / "data" / "smoke").rglob("*.*") if path.suffix in (".png", ".npy")]
        files[executor] = {path.relative_to(home): path.read_bytes() for path in videos if ".cache" not in path.parts}
        scores[executor] = read_json(home / "runs" / "copy_last-smoke" / "metrics.json")["jaccard"]
    assert files["local"] == files["slurm"] and len(files["local"]) > 11
    assert scores["local"] == scores["slurm"]
