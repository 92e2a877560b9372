"""Proves that the whole workbook runs from nothing in the order of its graph, and that the graph says what happens."""

import itertools
import os
import subprocess
import sys

import pytest

from vidseg_utils.running.run_record import NotebookRun, read_record
from vidseg_utils.running.workbook import notebooks_before, workbook


def run_all(*arguments):
    command = [sys.executable, "-m", "vidseg_utils.running.cli", "run", "--all", "--profile", "smoke", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=3600)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The environment has a home in which the workbook has run, two notebooks at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDSEG_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        done = run_all("--jobs", "2")
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
    done = run_all()
    after = os.times()
    seconds = after.children_user - before.children_user + after.children_system - before.children_system
    assert seconds < 5, "of the processor: other work on the machine does not count"
    assert done.returncode == 0 and done.stdout.count(": up to date\n") == len(workbook()), done.stdout
