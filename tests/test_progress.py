"""Proves that a bar is one output of text in a notebook, one line in the file of `vidseg run`, and tqdm's elsewhere."""

import pytest
from IPython.display import DisplayHandle

from tests.helpers import full_disk
from vidseg_utils import progress
from vidseg_utils.progress import PROGRESS_FILE, NotebookOutput, ProgressBar


def test_a_bar_goes_to_stderr_without_a_notebook(monkeypatch, capsys):
    monkeypatch.delenv(PROGRESS_FILE, raising=False)
    list(ProgressBar(range(3), desc="counting"))
    assert "counting: 100%" in capsys.readouterr().err


def test_the_file_holds_the_last_line_and_is_empty_afterwards(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "line.txt"))
    with ProgressBar(total=4, desc="counting", mininterval=0) as bar:
        bar.update(2)
        line = (tmp_path / "line.txt").read_text()
        assert line.startswith("counting:  50%") and "\n" not in line and len(line) <= progress.LINE_CHARACTERS
    assert (tmp_path / "line.txt").read_text() == "" and capsys.readouterr().err == ""


def test_the_command_that_reads_the_file_may_have_ended(monkeypatch, tmp_path):
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "gone" / "line.txt"))
    list(ProgressBar(range(3)))


def test_a_full_disk_stops_no_work(monkeypatch, tmp_path):
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "line.txt"))
    with full_disk(0):
        assert list(ProgressBar(range(3))) == [0, 1, 2]


@pytest.mark.parametrize("disabled", [True, False])
def test_a_notebook_gets_one_output_that_is_replaced(monkeypatch, disabled):
    shown = []
    monkeypatch.setattr(progress, "_find_output", NotebookOutput)

    def display(bundle, **_):
        shown.append(("new", bundle["text/plain"]))
        return DisplayHandle()

    def update(handle, bundle, **_):
        shown.append(("again", bundle["text/plain"]))

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(DisplayHandle, "update", update)
    list(ProgressBar(range(3), desc="counting", mininterval=0, disable=disabled))
    assert [kind for kind, _ in shown] == ([] if disabled else ["new", *["again"] * (len(shown) - 1)])
    assert disabled or shown[-1][1].startswith("counting: 100%")
