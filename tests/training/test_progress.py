"""Proves that a training shows epoch, loss, metric and time left, and in a notebook its curves as one plain picture."""

import os
import sys

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.helpers import toy_fit
from vidseg_utils.progress import PROGRESS_FILE
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.progress import TrainingBar

CELLS = """
from pathlib import Path
from tests.helpers import toy_fit
from vidseg_utils.training import draw_curves_with
from vidseg_utils.visualisation import training_curves_png
draw_curves_with(training_curves_png)
_ = toy_fit(Path("run"), epochs=3)
"""


def test_the_line_holds_epoch_loss_metric_and_time_left(tmp_path, capsys):
    toy_fit(tmp_path / "run", epochs=3)
    text = capsys.readouterr().err
    assert "run, epoch 2/3: " in text and " left, loss " in text and ", accuracy " in text and "validating" in text
    assert "run: trained in " in text and " of 3" in text.splitlines()[-1]


def test_time_left_does_not_count_the_wait_for_the_first_batch():
    with TrainingBar("run", FitConfig(epochs=2), [], n_batches=4, show=True) as bar:
        bar.start_t -= 1000
        bar.update()
        assert bar.format_dict["elapsed"] < 500 and bar.format_dict["initial"] == 1
        bar.start_t -= 1000
        bar.update()
        assert bar.format_dict["elapsed"] > 500 and bar.format_dict["initial"] == 1


def test_the_summary_of_a_training_is_printed_where_the_line_goes_to_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "line.txt"))
    _, history = toy_fit(tmp_path / "run", epochs=3)
    best = max(history, key=lambda row: row["accuracy"])
    shown = capsys.readouterr()
    assert shown.err == "" and shown.out.count("\n") == 1
    assert f"best accuracy {best['accuracy']:.4g} in epoch {best['epoch']} of 3" in shown.out
    toy_fit(tmp_path / "run", epochs=3)
    assert capsys.readouterr().out == "", "a finished run is loaded, not trained"


@pytest.mark.parametrize("drawn", [True, False])
def test_a_notebook_is_left_with_one_picture_or_line_and_no_widgets(tmp_path, monkeypatch, drawn):
    monkeypatch.delenv(PROGRESS_FILE, raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    source = CELLS if drawn else CELLS.replace("draw_curves_with(training_curves_png)", "")
    path = tmp_path / "n.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
    papermill.execute_notebook(str(path), str(path), kernel_name="python3", cwd=str(tmp_path), progress_bar=False)
    notebook = nbformat.read(path, as_version=4)
    (output,) = notebook.cells[0].outputs
    assert set(output.data) == ({"text/plain", "image/png"} if drawn else {"text/plain"})
    assert output.data["text/plain"].startswith("run: trained in ")
    assert "widgets" not in notebook.metadata


def test_a_resumed_training_goes_on_from_the_epochs_that_are_done(tmp_path, capsys):
    def validate(model, loader, device):
        if len(list((tmp_path / "run" / "last").glob("epoch_00002"))):
            raise KeyboardInterrupt
        return {"accuracy": 0.5}

    with pytest.raises(KeyboardInterrupt):
        toy_fit(tmp_path / "run", epochs=4, validate=validate)
    capsys.readouterr()
    toy_fit(tmp_path / "run", epochs=4)
    first = next(line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line.strip())
    assert first.startswith("run:  50%")
