"""Tiny notebooks to run, whose cells need nothing but Python, and the command line in this process."""

import sys

import pytest

from tests.helpers import write_notebook
from vidseg_utils.running import cli

PARAMETERS = """
PROFILE: str = "auto"  # profile
RUN: str = "auto"  # run folder
EPOCHS: int = 2  # epochs
RATE: float = 1e-3  # learning rate
LOSS: str = "mse"  # loss
FLIP: bool = False  # mirror
SIZES: list[int] = [1, 2]  # sizes
"""


@pytest.fixture
def make_notebook(tmp_path):
    """make_notebook("name", "code", …) -> path of a notebook with a title, the parameters cell and these code cells."""

    def make(name: str, *sources: str, parameters: str = PARAMETERS):
        return write_notebook(tmp_path / f"{name}.ipynb", parameters, *sources)

    return make


@pytest.fixture
def vidseg(monkeypatch, capsys, tmp_path):
    """Run a command line in this process: (exit code, what it printed, its errors)."""
    monkeypatch.setenv("VIDSEG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["vidseg", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (end.value.code, *capsys.readouterr())

    return call


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
