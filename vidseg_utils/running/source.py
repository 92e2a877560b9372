"""A notebook as it stands: found by its number, read, and its parameters checked before anything runs."""

import ast
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
import papermill

logging.getLogger("papermill").setLevel(logging.WARNING)  # else it announces every file that it opens
CORE_NOTEBOOKS = ("01", "02", "03", "04", "05")
_TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}


def notebooks_dir() -> Path:
    """Folder of the notebooks, in the checkout that holds the package, wherever data and runs are."""
    return Path(__file__).resolve().parents[2] / "notebooks"


def find_notebooks(names: Sequence[str] = ()) -> list[Path]:
    """The notebooks of these numbers ("01"), names ("01_data_exploration") or paths; without names the five core ones.

    Raises ValueError for a name that fits none, with the list of those there are.
    """
    return [_find_notebook(str(name)) for name in names or CORE_NOTEBOOKS]


def _find_notebook(name: str) -> Path:
    if name.endswith(".ipynb"):
        candidates = [path for path in (Path(name), notebooks_dir() / name) if path.is_file()][:1]
    else:
        candidates = [p for p in notebooks_dir().glob("*.ipynb") if p.stem == name or p.stem.startswith(f"{name}_")]
    if len(candidates) != 1:
        there = sorted(path.stem for path in notebooks_dir().glob("*.ipynb"))
        raise ValueError(f"no notebook {name!r} in {notebooks_dir()}; choose from {there}")
    return candidates[0]


def read_notebook(path: Path | str) -> nbformat.NotebookNode:
    """Read an .ipynb file. Raises ValueError that names it when it is missing or is no notebook."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is no notebook file")
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (ValueError, nbformat.ValidationError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a notebook: {str(error).splitlines()[0]}") from None
    return notebook


def known_parameters(path: Path | str) -> dict[str, tuple[type | None, object]]:
    """The names in the notebook's parameters cell, each with its type (None: not told) and its default value."""
    read_notebook(path)
    known = {}
    for name, entry in papermill.inspect_notebook(str(path)).items():
        try:
            default = ast.literal_eval(entry["default"])
        except (ValueError, SyntaxError):
            raise ValueError(f"{path}: the default of {name} is no literal: {entry['default']}") from None
        told = _TYPES.get(entry["inferred_type_name"].split("[")[0])
        known[name] = (told or (None if default is None else type(default)), default)
    return known


def checked_parameters(path: Path | str, values: Mapping[str, object]) -> dict[str, object]:
    """The values as the notebook's parameters cell wants them; an int is taken for a float, and "1e-3" too (YAML).

    Raises ValueError for a name that the cell does not have, with the list of those it has, and for a wrong type.
    """
    known = known_parameters(path)
    checked = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{Path(path).stem} has no parameter {name!r}; choose from {sorted(known)}")
        checked[name] = _as_type(value, known[name][0], f"{Path(path).stem}: parameter {name}")
    return checked


def _as_type(value: object, wanted: type | None, where: str) -> object:
    if wanted is None or type(value) is wanted:
        return value
    if wanted is float and type(value) in (int, str):
        try:
            return float(value)
        except ValueError:
            pass
    raise ValueError(f"{where} takes {wanted.__name__}, not {type(value).__name__} {value!r}")
