"""One notebook through papermill, from an open source to an executed copy; the source itself is never written.

Kernels talk over IPC (files in a folder of their own), because several that start at once race for TCP ports.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from traitlets.config import Config

from vidseg_utils.paths import atomic_write
from vidseg_utils.running import NotebookFailed
from vidseg_utils.running.source import read_notebook
from vidseg_utils.visualisation.sliders import WIDGET_VIEW

_INJECTED = "injected-parameters"
_ERROR_MARKER = "papermill-error-cell-tag"


def execute(source: Path, target: Path, *, parameters: Mapping[str, object], progress: bool = True) -> None:
    """Run `source` with `parameters` and write the executed copy to `target` atomically.

    parameters: checked before (`checked_parameters`); progress: a bar over the cells on stderr
    Raises NotebookFailed when a cell fails; the copy, as far as it came, is then beside target as failed.ipynb.
    """
    if target.resolve() == source.resolve():
        raise ValueError(f"{target} is the source notebook itself; it is never written over")
    failed = target.with_name("failed.ipynb")
    with atomic_write(target) as temporary, tempfile.TemporaryDirectory(prefix="vidseg-kernel-") as kernel_folder:
        try:
            papermill.execute_notebook(
                str(source),
                str(temporary),
                parameters=dict(parameters),
                progress_bar={"desc": source.stem} if progress else False,
                config=_kernel_config(kernel_folder),
                store_widget_state=False,
            )
        except (papermill.PapermillExecutionError, DeadKernelError, CellTimeoutError) as error:
            message = _failure(source, temporary, error)
            tidy(read_notebook(temporary), failed)
            raise NotebookFailed(f"{message}; as far as it came: {failed}") from None
        tidy(read_notebook(temporary), temporary)
    failed.unlink(missing_ok=True)


def _kernel_config(folder: str) -> Config:
    if os.name == "nt":  # Windows has no IPC sockets in ZeroMQ
        return Config()
    return Config(KernelManager={"transport": "ipc", "connection_file": str(Path(folder) / "kernel.json")})


def _failure(source: Path, executed: Path, error: Exception) -> str:
    """Which cell of the source failed, and how."""
    cells = [cell for cell in read_notebook(executed).cells if not {_INJECTED, _ERROR_MARKER} & set(_tags(cell))]
    begun = [cell.metadata.get("papermill", {}).get("start_time") is not None for cell in cells]
    number = max((place for place, it_began in enumerate(begun, 1) if it_began), default=0)
    if isinstance(error, papermill.PapermillExecutionError):
        reason = f"{error.ename}: {error.evalue}"
    else:
        reason = f"{type(error).__name__}: the kernel died; was there enough memory?"
    lines = [line for line in cells[number - 1].source.splitlines() if line.strip()] if number else [""]
    return f"{source.name}, cell {number} (`{lines[0]}`): {reason}"


def _tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def tidy(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write an executed notebook without what only a live kernel can show: sliders keep their still picture."""
    notebook.metadata.pop("widgets", None)
    for key in ("input_path", "output_path"):
        notebook.metadata.get("papermill", {}).pop(key, None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(_without_widget, cell.outputs) if output is not None]
    with atomic_write(path) as temporary:
        nbformat.write(notebook, temporary)


def _without_widget(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The output with its widget view taken out; None if nothing but that view's text is left (a progress bar)."""
    data = output.get("data", {})
    if data.pop(WIDGET_VIEW, None) is not None and not set(data) - {"text/plain"}:
        return None
    return output


def adopt_outputs(source: Path | str, executed: Path | str) -> None:
    """Put the outputs of an executed copy into the source notebook, for committing; nothing else of it is taken over.

    Raises ValueError when the copy was made from other cells than the source has now.
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
