"""Measure what executing notebooks costs beyond the notebooks: one run, and a sweep of many on dask.

    python benchmarks/batch_overhead.py              # 200 runs: some minutes
    python benchmarks/batch_overhead.py --runs 20

The notebook is empty, so all of its time is overhead. The start of a kernel is a process that imports ipykernel; nobody
can do without. It is measured before and after the sweep, one kernel at a time. Asked of a run from the command line:
at most 3 s. Asked of the sweep: at most 1.5 times the start of a kernel for each run of a worker.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

N_WORKERS = 2
N_REPEATS = 5  # of what takes seconds
MOST_SECONDS, MOST_RATIO = 3.0, 1.5
PARAMETERS = 'PROFILE: str = "auto"  # profile\nRUN: str = "auto"  # run folder\nNUMBER: int = 0  # of the run'


def start_kernel() -> float:
    """Seconds until a new kernel answers."""
    from vidseg_utils.running.kernel import KERNEL_NAME, OwnKernelManager, kernel_config, kernel_folder

    async def start(folder: Path) -> float:
        started = time.perf_counter()
        manager = OwnKernelManager(kernel_name=KERNEL_NAME, config=kernel_config(folder))
        await manager.start_kernel()
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready()
        seconds = time.perf_counter() - started
        client.stop_channels()
        await manager.shutdown_kernel()
        return seconds

    with kernel_folder() as folder:
        return asyncio.run(start(folder))


def run_command(notebook: Path) -> float:
    """Seconds of `vidseg run`."""
    command = [sys.executable, "-m", "vidseg_utils.running.cli", "run", str(notebook), "--profile", "smoke"]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def run_sweep(notebook: Path, n_runs: int) -> float:
    """Seconds of a sweep on a dask cluster that is already there."""
    from distributed import LocalCluster

    from vidseg_utils.running import execute_sweep

    sweep = notebook.with_name("empty.yaml")
    sweep.write_text(f"notebook: {notebook}\ngrid: {{NUMBER: {list(range(n_runs))}}}\n")
    with LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=None) as cluster:
        where = {"executor": "dask", "scheduler": cluster.scheduler_address, "progress": False}
        started = time.perf_counter()
        outcomes = execute_sweep(sweep, profile="smoke", **where)
        seconds = time.perf_counter() - started
    if errors := [outcome.error for outcome in outcomes if outcome.error]:
        raise RuntimeError(f"{len(errors)} of {n_runs} runs failed: {errors[0]}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="of the sweep; default 200")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vidseg-overhead-") as folder:
        os.environ["VIDSEG_HOME"] = folder
        notebook = Path(folder) / "empty.ipynb"
        cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
        nbformat.write(new_notebook(cells=cells, metadata={"language_info": {"name": "python"}}), notebook)
        start_kernel()  # files are read for the first time
        kernels = [start_kernel() for _ in range(N_REPEATS)]
        command = statistics.median(run_command(notebook) for _ in range(N_REPEATS))
        sweep = run_sweep(notebook, options.runs)
        kernels += [start_kernel() for _ in range(N_REPEATS)]
    kernel, n_each = statistics.median(kernels), options.runs / N_WORKERS
    print(f"start of a kernel: {kernel:.2f} s ({min(kernels):.2f} to {max(kernels):.2f})")
    print(f"vidseg run of an empty notebook: {command:.2f} s (asked: at most {MOST_SECONDS:.0f} s)")
    print(f"sweep of {options.runs} empty runs, {N_WORKERS} workers: {sweep:.1f} s, {sweep / n_each:.2f} s a run")
    print(
        f"  = {sweep / n_each / kernel:.2f} starts of a kernel for each run of a worker (asked: at most {MOST_RATIO})"
    )


if __name__ == "__main__":
    main()
