"""Notebook files: find them by number, read them, and check values for their parameters cell before anything runs.

nbformat and papermill take seconds to load, so they are imported where they are needed.
"""

import ast
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vidseg_utils.paths import checkout
from vidseg_utils.running.parameter_values import TYPES, as_type

if TYPE_CHECKING:
    import nbformat

logging.getLogger("papermill").setLevel(logging.WARNING)  # at INFO it logs every file that it opens
# nbformat imports jsonschema, which imports this if it is there, as with JupyterLab: it takes a second, to check IRIs
sys.modules.setdefault("rfc3987_syntax", None)  # pyright: ignore[reportArgumentType]
CORE_NOTEBOOKS = ("01", "02", "03", "04", "05")
FIXED = {"PROFILE": "--profile", "RUN": "--run"}  # parameters that are given by an option instead


def notebooks_dir() -> Path:
    """Folder of the lessons, their solutions and the sweeps: that of the checkout, or the copy of an installed package.

    It does not depend on $VIDSEG_HOME.
    """
    return (checkout() or Path(__file__).resolve().parents[1]) / "notebooks"


def find_notebooks(names: Sequence[str] = ()) -> list[Path]:
    """Paths of the notebooks of these numbers ("01"), names ("01_data_exploration") or paths; default: the core five.

    Raises ValueError with the choices for a name that matches no notebook.
    """
    return [_find_notebook(str(name)) for name in names or CORE_NOTEBOOKS]


def _find_notebook(name: str) -> Path:
    if name.endswith(".ipynb"):
        candidates = [path for path in (Path(name), notebooks_dir() / name) if path.is_file()][:1]
    else:
        candidates = [p for p in notebooks_dir().glob("*.ipynb") if p.stem == name or p.stem.startswith(f"{name}_")]
    if len(candidates) != 1:
        choices = sorted(path.stem for path in notebooks_dir().glob("*.ipynb"))
        raise ValueError(f"no notebook {name!r} in {notebooks_dir()}; choose from {choices}")
    return candidates[0]


def read_notebook(path: Path | str) -> "nbformat.NotebookNode":
    """Read an .ipynb file. Raises ValueError that names the file if it is missing or not a notebook."""
    import nbformat

    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no notebook file {path}")
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (ValueError, nbformat.ValidationError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a notebook: {str(error).splitlines()[0]}") from None
    return notebook


def read_python_notebook(path: Path | str) -> "nbformat.NotebookNode":
    """As `read_notebook`, for the kernel of this interpreter: kernels of other environments often have other names.

    Raises ValueError for a notebook in another language too.
    """
    notebook = read_notebook(path)
    found = notebook.metadata.get("kernelspec", {}).get("language") or notebook.metadata.get("language_info", {}).get(
        "name"
    )
    if found not in (None, "python"):
        raise ValueError(f"{path} is written in {found}; only Python notebooks can be executed")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


@cache
def identity(path: Path) -> dict[str, str]:
    """What tells a notebook from others of the same name, for the record of a run: also its path.

    The path of a lesson is relative to `notebooks_dir`, so that a checkout may be moved.
    """
    resolved, lessons = path.resolve(), notebooks_dir().resolve()
    inside = resolved.is_relative_to(lessons)
    return {"notebook": path.stem, "path": str(resolved.relative_to(lessons) if inside else resolved)}


def known_parameters(path: Path | str) -> dict[str, tuple[type | None, object]]:
    """Name -> (type, default) of each parameter in the notebook's parameters cell; the type is None if it is unknown.

    Raises ValueError for a default that is not a literal.
    """
    import papermill

    known = {}
    for name, entry in papermill.inspect_notebook(read_python_notebook(path)).items():
        try:
            default = ast.literal_eval(entry["default"])
        except (ValueError, SyntaxError):
            raise ValueError(f"{path}: the default of {name} is not a literal: {entry['default']}") from None
        annotated = TYPES.get(entry["inferred_type_name"].split("[")[0].strip())
        known[name] = (annotated or (None if default is None else type(default)), default)
    return known


def check_names(names: Iterable[str]) -> None:
    """Raise ValueError, with the cure, for a parameter that cannot be given by name."""
    for name in names:
        if name in FIXED:
            raise ValueError(f"{name} cannot be given as a parameter; use {FIXED[name]}")


def checked_parameters(path: Path | str, values: Mapping[str, object]) -> dict[str, object]:
    """The values with the types of the notebook's parameters, see `as_type`.

    Raises ValueError for an unknown name, with the choices, and for a value of the wrong type.
    """
    return checked_values(known_parameters(path), values, notebook=Path(path).stem)


def checked_values(
    known: Mapping[str, tuple[type | None, object]], values: Mapping[str, object], *, notebook: str
) -> dict[str, object]:
    """As `checked_parameters`, for many sets of values. known: from `known_parameters`; notebook: its name."""
    checked = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{notebook} has no parameter {name!r}; choose from {sorted(known)}")
        checked[name] = as_type(value, known[name][0], f"{notebook}: parameter {name}")
    return checked
