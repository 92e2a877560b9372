"""Damage files of every kind at random and read them: each must be read right, or refused by one line of text.

A worker process may use 1 GB of memory and 5 seconds of processor time for an input. Part of benchmarks/reliability.py.
"""

import contextlib
import dataclasses
import json
import logging
import multiprocessing
import os
import random
import resource
import shutil
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from benchmarks.faults.kinds import KINDS
from tests.mutations import damage_tree, mutate, mutate_value, with_right_checksums

MEMORY_BYTES = 1 << 30  # that an input may cost beyond what the worker holds
CPU_SECONDS, WAITING_SECONDS = 5.0, 60.0  # of an input; waiting is long, because the machine may be busy
CLASSES = 49


class TooSlow(BaseException):
    """An input took too much time; not an Exception, so that no reader catches it."""


@dataclasses.dataclass
class Result:
    """What happened to the inputs of one kind."""

    read: int = 0
    refused: int = 0
    findings: list[str] = dataclasses.field(default_factory=list)


def damage(folder: Path, kind: str, rng: random.Random) -> str:
    """Damage one file of an input -> its name."""
    path = rng.choice(sorted(folder.glob(KINDS[kind].damaged)))
    if kind == "folder":
        with contextlib.suppress(OSError):  # the damage itself may be impossible
            damage_tree(path, rng)
        return path.name
    good = path.read_bytes()
    if path.suffix == ".json" and rng.random() < 0.5:
        bad = json.dumps(mutate_value(json.loads(good), rng)).encode()
    elif path.suffix == ".yaml" and rng.random() < 0.3:
        bad = huge_sweep(rng).encode()
    elif path.suffix == ".png" and rng.random() < 0.5:
        bad = with_right_checksums(mutate(good, rng, last=rng.choice((80, None))))
    else:  # the pixels of a cache and of masks have no checksum: only their headers are damaged
        bad = mutate(good, rng, last=128 if path.suffix == ".npy" else None)
    path.write_bytes(bad)
    return path.name


def huge_sweep(rng: random.Random) -> str:
    """A sweep file that is small and asks for very much: a large grid, or anchors that multiply."""
    if rng.random() < 0.5:
        values = list(range(10 ** rng.randrange(1, 4)))
        return f"notebook: '02'\ngrid: {json.dumps({f'P{n}': values for n in range(rng.randrange(1, 12))})}\n"
    depth, width = rng.randrange(3, 40), rng.randrange(2, 12)
    lines = ["a0: &a0 [1, 2]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
    return "\n".join(["notebook: '02'", *lines, f"grid: {{EPOCHS: *a{depth - 1}}}"]) + "\n"


def try_inputs(kind: str, n_inputs: int, *, seed: int, work: Path, on_input: Callable[[], object]) -> Result:
    """Read `n_inputs` damaged inputs of a kind. A worker that dies is a finding, and another one goes on."""
    result, done, context = Result(), 0, multiprocessing.get_context("spawn")
    os.environ["TQDM_DISABLE"] = "1"  # for the workers
    while done < n_inputs:
        receiving, sending = context.Pipe(duplex=False)
        arguments = (kind, range(done, n_inputs), seed, work / f"input.{kind}", sending)
        worker = context.Process(target=_work, args=arguments)
        worker.start()
        sending.close()
        outcome = ""
        while done < n_inputs:
            try:
                outcome = receiving.recv() if receiving.poll(WAITING_SECONDS) else "does not end"
            except EOFError:
                worker.join()
                outcome = f"the process died with exit code {worker.exitcode}"
            result.read += outcome == "read"
            result.refused += outcome == "refused"
            if outcome not in ("read", "refused"):
                result.findings.append(f"{kind} {done} (seed {seed}): {outcome}")
            done += 1
            on_input()
            if not worker.is_alive() or outcome == "does not end":
                break
        if outcome == "does not end":
            worker.kill()
        worker.join()
        shutil.rmtree(work / f"input.{kind}", ignore_errors=True)
    return result


def _work(kind: str, cases: range, seed: int, folder: Path, sending: Connection) -> None:
    torch.set_num_threads(1)
    logging.disable()  # skipped videos are logged
    good, bad = folder / "good", folder / "bad"
    shutil.rmtree(folder, ignore_errors=True)
    good.mkdir(parents=True)
    KINDS[kind].make(good)
    shutil.copytree(good, bad)
    KINDS[kind].read(bad)  # the undamaged input, which also imports what the reader needs
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, _stop)
    for case in cases:
        shutil.rmtree(bad)
        shutil.copytree(good, bad)
        damaged = damage(bad, kind, random.Random(f"{seed} {kind} {case}"))
        outcome = _outcome(kind, bad)
        sending.send(outcome if outcome in ("read", "refused") else f"{damaged}: {outcome}")


def _stop(number: int, frame: object) -> None:
    raise TooSlow


def _outcome(kind: str, folder: Path) -> str:
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        KINDS[kind].read(folder)
    except (ValueError, OSError) as error:
        text = str(error)
        return "refused" if text and "\n" not in text and not isinstance(error, UnicodeError) else f"{error!r:.200}"
    except AssertionError as error:
        return f"read wrong: {error}"
    except TooSlow:
        return f"takes more than {CPU_SECONDS} s"
    except BaseException as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "read"
