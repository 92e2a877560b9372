"""Proves that a notebook runs by papermill alone, from any folder into any other, that parameters are listed, and that
the cell after the parameters refuses what papermill lets through.
"""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import IPython
import nbformat
import pytest
from click.testing import CliRunner
from papermill.cli import papermill

from vidseg_utils.running import setup
from vidseg_utils.running.notebook_file import known_parameters

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))  # and the template, and what sweeps over systems execute


@pytest.mark.slow
def test_papermill_alone_executes_a_notebook_and_its_setup_refuses_nonsense(tmp_path, home):
    (tmp_path / "elsewhere").mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "template.ipynb")]

    def run(*arguments):
        return subprocess.run(
            [*command, *arguments],
            cwd=tmp_path / "elsewhere",
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    done = run(str(tmp_path / "out.ipynb"), "-p", "PROFILE", "smoke", "-p", "NOISE", "10")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out.ipynb").is_file() and (home / "runs" / "template-smoke" / "metrics.json").is_file()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    done = run(str(tmp_path / "refused.ipynb"), "-p", "PROFILE", "smoke", "-p", "WINDOW", "abc")
    assert done.returncode != 0
    assert "ValueError: template: parameter WINDOW takes int, not str 'abc'; with papermill: -p WINDOW 3" in done.stderr


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_parameters_of_a_lesson_are_listed_with_type_default_and_comment(path):
    shown = CliRunner().invoke(papermill, ["--help-notebook", str(path)])
    assert shown.exit_code == 0
    lines = " ".join(shown.output.split())
    (cell,) = (c for c in nbformat.read(path, as_version=4).cells if "parameters" in c.metadata.get("tags", []))
    for name, line in zip(known_parameters(path), cell.source.splitlines(), strict=True):
        declaration, comment = line.split("  # ")
        kind, default = declaration.removeprefix(f"{name}: ").split(" = ")
        assert f"{name}: {kind} (default {default}) {comment}" in lines


def execute_setup_with(path, name, value, monkeypatch):
    """Execute a lesson's parameters cell, papermill's cell with one value, and the cell after it, in this process."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    number = next(number for number, source in enumerate(cells) if source.startswith("PROFILE: "))
    added = f"# Parameters\n{name} = {value!r}\n"
    variables = {"setup": setup}
    exec(cells[number], variables)
    exec(added, variables)
    history = SimpleNamespace(input_hist_parsed=[cells[number], added])
    shell = SimpleNamespace(history_manager=history, user_ns=variables)
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    exec(cells[number + 1], variables)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_cell_after_the_parameters_names_each_value_of_a_wrong_type(path, home, monkeypatch):
    for name, (kind, _) in known_parameters(path).items():
        wrong = 3.5 if kind is str else "abc"
        message = rf"{path.stem}: parameter {name} takes {kind.__name__}, not .* {wrong!r}; with papermill: -. '?{name}"
        with pytest.raises(ValueError, match=message):
            execute_setup_with(path, name, wrong, monkeypatch)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_cell_after_the_parameters_refuses_unknown_names_and_profiles(path, home, monkeypatch):
    with pytest.raises(ValueError, match=rf"{path.stem} has no parameter 'TRAIN'; choose from \['.*'PROFILE'"):
        execute_setup_with(path, "TRAIN", 3, monkeypatch)
    with pytest.raises(ValueError, match=r"unknown profile 'nope'; choose from \['colab', 'cpu'"):
        execute_setup_with(path, "PROFILE", "nope", monkeypatch)
