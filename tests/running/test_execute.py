"""Proves that a notebook is executed into its run folder, that a failing cell is named, and that the source never
changes."""

import errno
import io
import os
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

from vidseg_utils.file_lock import lock_file
from vidseg_utils.paths import read_json
from vidseg_utils.progress import PROGRESS_FILE
from vidseg_utils.running import NotebookFailed, cell_progress, execute, kernel
from vidseg_utils.running.execute import _unformatted, adopt_outputs, execute_copy, execute_notebook

TRANSPORT = "from ipykernel.kernelapp import IPKernelApp\nprint(IPKernelApp.instance().transport)"


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_a_run_keeps_the_executed_notebook_and_its_parameters(home, make_notebook):
    path = make_notebook("02_small", "print(PROFILE, EPOCHS, LOSS)", TRANSPORT)
    before = path.read_bytes()
    (home / "runs" / "02_small-smoke").mkdir(parents=True)
    (home / "runs" / "02_small-smoke" / "failed.ipynb").touch()  # left by an earlier attempt
    folder = execute_notebook(path, profile="smoke", parameters={"EPOCHS": 7}, progress=False)
    assert folder == home / "runs" / "02_small-smoke"
    texts = [cell.outputs[0].text for cell in code_cells(folder / "executed.ipynb")[-2:]]
    assert texts == ["smoke 7 mse\n", "ipc\n"], "over TCP, kernels that start at once compete for ports"
    record = read_json(folder / "parameters.json")
    expected = {"notebook": "02_small", "path": str(path), "profile": "smoke", "parameters": {"EPOCHS": 7}}
    assert expected.items() <= record.items() and 0 < record["seconds"] < 60
    assert {entry.name for entry in folder.iterdir()} == {".executing.lock", "executed.ipynb", "parameters.json"}
    assert path.read_bytes() == before
    assert str(home) not in (folder / "executed.ipynb").read_text(), "no path of this machine in the notebook"


def test_a_kernel_ends_in_order(home, make_notebook, tmp_path):
    registered = f"import atexit\nfrom pathlib import Path\natexit.register(Path({str(tmp_path / 'exit')!r}).touch)"
    path = make_notebook(
        "02_small", registered, f"file = open({str(tmp_path / 'open')!r}, 'w')\n_ = file.write('text')"
    )
    executed = execute_notebook(path, profile="smoke", progress=False) / "executed.ipynb"
    assert (tmp_path / "exit").exists() and (tmp_path / "open").read_text() == "text"
    assert [cell.execution_count for cell in code_cells(executed)] == [1, 2, 3, 4], "the first cell is the first one"


def test_a_failing_cell_is_named_with_its_error_and_kept(home, make_notebook):
    path = make_notebook("03_fails", "good = 1", "\nheight = 162\nassert height % 4 == 0, 'pad to 164'")
    (home / "runs" / "03_fails-smoke").mkdir(parents=True)
    (home / "runs" / "03_fails-smoke" / "parameters.json").touch()  # of an earlier run that had finished
    with pytest.raises(NotebookFailed) as caught:
        execute_notebook(path, profile="smoke", parameters={"EPOCHS": 3}, progress=False)
    assert "03_fails.ipynb, cell 4 (`height = 162`): AssertionError: pad to 164" in str(caught.value)
    folder = home / "runs" / "03_fails-smoke"
    assert {entry.name for entry in folder.iterdir()} == {".executing.lock", "failed.ipynb"}
    assert str(folder / "failed.ipynb") in str(caught.value)


