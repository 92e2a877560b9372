"""Proves that notebooks are found by number, and that wrong parameters are refused before anything runs."""

import pytest

from tests.running.conftest import PARAMETERS
from vidseg_utils.running import notebook_file
from vidseg_utils.running.notebook_file import checked_parameters, find_notebooks, known_parameters, read_notebook
from vidseg_utils.running.parameter_values import ParameterText, check_executed, read_yaml


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    for name in ("01_data", "02_unet", "03_simvp", "04_table", "05_ablations", "11_masks"):
        (tmp_path / f"{name}.ipynb").touch()
    monkeypatch.setattr(notebook_file, "notebooks_dir", lambda: tmp_path)
    return tmp_path


def test_the_default_is_the_five_core_notebooks_in_order(lessons):
    assert [path.stem[:2] for path in find_notebooks()] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("name", ["11", "11_masks", "11_masks.ipynb"])
def test_a_notebook_is_found_by_number_name_or_file_name(lessons, name):
    assert find_notebooks([name]) == [lessons / "11_masks.ipynb"]


def test_a_path_to_another_folder_is_used_as_it_is(lessons, make_notebook):
    path = make_notebook("other")
    assert find_notebooks([str(path)]) == [path]


@pytest.mark.parametrize("name", ["06", "0", "missing.ipynb", ""])
def test_an_unknown_notebook_is_refused_with_the_choices(lessons, name):
    with pytest.raises(ValueError, match=r"no notebook .*choose from \['01_data', "):
        find_notebooks([name])


def test_parameters_are_known_with_type_and_default(make_notebook):
    known = known_parameters(make_notebook("n"))
    assert known["EPOCHS"] == (int, 2) and known["RATE"] == (float, 1e-3) and known["SIZES"] == (list, [1, 2])


def test_untyped_parameters_take_the_type_of_their_default(make_notebook):
    path = make_notebook("n", parameters="EPOCHS = 3\nNOTE = None")
    assert known_parameters(path) == {"EPOCHS": (int, 3), "NOTE": (None, None)}


def test_a_default_that_is_computed_is_refused(make_notebook):
    with pytest.raises(ValueError, match="the default of STEPS is not a literal: EPOCHS \\* 2"):
        known_parameters(make_notebook("n", parameters="EPOCHS: int = 3\nSTEPS: int = EPOCHS * 2"))


def test_an_unknown_parameter_is_refused_with_the_known_ones(make_notebook):
    with pytest.raises(ValueError, match=r"n has no parameter 'EPOCH'; choose from \['EPOCHS', 'FLIP'"):
        checked_parameters(make_notebook("n"), {"EPOCH": 3})


@pytest.mark.parametrize(
    ("name", "value"),
    [("EPOCHS", "3"), ("EPOCHS", 2.5), ("EPOCHS", True), ("LOSS", False), ("FLIP", 1), ("RATE", "fast"), ("SIZES", 3)],
)
def test_a_value_of_the_wrong_type_is_refused(make_notebook, name, value):
    with pytest.raises(ValueError, match=rf"n: parameter {name} takes \w+, not {type(value).__name__}"):
        checked_parameters(make_notebook("n"), {name: value})


def test_numbers_that_yaml_reads_as_text_or_whole_become_floats(make_notebook):
    path = make_notebook("n")
    assert checked_parameters(path, {"RATE": "1e-4"}) == {"RATE": 1e-4}
    assert type(checked_parameters(path, {"RATE": 1})["RATE"]) is float


