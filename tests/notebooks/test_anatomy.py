"""Proves that every notebook has the parts that the template lists, is small and portable, and was saved as it ran.

Each check is also run on the template with one part broken, to prove that it finds the fault.
"""

import ast
import copy
import importlib
import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from vidseg_utils.running.notebook_file import known_parameters

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
PACKAGE = NOTEBOOKS.parent / "vidseg_utils"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
COLAB = "https://colab.research.google.com/github/"
WIDGETS = ("application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json")
OWN_PATH = re.compile(r"(?<![\w.])/(home|root|Users|tmp|work|opt|var|mnt)/|[A-Z]:\\\\")
FRONT_DOORS = re.compile(r"vidseg_utils\.(\w+|systems\.object_dynamics)")  # modules that a notebook may import from
MAX_BYTES, MAX_LINES, MAX_SETUP_LINES = 500_000, 25, 12

lessons = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
solutions = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def markdown_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def is_tagged(cell, tag):
    return tag in cell.metadata.get("tags", [])


def syntax_trees(notebook):
    """The code cells as Python, without magics such as %pip."""
    return [ast.parse(TransformerManager().transform_cell(cell.source)) for cell in code_cells(notebook)]


def texts(notebook):
    """All text that a reader of the notebook can see."""
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from (value for key, value in output.get("data", {}).items() if key.startswith("text/"))


def portable_faults(path, notebook):
    """Faults in lessons and solutions: size, kernel, long or failed cells, saved widgets, paths of one machine."""
    if path.stat().st_size > MAX_BYTES:
        yield f"{path.stat().st_size // 1000} kB, more than {MAX_BYTES // 1000}"
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernel is not python3"
    for cell in code_cells(notebook):
        first = cell.source.strip().splitlines()[0] if cell.source.strip() else "(empty cell)"
        if not cell.source.strip() or len(cell.source.splitlines()) > MAX_LINES:
            yield f"{len(cell.source.splitlines())} lines of code in `{first}`"
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"`{first}` ended in {output.ename}"
            if output.get("name") == "stderr":
                yield f"`{first}` wrote to stderr"
            if set(WIDGETS) & set(output.get("data", {})):
                yield f"`{first}` saved a widget"
    if "widgets" in notebook.metadata or "papermill" in notebook.metadata:
        yield "widget state or papermill's entries in the metadata"
    for text in texts(notebook):
        if found := OWN_PATH.search(text):
            yield f"a path of one machine: {text[found.start() : found.start() + 40]!r}"


