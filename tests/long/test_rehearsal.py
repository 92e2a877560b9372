"""Proves that the benchmarks for a GPU run to their end on any machine, so that they do so where a GPU is lent."""

import json
import os
import subprocess
import sys
from pathlib import Path

from vidseg_utils.running.workbook import workbook

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(script, *arguments, folder):
    """Run a benchmark from another folder, without the package in the path: as on a bare machine."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, BENCHMARKS / script, "--out", folder / "report.json", *arguments]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads((folder / "report.json").read_text())


def test_every_stage_of_the_gpu_benchmark_runs_at_smoke_sizes(tmp_path):
    report = run("gpu.py", "--smoke", "--device", "cpu", "--minutes", "20", folder=tmp_path)
    for name, stage in report["stages"].items():
        assert not stage["error"], (name, stage)
        assert stage["rows"] and not any("error" in row for row in stage["rows"]), (name, stage)


def test_every_lesson_is_rehearsed_at_profile_smoke(tmp_path):
    report = run("rehearse_gpu.py", "--profile", "smoke", "--jobs", "2", "--minutes", "25", folder=tmp_path)
    assert [lesson["lesson"] for lesson in report["lessons"]] == [path.stem for path in workbook()]
    assert not any(lesson["error"] for lesson in report["lessons"])


def test_what_is_not_done_in_time_is_said(tmp_path):
    variables = {**os.environ, "PYTHONPATH": ""}
    command = [
        sys.executable,
        BENCHMARKS / "rehearse_gpu.py",
        "--profile",
        "smoke",
        "--only",
        "01",
        "--minutes",
        "0.02",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "01_data_exploration: not done in time" in done.stdout
