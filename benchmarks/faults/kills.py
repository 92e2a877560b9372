"""Kill commands at random moments, start them again, and compare their files with those of an uninterrupted run.

Each command runs in a home folder of its own. One process is killed, as by the out-of-memory killer or a closed
terminal: the command, whose workers and kernels must end by themselves, or the kernel of a notebook that trains. Part
of benchmarks/reliability.py.
"""

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from tests.helpers import write_notebook

ROOT = Path(__file__).resolve().parents[2]
SURVIVAL_SECONDS = 30.0  # within which every process that the killed command had started must have ended
FINISH_FACTOR, FINISH_SECONDS = 5.0, 60.0  # a command that takes longer than usual * factor + seconds hangs
KILL_AGAIN = 0.5  # probability that a command which was started again is killed once more
LEFTOVER = re.compile(r"\..*\.tmp.*|.*\.partial|\.executed\..*|vidseg-kernel-.*|failed\.ipynb")
# Files that rightly differ between two runs: locks, executed notebooks with their times, and the records of caches,
# which have random names or times of the source files. The arrays of the caches are compared.
DIFFERS = re.compile(r".*\.lock|executed\.ipynb")
CACHE_RECORD = re.compile(r"\.cache/[^/]*/(meta|progress|checked)\.json$")
TIMING = re.compile(r"seconds|_ms$|per_second")
SMOKE = ("--profile", "smoke")
SWEEP = "notebook: train.ipynb\nruns: [{EPOCHS: 1}, {EPOCHS: 2}]\n"
TRAINING = "tmp/training"  # in the home folder: written when the notebook begins to train
TRAIN_NOTEBOOK = (  # the parameters cell, and what it does
    'PROFILE: str = "auto"  # profile\nRUN: str = "auto"  # run folder\nEPOCHS: int = 8  # epochs',
    f"""
import os
from pathlib import Path
from vidseg_utils.running import record, setup
from vidseg_utils.systems import SegmenterRecipe
session = setup(PROFILE, notebook="train", run=RUN, sizes={{"unet.epochs": EPOCHS}})
(Path(os.environ["VIDSEG_HOME"]) / "{TRAINING}").touch()
network, history = SegmenterRecipe(session.workspace).train(session.run_folder)
record(session.run_folder, {{"jaccard": history[-1]["jaccard"]}})
""",
)


@dataclass(frozen=True)
class Command:
    """A command line whose words may hold {home}, and the commands that prepare its home folder."""

    arguments: tuple[str, ...]
    after: tuple[str, ...] = ()  # names of the commands that run before it
    victim: str = ""  # a word of the command line of the process that is killed; "": the command itself
    begins: str = ""  # file in the home folder, with which the time begins in which it is killed; "": at once


_GENERATE = ("data", "generate", "--train", "4", "--val", "3", "--unlabeled", "2", "--hidden", "3", "--processes", "2")
_EPOCHS = ("--size", "unet.epochs=3", "--size", "simvp.epochs=3")
COMMANDS = {
    "generate": Command((*_GENERATE, *SMOKE)),
    "train": Command(("train", "simvp_unet", *SMOKE, *_EPOCHS), ("generate",)),
    "evaluate": Command(("evaluate", "simvp_unet", *SMOKE), ("generate", "train")),
    "predict": Command(("predict", "simvp_unet", *SMOKE, "--out", "{home}/masks.pt"), ("generate", "train")),
    "sweep": Command(("sweep", "{home}/models.yaml", *SMOKE, "--jobs", "2"), ("generate",)),
    "kernel": Command(("run", "{home}/train.ipynb", *SMOKE), ("generate",), victim="ipykernel", begins=TRAINING),
}


@dataclass
class Counts:
    """What happened to one command."""

    kills: int = 0
    finished: int = 0  # times that the command was started again until it ended
    findings: list[str] = field(default_factory=list)


def kill_command(name: str, n_kills: int, *, work: Path, rng: random.Random, on_kill: Callable[[], object]) -> Counts:
    """Kill the command `name` that many times in all, and finish it after one to three kills."""
    counts, home, prepared = Counts(), work / name, work / f"{name}.prepared"
    prepared.mkdir()
    (prepared / "models.yaml").write_text(SWEEP)
    write_notebook(prepared / "train.ipynb", *TRAIN_NOTEBOOK)
    for earlier in COMMANDS[name].after:
        code, text = _finish(_start(earlier, prepared), prepared, 600)
        if code:
            raise RuntimeError(f"cannot prepare {name}: {earlier}: {text}")
    shutil.copytree(prepared, home, symlinks=True)
    process = _start(name, home)
    start = _wait_until_it_begins(process, home, name)
    code, text = _finish(process, home, 600)
    usual_seconds = time.perf_counter() - start
    if code:
        raise RuntimeError(f"{name} fails without a kill: {text}")
    expected = digest_files(home)
    while counts.kills < n_kills:
        shutil.rmtree(home)
        shutil.copytree(prepared, home, symlinks=True)
        history = []
        while counts.kills < n_kills and (not history or rng.random() < KILL_AGAIN):
            process = _start(name, home)
            seconds = rng.uniform(0, usual_seconds)
            _wait_until_it_begins(process, home, name)
            if _kill(process, seconds, victim=COMMANDS[name].victim):
                counts.kills += 1
                on_kill()
            code, text = _finish(process, home, FINISH_SECONDS)
            if COMMANDS[name].victim and not (code == 0 or (code == 1 and "the kernel died" in text)):
                counts.findings.append(f"{name}: exit code {code} after its process was killed: {text}")
            history.append(f"{seconds:.1f} s")
            if survivors := _end_survivors(home):
                counts.findings.append(f"{name} killed after {', '.join(history)}: still running: {survivors}")
        code, text = _finish(_start(name, home), home, usual_seconds * FINISH_FACTOR + FINISH_SECONDS)
        counts.finished += 1
        faults = [f"exit code {code}: {text}"] if code else compare_digests(expected, digest_files(home))
        faults += [
            f"left behind: {path.relative_to(home)}" for path in home.rglob("*") if LEFTOVER.fullmatch(path.name)
        ]
        if survivors := _end_survivors(home):
            faults.append(f"still running after the end: {survivors}")
        counts.findings += [f"{name} killed after {', '.join(history)}: {fault}" for fault in faults]
    shutil.rmtree(home)
    shutil.rmtree(prepared)
    return counts


