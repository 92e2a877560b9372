"""Execute a notebook with papermill into its run folder. The notebook file itself is never written."""

import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from tqdm import tqdm

from vidseg_utils.file_lock import lock_file
from vidseg_utils.paths import atomic_write, notebook_run_folder, write_json
from vidseg_utils.profiles import get_profile
from vidseg_utils.running import NotebookFailed
from vidseg_utils.running.cell_progress import show_cell_progress
from vidseg_utils.running.kernel import KERNEL_NAME, OwnKernelManager, kernel_config, kernel_folder
from vidseg_utils.running.notebook_file import checked_parameters, identity, read_notebook, read_python_notebook
from vidseg_utils.training.retraining import training_anew
from vidseg_utils.visualisation.sliders import WIDGET_VIEW

PARAMETERS = "parameters.json"  # in a run folder: written last, so its presence means that the notebook has finished
_INJECTED = "injected-parameters"  # papermill's tag of the cell that holds the given parameters
_ERROR_MARKER = "papermill-error-cell-tag"
_LEFTOVERS = tuple(f".{name}.????????.tmp.*" for name in ("executed", "failed", "parameters", "metrics"))  # of a kill
_FIXED = {  # parameters that the caller cannot give by name
    "PROFILE": "use --profile",
    "RUN": "use --run",
}


def execute_notebook(
    path: Path | str,
    *,
    profile: str = "auto",
    parameters: Mapping[str, object] | None = None,
    run: str | None = None,
    again: bool = False,
    progress: bool = True,
) -> Path:
    """Execute a notebook into its run folder and return that folder; it then holds executed.ipynb and parameters.json.

    profile: passed to the notebook as PROFILE; parameters: for its parameters cell, checked by name and type
    run: name of the run folder, passed to the notebook as RUN; None: the default, such as 02_unet_segmentation-cpu
    again: trainings whose run folder was made with other settings are done anew instead of refused
    progress: show on stderr a progress bar over the cells and, in the next line, what the cell is doing
    Raises ValueError for wrong parameters or if the run folder is in use, NotebookFailed if a cell fails.
    """
    path, profile = Path(path), get_profile(profile).name
    given = dict(parameters or {})
    if fixed := sorted(set(_FIXED) & set(given)):
        raise ValueError(f"{fixed[0]} cannot be given as a parameter; {_FIXED[fixed[0]]}")
    values = checked_parameters(path, given | {"PROFILE": profile} | ({} if run is None else {"RUN": run}))
    # a solution has the file name of its lesson, but needs its own run folder
    name = f"{path.stem}_solutions" if path.resolve().parent.name == "solutions" else path.stem
    folder = notebook_run_folder(name, profile, run or "auto")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with lock_file(folder / ".executing.lock", purpose=f"run folder {folder}", timeout_seconds=0):
            for leftover in (file for pattern in _LEFTOVERS for file in folder.glob(pattern)):
                leftover.unlink()
            (folder / PARAMETERS).unlink(missing_ok=True)
            with training_anew(again):
                execute_copy(path, folder / "executed.ipynb", parameters=values, progress=progress)
            given = {name: values[name] for name in given}
            write_json(folder / PARAMETERS, {**identity(path), "profile": profile, "parameters": given})
    except TimeoutError as error:
        raise ValueError(str(error)) from None
    return folder


def execute_copy(source: Path, target: Path, *, parameters: Mapping[str, object], progress: bool = True) -> None:
    """Execute a copy of the notebook `source` with `parameters` and write it atomically to `target`.

    parameters: already checked by `checked_parameters`; progress: show the progress of the cells on stderr
    Raises NotebookFailed if a cell fails; the copy up to that cell is then kept beside `target` as failed.ipynb.
    """
    if target.resolve() == source.resolve():
        raise ValueError(f"{target} is the source notebook itself, which is never overwritten")
    failed, bar = target.with_name("failed.ipynb"), {"desc": source.stem} if progress else False
    with kernel_folder() as folder:
        copy, executed = folder / "source.ipynb", folder / "executed.ipynb"
        nbformat.write(read_python_notebook(source), copy)
        try:
            with show_cell_progress(folder / "progress.txt", source.stem, show=progress):
                papermill.execute_notebook(
                    _unformatted(copy),
                    _unformatted(executed),
                    parameters=dict(parameters),
                    kernel_name=KERNEL_NAME,
                    kernel_manager_class=OwnKernelManager,
                    progress_bar=bar,  # pyright: ignore[reportArgumentType] (also tqdm's settings)
                    config=kernel_config(folder),
                    stderr_file=_Notices(),
                    store_widget_state=False,
                )
        except (papermill.PapermillExecutionError, DeadKernelError, CellTimeoutError) as error:
            message = _describe_failure(source, executed, error)
            _write_without_widgets(read_notebook(executed), failed)
            raise NotebookFailed(f"{message}; executed up to there: {failed}") from None
        _write_without_widgets(read_notebook(executed), target)
    failed.unlink(missing_ok=True)


class _Notices:
    """Shows on our stderr what a user of the command has to know while the notebook is executed: waits, deletions."""

    def write(self, text: str) -> None:
        for line in text.splitlines():
            if line.startswith(("waiting for ", "run folder ")):
                tqdm.write(line, file=sys.stderr)

    def flush(self) -> None:
        pass


def _unformatted(path: Path) -> str:
    """The path for papermill, which formats paths with the parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _describe_failure(source: Path, executed: Path, error: Exception) -> str:
    """The failed cell's number in the source and its first line of code, and the error."""
    cells = [cell for cell in read_notebook(executed).cells if not {_INJECTED, _ERROR_MARKER} & set(_tags(cell))]
    started = [cell.metadata.get("papermill", {}).get("start_time") is not None for cell in cells]
    number = max((n for n, has_started in enumerate(started, 1) if has_started), default=0)
    if isinstance(error, papermill.PapermillExecutionError):
        reason = f"{error.ename}: {error.evalue}"
    else:
        reason = f"{type(error).__name__}: the kernel died; was there enough memory?"
    lines = [line for line in cells[number - 1].source.splitlines() if line.strip()] if number else [""]
    return f"{source.name}, cell {number} (`{lines[0]}`): {reason}"


def _tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def _write_without_widgets(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write an executed notebook without widgets, which need a running kernel; their still pictures remain."""
    notebook.metadata.pop("widgets", None)
    for key in ("input_path", "output_path"):
        notebook.metadata.get("papermill", {}).pop(key, None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(_without_widget, cell.outputs) if output is not None]
    with atomic_write(path) as temporary:
        nbformat.write(notebook, temporary)


def _without_widget(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The output without its widget view; None if only the text of that view would be left (a progress bar)."""
    data = output.get("data", {})
    if data.pop(WIDGET_VIEW, None) is not None and not set(data) - {"text/plain"}:
        return None
    return output


def adopt_outputs(source: Path | str, executed: Path | str) -> None:
    """Copy the outputs of an executed copy into the source notebook, to commit them; the source keeps all else.

    Raises ValueError if the code cells of the two differ.
    """
    notebook = read_notebook(source)
    copied = [c for c in read_notebook(executed).cells if c.cell_type == "code" and _INJECTED not in _tags(c)]
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if [cell.source for cell in cells] != [cell.source for cell in copied]:
        raise ValueError(f"{executed} was made from another version of {source}; run the notebook again")
    for number, (cell, copy) in enumerate(zip(cells, copied, strict=True), 1):
        cell.outputs, cell.execution_count = copy.outputs, number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
    notebook.metadata.pop("widgets", None)
    with atomic_write(source) as temporary:
        nbformat.write(notebook, temporary)
