"""Measure on a GPU all that should be fast there, within some minutes: a line for each figure, and a file gpu.json.

    python benchmarks/gpu.py                          # on an H100 or H200 with 16 cores
    python benchmarks/gpu.py --minutes 10 --only fit live
    python benchmarks/gpu.py --smoke                  # tiny sizes on any machine: does all of it run?

Each stage is a process of its own with a share of the time. If one fails or takes too long, what it has measured by
then is kept. The internet is not used; `bare_machine.sh` helps where packages are missing. A figure holds only with the
name of its card: compare figures of one call.
"""

import argparse
import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package and the benchmarks, also if not installed
from benchmarks.on_gpu.scales import FULL, SMOKE
from benchmarks.on_gpu.stages import STAGES, Bench
from vidseg_utils.device import find_device
from vidseg_utils.training.machine import describe_machine

SMALLEST_SHARE_SECONDS = 10.0  # of a stage; importing torch alone takes some of them


def run_stage(name: str, rows: Path, bench: Bench) -> None:
    """Write what a stage measures, a line of JSON for each figure. Raises what it raises."""
    with rows.open("w", encoding="utf-8") as file:
        for row in STAGES[name][0](bench):
            if "line" in row:
                print(row["line"], flush=True)
            print(json.dumps(row), file=file, flush=True)


def start_stage(name: str, work: Path, seconds: float, *, smoke: bool, device: str) -> dict[str, Any]:
    """Run a stage in a process of its own, and end all its processes when the time is over."""
    rows, log = work / f"{name}.jsonl", work / f"{name}.log"
    command = [
        sys.executable,
        __file__,
        "--stage",
        name,
        "--work",
        str(work),
        "--seconds",
        f"{seconds:.1f}",
        "--device",
        device,
    ]
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen([*command, *["--smoke"] * smoke], stderr=errors, start_new_session=True)
        try:
            code = process.wait(seconds)
            error = "" if code == 0 else _last_line(log) or f"exit code {code}"
        except subprocess.TimeoutExpired:
            error = f"not done after {seconds:.0f} s"
        finally:
            _end(process)
    measured = [json.loads(line) for line in rows.read_text().splitlines()] if rows.is_file() else []
    return {"seconds": round(time.monotonic() - started, 1), "error": error, "rows": measured}


def _end(process: subprocess.Popen) -> None:
    """Kill what is left of the stage's processes: it is the leader of their group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").strip().splitlines()
    return lines[-1][:300] if lines else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="of all stages together; default 5")
    parser.add_argument("--only", nargs="+", choices=list(STAGES), default=list(STAGES), help="only these stages")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="default gpu.json")
    parser.add_argument("--device", default=str(find_device()), help="default: cuda if there is a GPU")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that all of it runs")
    parser.add_argument("--work", type=Path, help="folder for data and runs, which is kept; default: a temporary one")
    parser.add_argument("--stage", choices=list(STAGES), help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        scale = SMOKE if options.smoke else FULL
        bench = Bench(options.work, scale, torch.device(options.device), time.monotonic() + options.seconds)
        faulthandler.dump_traceback_later(options.seconds * 0.97)  # the log then says what took too long
        return run_stage(options.stage, options.work / f"{options.stage}.jsonl", bench)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # and the stage that runs with it
    with tempfile.TemporaryDirectory(prefix="vidseg-gpu-") as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        report: dict[str, Any] = {"machine": describe_machine(), "minutes": options.minutes, "stages": {}}
        print(report["machine"], flush=True)
        ends = time.monotonic() + 60 * options.minutes
        for index, name in enumerate(options.only):
            shares = [STAGES[other][1] for other in options.only[index:]]
            seconds = max((ends - time.monotonic()) * shares[0] / sum(shares), SMALLEST_SHARE_SECONDS)
            print(f"\n## {name}, at most {seconds:.0f} s", flush=True)
            result = start_stage(name, work, seconds, smoke=options.smoke, device=options.device)
            report["stages"][name] = result
            print(f"{name}: {result['error'] or 'done'} after {result['seconds']} s", flush=True)
            options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