def _start(name: str, home: Path) -> subprocess.Popen:
    """Start a command in a process group of its own, with its home, temporary folder and messages in `home`."""
    temporary = home / "tmp"
    temporary.mkdir(exist_ok=True)
    (home / TRAINING).unlink(missing_ok=True)
    arguments = [word.format(home=home) for word in COMMANDS[name].arguments]
    environment = os.environ | {"VIDSEG_HOME": str(home), "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    with _messages(home).open("w") as messages:
        return subprocess.Popen(
            [sys.executable, "-m", "vidseg_utils.running.cli", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            start_new_session=True,
        )


def _wait_until_it_begins(process: subprocess.Popen, home: Path, name: str) -> float:
    """Wait until the command has written the file with which its time begins -> the time."""
    while COMMANDS[name].begins and not (home / COMMANDS[name].begins).exists() and process.poll() is None:
        time.sleep(0.02)
    return time.perf_counter()


def _kill(process: subprocess.Popen, seconds: float, *, victim: str) -> bool:
    """Kill the command, or its child with the word `victim`, after so many seconds -> whether it was still running."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        pass
    if not victim:
        process.kill()
        return True
    children = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in children:
            if any(victim in word for word in child.cmdline()):
                child.kill()
                return True
    return False


def _messages(home: Path) -> Path:
    return home.with_name(f"{home.name}.messages")


def _finish(process: subprocess.Popen, home: Path, seconds: float) -> tuple[int | str, str]:
    """Wait for a command -> its exit code ("hangs" after so many seconds) and the last line that it printed."""
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        code = "hangs"
    lines = re.split(r"[\r\n]+", _messages(home).read_text(errors="replace").strip())
    return code, lines[-1][-300:]


def _end_survivors(home: Path) -> str:
    """The processes of this home that outlive a killed command for too long, which are then killed."""
    limit = time.monotonic() + SURVIVAL_SECONDS
    while processes := _processes(home):
        if time.monotonic() > limit:
            names = ", ".join(sorted({" ".join(process.cmdline())[-80:] for process in processes}))
            for process in processes:
                process.kill()
            psutil.wait_procs(processes, 10)
            return names
        time.sleep(0.1)
    return ""


def _processes(home: Path) -> list[psutil.Process]:
    """The living processes whose $VIDSEG_HOME is `home`, also those that have left the process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("VIDSEG_HOME") == str(home):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def digest_files(home: Path) -> dict[str, str]:
    """Path below `home` -> digest of the content, without timings; for the files that two runs must share."""
    paths = {str(path.relative_to(home)): path for path in sorted(home.rglob("*")) if path.is_file()}
    return {
        name: hashlib.sha256(_content(path)).hexdigest()
        for name, path in paths.items()
        if not name.startswith("tmp/")
        and not LEFTOVER.fullmatch(path.name)
        and not DIFFERS.fullmatch(path.name)
        and not CACHE_RECORD.search(name)
    }


def _content(path: Path) -> bytes:
    """The bytes of a file; for JSON without the timings, for .npz without the time of each entry."""
    if path.suffix == ".json":
        return json.dumps(_without_timings(json.loads(path.read_text())), sort_keys=True).encode()
    if path.suffix == ".jsonl":
        rows = [_without_timings(json.loads(line)) for line in path.read_text().splitlines()]
        return json.dumps(rows, sort_keys=True).encode()
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return b"".join(
                f"{key} {arrays[key].dtype} {arrays[key].shape}".encode() + arrays[key].tobytes() for key in arrays
            )
    return path.read_bytes()


def _without_timings(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_timings(item) for key, item in value.items() if not TIMING.search(key)}
    return value


def compare_digests(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """The files that are missing, additional or different."""
    faults = [f"{name} is missing" for name in expected.keys() - found.keys()]
    faults += [f"{name} is additional" for name in found.keys() - expected.keys()]
    return faults + [f"{name} differs" for name in expected.keys() & found.keys() if expected[name] != found[name]]
