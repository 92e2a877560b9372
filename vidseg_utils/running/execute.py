"""Execute a notebook with papermill into its run folder. The notebook file itself is never written."""

import contextlib
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from tqdm import tqdm

from vidseg_utils.file_lock import lock_file
from vidseg_utils.paths import atomic_write, write_json
from vidseg_utils.profiles import get_profile
from vidseg_utils.progress import WIDGET_VIEW
from vidseg_utils.run_folders import PARAMETERS
from vidseg_utils.running import NotebookFailed
from vidseg_utils.running.cell_progress import CellCounter, show_cell_progress
from vidseg_utils.running.kernel import KERNEL_NAME, OwnKernelManager, environment, kernel_config, kernel_folder
from vidseg_utils.running.notebook_file import check_names, checked_parameters, read_notebook, read_python_notebook
from vidseg_utils.running.run_record import NotebookRun, inputs_after, inputs_before, why_stale
from vidseg_utils.usage import USAGE_FILE, read_usage

_INJECTED = "injected-parameters"  # papermill's tag of the cell that holds the given parameters
_ERROR_MARKER = "papermill-error-cell-tag"
_LEFTOVERS = tuple(f".{name}.????????.tmp.*" for name in ("executed", "failed", "parameters", "metrics"))  # of a kill


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
    chosen = get_profile(profile).name
    planned = NotebookRun(Path(path), chosen, dict(parameters or {}), run or "auto")
    execute_run(planned, again=again, progress=progress)
    return planned.folder


def execute_run(
    run: NotebookRun, *, when: str = "always", again: bool = False, progress: bool = True, status: Path | None = None
) -> bool:
    """Execute a planned run; returns whether it had to be executed.

    when: "always"; "unfinished", unless the run has finished; or "stale", unless it is up to date. With the last two it
        waits if another process executes the same run, and asks again.
    again, progress: see `execute_notebook`
    status: a file for one line that says what the notebook is doing, which another process shows
    Raises what `execute_notebook` raises.
    """
    check_names(run.parameters)
    named = {} if run.name == "auto" else {"RUN": run.name}
    values = checked_parameters(run.notebook, run.parameters | {"PROFILE": run.profile} | named)
    run = replace(run, parameters={name: values[name] for name in run.parameters})
    folder, patience = run.folder, 0 if when == "always" else math.inf
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with lock_file(folder / ".executing.lock", purpose=f"run folder {folder}", timeout_seconds=patience):
            if (when == "unfinished" and run.is_finished()) or (when == "stale" and not why_stale(run)):
                return False
            for leftover in (file for pattern in _LEFTOVERS for file in folder.glob(pattern)):
                leftover.unlink()
            (folder / PARAMETERS).unlink(missing_ok=True)
            record, started = run.describe() | inputs_before(run), time.monotonic()
            with _training_anew(again):
                used = execute_copy(
                    run.notebook, folder / "executed.ipynb", parameters=values, progress=progress, status=status
                )
            record |= inputs_after(run, *used) | {"seconds": round(time.monotonic() - started, 1)}
            write_json(folder / PARAMETERS, record)
    except TimeoutError as error:
        raise ValueError(str(error)) from None
    return True


def execute_copy(
    source: Path,
    target: Path,
    *,
    parameters: Mapping[str, object],
    progress: bool = True,
    status: Path | None = None,
) -> tuple[list[Path], list[Path]]:
    """Execute a copy of the notebook `source` with `parameters` and write it atomically to `target`.

    parameters: already checked by `checked_parameters`; progress, status: see `execute_run`
    returns: the run folders of the trained parts, and the roots of the data sets, that the notebook has used
    Raises NotebookFailed if a cell fails; the copy up to that cell is then kept beside `target` as failed.ipynb.
    """
    if target.resolve() == source.resolve():
        raise ValueError(f"{target} is the source notebook itself, which is never overwritten")
    failed = target.with_name("failed.ipynb")
    bar = {"desc": source.stem} if progress else {"file": CellCounter(status), **CellCounter.BAR} if status else False
    with kernel_folder() as folder:
        copy, executed, usage = folder / "source.ipynb", folder / "executed.ipynb", folder / "usage.txt"
        nbformat.write(read_python_notebook(source), copy)
        try:
            with (
                show_cell_progress(status or folder / "progress.txt", source.stem, show=progress),
                environment(USAGE_FILE, str(usage)),
            ):
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
            try:
                _write_without_widgets(read_notebook(executed), failed)
            except OSError as disk_error:  # such as a full disk
                raise NotebookFailed(f"{message}; {failed} cannot be written ({disk_error.strerror})") from None
            raise NotebookFailed(f"{message}; executed up to there: {failed}") from None
        _write_without_widgets(read_notebook(executed), target)
        used = read_usage(usage)
    failed.unlink(missing_ok=True)
    return used


def _training_anew(again: bool) -> contextlib.AbstractContextManager[None]:
    if not again:
        return contextlib.nullcontext()
    from vidseg_utils.training.retraining import training_anew  # with torch, which executing a notebook does without

    return training_anew(True)


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
