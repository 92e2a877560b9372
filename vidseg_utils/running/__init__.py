"""Running notebooks: what their cells call, and how they are executed one by one or in sweeps.

The names below are imported on first use, because papermill and torch take seconds to load and a mistyped `vidseg`
command should fail at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidseg_utils.running.batch import Outcome, execute_batch, execute_sweep
    from vidseg_utils.running.execute import adopt_outputs, execute_notebook
    from vidseg_utils.running.notebook import Session, record, setup, show_source
    from vidseg_utils.running.notebook_file import checked_parameters, find_notebooks, notebooks_dir
    from vidseg_utils.running.run_record import NotebookRun
    from vidseg_utils.running.sweep import plan_sweep, read_sweep_file
    from vidseg_utils.running.sweep_results import read_sweep, score_name, score_settings, sweep_table

__all__ = [
    "NotebookFailed",
    "NotebookRun",
    "Outcome",
    "Session",
    "adopt_outputs",
    "checked_parameters",
    "execute_batch",
    "execute_notebook",
    "execute_sweep",
    "find_notebooks",
    "notebooks_dir",
    "plan_sweep",
    "read_sweep",
    "read_sweep_file",
    "record",
    "score_name",
    "score_settings",
    "setup",
    "show_source",
    "sweep_table",
]

_MODULES = {
    "batch": ("Outcome", "execute_batch", "execute_sweep"),
    "execute": ("adopt_outputs", "execute_notebook"),
    "notebook": ("Session", "record", "setup", "show_source"),
    "notebook_file": ("checked_parameters", "find_notebooks", "notebooks_dir"),
    "run_record": ("NotebookRun",),
    "sweep": ("plan_sweep", "read_sweep_file"),
    "sweep_results": ("read_sweep", "score_name", "score_settings", "sweep_table"),
}


class NotebookFailed(RuntimeError):
    """A cell raised an error; the message names the notebook, the cell with its first line of code, and the error."""


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"vidseg_utils.running.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