def package_faults(path, notebook):
    """Faults in how a lesson or solution uses the package: imports past a front door, another notebook's name."""
    names = []
    for node in (node for tree in syntax_trees(notebook) for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            yield from (f"import {a.name}: use from … import" for a in node.names if a.name.startswith("vidseg_utils"))
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "vidseg_utils":
            if not FRONT_DOORS.fullmatch(node.module):
                yield f"imports from {node.module}, not from the front door of its room"
                continue
            exported = getattr(importlib.import_module(node.module), "__all__", None)
            for alias in node.names:
                if exported is not None and alias.name not in exported:
                    yield f"{node.module} does not export {alias.name}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setup":
            names += [keyword.value.value for keyword in node.keywords if keyword.arg == "notebook"]
    expected = f"{path.stem}_solutions" if path.parent.name == "solutions" else path.stem
    if names != [expected]:
        yield f"calls setup with notebook={names}, its name is {expected!r}"


def parameter_faults(path, notebook):
    """Faults in the one parameters cell: literals, UPPER_CASE, typed, commented, and readable for papermill."""
    cells = [cell for cell in code_cells(notebook) if is_tagged(cell, "parameters")]
    if len(cells) != 1:
        yield f"{len(cells)} cells tagged parameters"
        return
    names = []
    for statement in ast.parse(cells[0].source).body:
        line = cells[0].source.splitlines()[statement.lineno - 1]
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            yield f"no typed assignment: `{line}`"
            continue
        names.append(statement.target.id)
        if not names[-1].isupper():
            yield f"parameter {names[-1]} is not UPPER_CASE"
        if "#" not in line:
            yield f"parameter {names[-1]} has no comment"
        try:
            ast.literal_eval(statement.value)
        except ValueError:
            yield f"parameter {names[-1]} is not a literal"
            return
    if sorted(known_parameters(path)) != sorted(names):
        yield f"papermill reads {sorted(known_parameters(path))}, the cell says {sorted(names)}"
    if "PROFILE" not in names or "RUN" not in names:
        yield "no PROFILE or no RUN among the parameters"


def anatomy_faults(path, notebook):
    """Missing parts of a lesson."""
    title, code = notebook.cells[0], code_cells(notebook)
    if title.cell_type != "markdown" or not re.match(r"# \d\d · \S", title.source):
        yield "does not begin with `# 02 · Its title`"
    for part in ("uestion", "You will see", "Reads", "Writes", "T4"):
        if part not in title.source:
            yield f"the first cell lacks {part!r}"
    if len(re.findall(r"^\d\. ", title.source, flags=re.MULTILINE)) != 3:
        yield "the first cell does not list three things to see"
    if "record(" not in code[-1].source:
        yield "the last code cell does not record metrics"
    end = "\n".join(cell.source for cell in notebook.cells[-2:] if cell.cell_type == "markdown")
    if "learned" not in end or "Exercises" not in end:
        yield "does not end with what was learned and exercises"
    elif len(re.findall(r"^\d\. ", end.split("Exercises")[1], flags=re.MULTILINE)) != 3:
        yield "does not have three exercises"


def colab_faults(path, notebook):
    """What a lesson or solution lacks to be run in Colab: badge, set-up, GPU, and runs on Google Drive."""
    name, code = f"{'solutions/' if path.parent.name == 'solutions' else ''}{path.name}", code_cells(notebook)
    for part in (BADGE, COLAB, f"/blob/main/notebooks/{name})"):
        if part not in notebook.cells[0].source:
            yield f"the first cell lacks {part!r}"
    if "google.colab" not in code[0].source or len(code[0].source.splitlines()) > MAX_SETUP_LINES:
        yield f"the first code cell is not a set-up for Colab of at most {MAX_SETUP_LINES} lines"
    if notebook.metadata.get("accelerator") != "GPU":
        yield "does not ask for a GPU in Colab"
    sources = "\n".join(cell.source for cell in code)
    if "\nDRIVE: bool = False  # " not in sources or "drive=DRIVE" not in sources:
        yield "has no parameter DRIVE that is given to setup"


def saved_faults(path, notebook):
    """Faults of the saved outputs: not run from top to bottom, no picture, no output to check."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"was not run from top to bottom: {counts}"
    if not any("image/png" in output.get("data", {}) for cell in code_cells(notebook) for output in cell.outputs):
        yield "shows no picture"
    checked = [cell for cell in code_cells(notebook) if is_tagged(cell, "nbval-check-output")]
    if not checked or not all(cell.outputs for cell in checked):
        yield "has no checked cell, or one without output"


CHECKS = (portable_faults, package_faults, parameter_faults, anatomy_faults, colab_faults, saved_faults)


def faults(path, checks=CHECKS):
    notebook = nbformat.read(path, as_version=4)
    return [fault for check in checks for fault in check(path, notebook)]


@pytest.mark.parametrize("path", [NOTEBOOKS / "template.ipynb", *lessons], ids=lambda path: path.stem)
def test_a_lesson_has_all_its_parts(path):
    assert faults(path) == []


def without_indentation(code):
    return "\n".join(map(str.strip, code.splitlines()))


def outdated_code(notebook, package):
    """Code that `show_source` printed when the notebook was saved, and that the package no longer holds."""
    for cell in code_cells(notebook):
        for output in cell.outputs if "show_source(" in cell.source else []:
            shown = output.get("data", {}).get("text/markdown", "")
            code = shown.strip().removeprefix("```python").removesuffix("```").strip()
            if shown.startswith("```python") and without_indentation(code) not in package:
                yield cell.source


def test_the_code_that_notebooks_show_is_that_of_the_package():
    package = "\n".join(without_indentation(path.read_text()) for path in PACKAGE.rglob("*.py"))
    outdated = {
        path.name: found
        for path in [*lessons, *solutions]
        if (found := list(outdated_code(nbformat.read(path, as_version=4), package)))
    }
    assert outdated == {}, "run these notebooks again"
    shown = new_output("execute_result", {"text/markdown": "```python\ndef removed():\n    ...\n```"})
    old = new_notebook(cells=[new_code_cell("show_source(removed)", outputs=[shown])])
    assert list(outdated_code(old, package)) == ["show_source(removed)"]


@pytest.mark.parametrize("path", solutions, ids=lambda path: path.stem)
def test_a_solution_is_sound_and_belongs_to_a_lesson(path):
    assert faults(path, (portable_faults, package_faults, colab_faults)) == []
    assert path.name in {lesson.name for lesson in lessons}


def test_the_notebook_that_sweeps_over_systems_execute_is_sound():
    assert faults(NOTEBOOKS / "system.ipynb", (portable_faults, package_faults, parameter_faults, colab_faults)) == []


@pytest.mark.parametrize("path", lessons, ids=lambda path: path.stem)
def test_a_lesson_has_solutions(path):
    assert path.name in {solution.name for solution in solutions}


@pytest.fixture
def sound(tmp_path):
    return nbformat.read(NOTEBOOKS / "template.ipynb", as_version=4)


def set_parameters(notebook, source):
    next(cell for cell in notebook.cells if is_tagged(cell, "parameters")).source = source


def add_output(notebook, **output):
    code_cells(notebook)[3].outputs.append(new_output(**output))


def add_code(notebook, source):
    notebook.cells.insert(-1, new_code_cell(source))


GOOD = 'PROFILE: str = "auto"  # one\nRUN: str = "auto"  # two\n'
BREAKAGES = {
    "25 lines": (lambda n: code_cells(n)[3].update(source="x = 1\n" * 26), "26 lines of code"),
    "error": (lambda n: add_output(n, output_type="error", ename="KeyError", evalue="", traceback=[]), "in KeyError"),
    "stderr": (lambda n: add_output(n, output_type="stream", name="stderr", text="!"), "wrote to stderr"),
    "widget": (lambda n: add_output(n, output_type="display_data", data={WIDGETS[0]: {}}), "saved a widget"),
    "state": (lambda n: n.metadata.update(widgets={WIDGETS[1]: {"state": {}}}), "widget state"),
    "size": (lambda n: add_output(n, output_type="stream", name="stdout", text="x" * 600_000), "kB, more than"),
    "path": (lambda n: markdown_cells(n)[2].update(source="see /home/anna/data"), "a path of one machine"),
    "two cells": (lambda n: n.cells[-2].metadata.update(tags=["parameters"]), "2 cells tagged parameters"),
    "computed": (lambda n: set_parameters(n, GOOD + "N: int = 2 * 3  # n"), "N is not a literal"),
    "untyped": (lambda n: set_parameters(n, GOOD + "N = 2  # n"), "no typed assignment: `N = 2"),
    "lower case": (lambda n: set_parameters(n, GOOD + "n: int = 2  # n"), "n is not UPPER_CASE"),
    "no comment": (lambda n: set_parameters(n, GOOD + "N: int = 2"), "N has no comment"),
    "union": (lambda n: set_parameters(n, GOOD + "N: int | None = 2  # n"), "papermill reads"),
    "no profile": (lambda n: set_parameters(n, "N: int = 2  # n"), "no PROFILE"),
    "badge": (lambda n: n.cells[0].update(source=n.cells[0].source.replace("template", "other")), "template.ipynb"),
    "title": (lambda n: n.cells.insert(0, new_markdown_cell("hello")), "does not begin with"),
    "set-up": (lambda n: n.cells.insert(1, new_code_cell("import os")), "is not a set-up for Colab of at most 12"),
    "deep import": (lambda n: add_code(n, "from vidseg_utils.metrics.masks import jaccard"), "not from the front door"),
    "module": (lambda n: add_code(n, "import vidseg_utils.metrics"), "use from … import"),
    "not exported": (lambda n: add_code(n, "from vidseg_utils.metrics import masks"), "does not export masks"),
    "name": (lambda n: add_code(n, 'setup(notebook="other")'), "its name is 'template'"),
    "gpu": (lambda n: n.metadata.pop("accelerator"), "does not ask for a GPU"),
    "drive": (lambda n: set_parameters(n, GOOD), "has no parameter DRIVE"),
    "record": (lambda n: n.cells.append(new_code_cell("print(1)")), "does not record"),
    "end": (lambda n: n.cells.pop(), "does not end with"),
    "order": (lambda n: code_cells(n)[2].update(execution_count=9), "was not run from top to bottom"),
    "checked": (lambda n: [c.update(outputs=[]) for c in code_cells(n)], "has no checked cell, or one without"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_each_fault_is_found(sound, tmp_path, name):
    breakage, message = BREAKAGES[name]
    broken = copy.deepcopy(sound)
    breakage(broken)
    path = tmp_path / "template.ipynb"
    nbformat.write(broken, path)
    assert any(message in fault for fault in faults(path)), faults(path)


def test_an_empty_notebook_is_not_sound(tmp_path):
    path = tmp_path / "template.ipynb"
    nbformat.write(new_notebook(), path)
    assert [list(check(path, nbformat.read(path, 4))) for check in (parameter_faults, saved_faults)] == [
        ["0 cells tagged parameters"],
        ["shows no picture", "has no checked cell, or one without output"],
    ]
