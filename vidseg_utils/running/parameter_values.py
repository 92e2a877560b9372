"""Values for the parameters of a notebook, as they are typed in a command, written in a sweep file or set in it.

The type that the notebook declares decides how a text is read: for `str` it stays as it is, also "true", "0123" or "".
"""

import ast
import contextlib
import json
import math
from collections.abc import Mapping, Sequence

import yaml

MAX_YAML_BYTES = 100_000
TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}  # by annotation
_ADDED_BY_PAPERMILL = "# Parameters\n"  # begins the cell that papermill adds below the parameters cell
_PAPERMILL_OPTIONS = {
    str: "-r {} TEXT",
    int: "-p {} 3",
    float: "-p {} 0.5",
    bool: "-p {} True",
    list: "-y '{}: [1, 2]'",
    dict: "-y '{}: {{unet.epochs: 3}}'",
}
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class ParameterText(str):
    """A value as it was typed: in `-p NAME=VALUE`, or without quotes in a sweep file."""

    __slots__ = ()


class _Loader(yaml.SafeLoader):
    """YAML without aliases, whose expansion may never end, and without repeated keys."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"line {event.start_mark.line + 1}: aliases (*{event.anchor}) are not supported")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if repeated := {key for key in keys if keys.count(key) > 1}:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {min(repeated)} is given twice")
        return super().construct_mapping(node, deep)


class _TextLoader(_Loader):
    """Leaves scalars without quotes as `ParameterText`."""

    def construct_object(self, node, deep=False):
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            return ParameterText(node.value)
        return super().construct_object(node, deep)


def read_yaml(text: str, *, scalars_as_text: bool = False) -> object:
    """The content of a YAML document. Raises ValueError, in one line, for invalid or too large YAML and for aliases.

    scalars_as_text: a scalar without quotes becomes `ParameterText`
    """
    if len(text) > MAX_YAML_BYTES:
        raise ValueError(f"it has {len(text):,} characters; {MAX_YAML_BYTES:,} are the most")
    try:
        return yaml.load(text, Loader=_TextLoader if scalars_as_text else _Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def as_type(value: object, expected: type | None, description: str) -> object:
    """The value as the type that the notebook declares; a float also accepts an int, and "1e-3" as YAML reads it.

    expected: str, int, float, bool, list or dict; None: any
    description: of the parameter, for the error message
    Raises ValueError for a value of another type.
    """
    if isinstance(value, ParameterText):
        return _read_text(value, expected, description)
    if expected is float and isinstance(value, int | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            value = float(value)
    if expected is not None and type(value) is not expected:
        raise ValueError(f"{description} takes {expected.__name__}, not {type(value).__name__} {value!r}")
    return _checked_json(with_plain_scalars(value), description)


def _read_text(text: ParameterText, expected: type | None, description: str) -> object:
    if expected is str:
        return str(text)
    try:
        if expected in (int, float):
            value = expected(text)
        elif expected is bool:
            value = _BOOLS.get(text.lower(), text)
        else:
            value = read_yaml(text)
    except ValueError as error:
        reason = "" if expected in (int, float) else f" ({error})"
        raise ValueError(f"{description} cannot be read from {str(text)!r}{reason}{_cure(expected)}") from None
    if expected is not None and type(value) is not expected:
        raise ValueError(f"{description} cannot be read from {str(text)!r}{_cure(expected)}")
    return _checked_json(value, description)


def _cure(expected: type | None) -> str:
    examples = {int: "3", float: "1e-3", bool: "true or false", list: "'[1, 2]'", dict: "'{unet.epochs: 3}'"}
    return f"; it takes {expected.__name__}, such as {examples[expected]}" if expected else ""


def with_plain_scalars(value: object) -> object:
    """The value with each `ParameterText` inside lists and dicts as YAML reads it."""
    if isinstance(value, dict):
        return {str(key): with_plain_scalars(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_plain_scalars(inner) for inner in value]
    return read_yaml(value) if isinstance(value, ParameterText) else value


def check_executed(cells: Sequence[str], values: Mapping[str, object], *, notebook: str) -> None:
    """Check the parameters of a notebook that is being executed, whoever has set them: plain papermill checks nothing.

    cells: the code that it has executed so far, with the parameters cell; values: its variables
    Raises ValueError, with the cure, for a value that has not the type of the parameters cell, and for a name that
    papermill has added and the cell does not have.
    """
    declared = {name: kind for source in cells for name, kind in _declared_types(source).items()}
    added = [name for source in cells if source.startswith(_ADDED_BY_PAPERMILL) for name in _assigned_names(source)]
    for name in added if declared else ():
        if name not in declared:
            raise ValueError(f"{notebook} has no parameter {name!r}; choose from {sorted(declared)}")
    for name, expected in declared.items():
        value, description = values.get(name), f"{notebook}: parameter {name}"
        kinds = (float, int) if expected is float else (expected,)
        if expected is not None and type(value) not in kinds:
            cure = f"with papermill: {_PAPERMILL_OPTIONS[expected].format(name)}"
            raise ValueError(f"{description} takes {expected.__name__}, not {type(value).__name__} {value!r}; {cure}")
        _checked_json(value, description)


def _declared_types(source: str) -> dict[str, type | None]:
    """Name -> type of each parameter, None if it is none of TYPES; empty if the cell is not a parameters cell.

    A parameters cell has only typed names in capitals.
    """
    lines = [line for line in _statements(source) if isinstance(line, ast.AnnAssign)]
    names = [ast.unparse(line.target) for line in lines]
    if len(lines) < len(_statements(source)) or not all(name.isupper() for name in names):
        return {}
    return {n: TYPES.get(ast.unparse(line.annotation).partition("[")[0]) for n, line in zip(names, lines, strict=True)}


def _assigned_names(source: str) -> list[str]:
    return [ast.unparse(line.targets[0]) for line in _statements(source) if isinstance(line, ast.Assign)]


def _statements(source: str) -> list[ast.stmt]:
    with contextlib.suppress(SyntaxError):
        return ast.parse(source).body
    return []


def _checked_json(value: object, description: str) -> object:
    """The value itself. Raises ValueError if JSON, in which the run folder keeps it, has no such value."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{description} is {value}; give a finite number")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{description} cannot be {value!r}: {error}") from None
    return value