@pytest.mark.parametrize("text", ["true", "0123", "no", "", "/data/run #2", "a: b", "1e3", "[old]", "@x", "None", "*a"])
def test_typed_text_stays_text_for_a_parameter_declared_str(make_notebook, text):
    assert checked_parameters(make_notebook("n"), {"LOSS": ParameterText(text)}) == {"LOSS": text}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("EPOCHS", "010", 10),
        ("RATE", "1", 1.0),
        ("RATE", "1e-4", 1e-4),
        ("FLIP", "True", True),
        ("FLIP", "no", False),
        ("SIZES", "[1, {a: 0x10}]", [1, {"a": 16}]),
        ("NOTE", "1e-3x", "1e-3x"),
    ],
)
def test_typed_text_is_read_as_the_declared_type(make_notebook, name, text, value):
    path = make_notebook("n", parameters=PARAMETERS + "NOTE = None")
    (read,) = checked_parameters(path, {name: ParameterText(text)}).values()
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("EPOCHS", "1e3", "cannot be read from '1e3'; it takes int, such as 3"),
        ("EPOCHS", "", "cannot be read from ''; it takes int, such as 3"),
        ("RATE", "inf", "is inf; give a finite number"),
        ("FLIP", "2", "cannot be read from '2'; it takes bool, such as true or false"),
        ("SIZES", "3", r"cannot be read from '3'; it takes list, such as '\[1, 2\]'"),
        ("SIZES", "[1", r"cannot be read from '\[1' \(while parsing .*; it takes list"),
        ("SIZES", "[2024-05-01]", "cannot be .*date is not JSON serializable"),
        ("SIZES", "[&a [1], *a]", r".*aliases \(\*a\) are not supported"),
    ],
)
def test_typed_text_of_another_type_is_refused_with_an_example(make_notebook, name, text, message):
    with pytest.raises(ValueError, match=rf"n: parameter {name} {message}"):
        checked_parameters(make_notebook("n"), {name: ParameterText(text)})


CELLS = (
    "import sys\n%matplotlib inline",
    'EPOCHS: int = 2\nRATE: float = 0.1\nSIZES: dict[str, int] = {}\nANY: "x" = 1',
)


def test_values_of_a_running_notebook_may_have_the_declared_types():
    check_executed(CELLS, {"EPOCHS": 3, "RATE": 1, "SIZES": {"a": 1}, "ANY": None, "other": object()}, notebook="n")
    check_executed(["x = 3", "# Parameters\nEPOCH = 3"], {"EPOCH": 3}, notebook="n")  # no parameters cell
    edited = ["EPOCHS: int = 2", "# Parameters\nEPOCHS = 3", "def f(): pass", 'EPOCHS: str = "2"']
    check_executed(edited, {"EPOCHS": "2"}, notebook="n")


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("EPOCHS = 'abc'", "n: parameter EPOCHS takes int, not str 'abc'; with papermill: -p EPOCHS 3"),
        ("EPOCHS = True", "n: parameter EPOCHS takes int, not bool True; with papermill: -p EPOCHS 3"),
        ("RATE = '1e-3'", "n: parameter RATE takes float, not str '1e-3'; with papermill: -p RATE 0.5"),
        ("RATE = float('nan')", "n: parameter RATE is nan; give a finite number"),
        ("SIZES = 'a'", "n: parameter SIZES takes dict, not str 'a'; with papermill: -y 'SIZES: {unet.epochs: 3}'"),
        ("EPOCH = 3", "n has no parameter 'EPOCH'; choose from ['ANY', 'EPOCHS', 'RATE', 'SIZES']"),
    ],
)
def test_a_running_notebook_refuses_a_value_of_another_type_and_an_unknown_name(added, message):
    values = {"EPOCHS": 2, "RATE": 0.1, "SIZES": {}, "ANY": 1}
    exec(added, values)
    with pytest.raises(ValueError) as caught:
        check_executed([*CELLS, f"# Parameters\n{added}"], values, notebook="n")
    assert str(caught.value) == message


def test_nested_anchors_end_at_once():
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]
    with pytest.raises(ValueError, match=r"line 2: aliases \(\*a0\) are not supported"):
        read_yaml("\n".join(lines))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', '{"nbformat": 4}', "\x00\xff"])
def test_a_file_that_is_not_a_notebook_is_refused_by_name(tmp_path, text):
    path = tmp_path / "broken.ipynb"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"broken\.ipynb is not a notebook"):
        read_notebook(path)
    with pytest.raises(ValueError, match=r"there is no notebook file .*absent\.ipynb"):
        read_notebook(tmp_path / "absent.ipynb")
