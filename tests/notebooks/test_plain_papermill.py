"""Proves that a notebook runs by papermill alone, from any folder into any other, and that parameters are listed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_papermill_alone_executes_a_notebook_and_lists_its_parameters(tmp_path, home):
    (tmp_path / "elsewhere").mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "template.ipynb")]

    def papermill(*arguments):
        return subprocess.run(
            [*command, *arguments],
            cwd=tmp_path / "elsewhere",
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    done = papermill(str(tmp_path / "out.ipynb"), "-p", "PROFILE", "smoke", "-p", "NOISE", "10")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out.ipynb").is_file() and (home / "runs" / "template-smoke" / "metrics.json").is_file()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    text = papermill("--help-notebook").stdout
    assert "NOISE: float (default 25.0)" in text and "standard deviation of the noise" in text