def test_a_failing_cell_is_named_even_where_its_copy_cannot_be_written(home, make_notebook, monkeypatch):
    def full(notebook, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(execute, "_write_without_widgets", full)
    with pytest.raises(
        NotebookFailed, match=r"n.ipynb, cell 3 .*: KeyError: 1; .*failed.ipynb cannot be written \(No space"
    ):
        execute_notebook(make_notebook("n", "{}[1]"), profile="smoke", progress=False)


def test_a_kernel_that_dies_is_named_with_its_cell(home, make_notebook):
    with pytest.raises(NotebookFailed, match=r"cell 3 \(`import os; os._exit\(9\)`\): DeadKernelError"):
        execute_notebook(make_notebook("n", "import os; os._exit(9)"), profile="smoke", progress=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "huge"}, "unknown profile 'huge'"),
        ({"parameters": {"EPOCH": 1}}, "has no parameter 'EPOCH'"),
        ({"parameters": {"PROFILE": "cpu"}}, "PROFILE cannot be given as a parameter"),
        ({"run": "../outside"}, "is not a plain folder name"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(home, make_notebook, arguments, message):
    with pytest.raises(ValueError, match=message):
        execute_notebook(make_notebook("n"), **{"profile": "smoke"} | arguments)
    assert not home.exists()


def test_a_run_folder_in_use_is_refused(home, make_notebook):
    folder = home / "runs" / "n-smoke"
    folder.mkdir(parents=True)
    with (
        lock_file(folder / ".executing.lock", purpose="it"),
        pytest.raises(ValueError, match=f"is in use by process {os.getpid()} on .*; wait until it has ended"),
    ):
        execute_notebook(make_notebook("n"), profile="smoke", progress=False)


@pytest.mark.parametrize("folder", ["group {7}", "run{}s"])
def test_braces_in_paths_are_no_parameters(monkeypatch, tmp_path, make_notebook, folder):
    monkeypatch.setenv("VIDSEG_HOME", str(tmp_path / folder))
    (tmp_path / folder).mkdir()
    path = make_notebook("n").rename(tmp_path / folder / "n{0}.ipynb")
    assert (execute_notebook(path, profile="smoke") / "executed.ipynb").is_file()
    assert _unformatted(tmp_path / folder).format(7) == str(tmp_path / folder)  # also in $TMPDIR


def test_a_long_folder_for_temporary_files_is_not_used_for_sockets(home, make_notebook, tmp_path, monkeypatch):
    long = tmp_path / ("scratch" * 20)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder = execute_notebook(make_notebook("n", TRANSPORT), profile="smoke", progress=False)
    assert code_cells(folder / "executed.ipynb")[-1].outputs[0].text == "ipc\n"
    monkeypatch.setattr(kernel, "_candidates", lambda: [])
    folder = execute_notebook(make_notebook("n", TRANSPORT), profile="smoke", progress=False)
    assert code_cells(folder / "executed.ipynb")[-1].outputs[0].text == "tcp\n"


def test_a_notebook_that_names_another_kernel_is_executed_by_this_interpreter(home, make_notebook):
    path = make_notebook("n", "import sys; print(sys.executable)")
    path.write_text(path.read_text().replace('"name": "python3"', '"name": "conda-env-vision-py"'))
    folder = execute_notebook(path, profile="smoke", progress=False)
    assert code_cells(folder / "executed.ipynb")[-1].outputs[0].text == f"{sys.executable}\n"
    path.write_text(path.read_text().replace('"language": "python"', '"language": "julia"'))
    with pytest.raises(ValueError, match=r"n\.ipynb is written in julia; only Python notebooks can be executed"):
        execute_notebook(path, profile="smoke", progress=False)


def test_a_notice_in_a_notebook_reaches_the_terminal(home, make_notebook, capsys):
    code = "import sys\nprint('waiting for run folder unet', file=sys.stderr)\nprint('noise', file=sys.stderr)"
    execute_notebook(make_notebook("n", code), profile="smoke", progress=False)
    assert capsys.readouterr().err == "waiting for run folder unet\n"


PROGRESS = """
import time
from vidseg_utils.progress import ProgressBar
for _ in ProgressBar(range(2), desc="counting"):
    time.sleep(1.5)
"""


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_progress_of_a_cell_is_shown_by_the_command_and_not_saved(home, make_notebook, monkeypatch, is_terminal):
    shown = io.StringIO()
    shown.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(cell_progress, "SECONDS_PER_LOG_LINE", 0.2)
    monkeypatch.setattr(cell_progress, "SECONDS_PER_UPDATE", 0.2)
    folder = execute_notebook(make_notebook("n", PROGRESS), profile="smoke")
    assert ("counting:  50%" if is_terminal else "\rn: counting:  50%") in shown.getvalue()
    assert code_cells(folder / "executed.ipynb")[-1].outputs == []
    assert PROGRESS_FILE not in os.environ


def test_a_notebook_can_have_another_run_folder_and_be_told_to_train_anew(home, make_notebook):
    path = make_notebook("n", "import os\nprint(RUN, os.environ['VIDSEG_AGAIN'])")
    folder = execute_notebook(path, profile="smoke", run="six", again=True, progress=False)
    assert folder == home / "runs" / "six"
    assert code_cells(folder / "executed.ipynb")[-1].outputs[0].text == "six 1\n"
    assert "VIDSEG_AGAIN" not in os.environ


@pytest.fixture
def short_folder():
    """A temporary folder whose path is short enough for sockets, which that of `tmp_path` may not be."""
    with tempfile.TemporaryDirectory(prefix="vs", dir="/tmp") as folder:
        yield Path(folder)


def test_what_killed_runs_left_is_removed_at_the_next_start(home, make_notebook, short_folder, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(short_folder))
    names = ["vidseg-kernel-killed", "vidseg-kernel-running", "vidseg-kernel-new"]
    for name in names:
        (short_folder / name).mkdir()
    (short_folder / names[0] / "lock").touch()
    folder = home / "runs" / "n-smoke"
    folder.mkdir(parents=True)
    for name in (".executed.0123abcd.tmp.ipynb", ".parameters.0123abcd.tmp.json", ".weights.0123abcd.tmp.safetensors"):
        (folder / name).touch()
    with lock_file(short_folder / "vidseg-kernel-running" / "lock", purpose="it"):
        execute_notebook(make_notebook("n"), profile="smoke", progress=False)
    assert sorted(path.name for path in short_folder.glob("vidseg-kernel-*")) == sorted(names[1:])
    assert [path.name for path in folder.glob(".*.tmp.*")] == [".weights.0123abcd.tmp.safetensors"]


def test_the_source_is_never_overwritten(make_notebook):
    path = make_notebook("n", "print(1)")
    with pytest.raises(ValueError, match="never overwritten"):
        execute_copy(path, path, parameters={})


SLIDER = """
import ipywidgets
from IPython.display import display
display(ipywidgets.IntSlider())
png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
view = {"version_major": 2, "version_minor": 0, "model_id": ipywidgets.IntSlider().model_id}
display({"image/png": png, "application/vnd.jupyter.widget-view+json": view}, raw=True)
"""


def test_the_still_picture_of_a_widget_is_saved_and_the_widget_is_not(home, make_notebook):
    folder = execute_notebook(make_notebook("n", SLIDER), profile="smoke", progress=False)
    notebook = nbformat.read(folder / "executed.ipynb", as_version=4)
    assert "widgets" not in notebook.metadata
    (output,) = notebook.cells[-1].outputs
    assert list(output.data) == ["image/png"]


def test_outputs_are_adopted_without_the_injected_cell_and_only_from_the_same_version(home, make_notebook):
    path = make_notebook("n", "EPOCHS", "print('done')")
    folder = execute_notebook(path, profile="smoke", parameters={"EPOCHS": 5}, progress=False)
    adopt_outputs(path, folder / "executed.ipynb")
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == [1, 2, 3]
    assert cells[1].outputs[0].data["text/plain"] == "5" and cells[1].outputs[0].execution_count == 2
    assert "EPOCHS: int = 2" in cells[0].source and "papermill" not in path.read_text()
    with pytest.raises(ValueError, match="was made from another version"):
        adopt_outputs(make_notebook("n", "EPOCHS", "print('changed')"), folder / "executed.ipynb")
