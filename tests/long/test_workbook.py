"""Proves that the whole workbook runs from nothing in the order of its graph, and that the graph says what happens."""

import itertools
import os
import subprocess
import sys

import nbformat
import pytest

from vidseg_utils.paths import runs_dir
from vidseg_utils.running.run_record import NotebookRun, read_record
from vidseg_utils.running.workbook import notebooks_before, workbook


def vidseg(*arguments):
    """Execute a command at profile smoke."""
    command = [sys.executable, "-m", "vidseg_utils.running.cli", *map(str, arguments), "--profile", "smoke"]
    return subprocess.run(command, capture_output=True, text=True, timeout=3600)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The environment has a home in which the workbook has run, two notebooks at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDSEG_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        done = vidseg("run", "--all", "--jobs", 2)
        assert done.returncode == 0, done.stderr[-3000:]
        yield


def ancestors(notebook):
    """The lessons that come before a lesson in the graph, at any distance."""
    before = set(notebooks_before(notebook))
    return before.union(*map(ancestors, before))


def test_two_notebooks_that_run_at_once_share_only_parts_that_are_trained_before(executed):
    parts = {path: set(read_record(NotebookRun(path, "smoke").folder)["parts"]) for path in workbook()}
    for first, second in itertools.combinations(parts, 2):
        if first not in ancestors(second) and second not in ancestors(first):
            earlier = set().union(*(parts[path] for path in ancestors(first) & ancestors(second)))
            assert parts[first] & parts[second] <= earlier, (first.stem, second.stem)


def test_with_nothing_to_do_the_command_takes_under_five_seconds(executed):
    before = os.times()
    done = vidseg("run", "--all")
    after = os.times()
    seconds = after.children_user - before.children_user + after.children_system - before.children_system
    assert seconds < 5, "of the processor: other work on the machine does not count"
    assert done.returncode == 0 and done.stdout.count(": up to date\n") == len(workbook()), done.stdout


def test_lesson_05_shows_a_sweep_file_of_ones_own_with_the_spread_over_its_seeds(executed, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("question: Is it?\nnotebook: system\ngrid: {SYSTEM: [copy_last, unet_copy_last]}\nseeds: [0, 1]\n")
    done = vidseg("sweep", file, "--jobs", 2)
    assert done.returncode == 0 and "| setting | runs | jaccard | spread |" in done.stdout, done.stderr[-3000:]
    done = vidseg("run", "05", "-p", f"SWEEP={file}", "--run", "own")
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [o for c in nbformat.read(runs_dir() / "own" / "executed.ipynb", 4).cells for o in c.get("outputs", [])]
    shown = "\n".join(output.get("data", {}).get("text/markdown", "") for output in outputs)
    assert "| Is it? | mine | system | smoke | 4 of 4 |" in shown
    table = shown.split("| setting | runs | jaccard | spread |")[1]
    assert "SYSTEM=copy_last** | **2** |" in table and "SYSTEM=unet_copy_last | 2 |" in table
