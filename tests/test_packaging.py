"""The doors into the project agree: pyproject.toml, environment.yml, the Makefile and the workflow."""

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def test_conda_and_pip_install_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert f"python{project['requires-python']}" in environment["dependencies"]
    assert {"pip": ["--editable .[dev]"]} in environment["dependencies"]
    assert '".[dev]"' in (ROOT / "Makefile").read_text()


def test_dependencies_have_lower_bounds_only():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert all(">=" in d and "<" not in d.replace(">=", "") and "==" not in d for d in project["dependencies"])


def test_every_library_that_is_imported_is_asked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["slurm"]
    asked = {dependency.split(">=")[0] for dependency in wanted}
    imported = set()
    for path in (ROOT / "vidseg_utils").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    providers = packages_distributions()
    for name in imported - sys.stdlib_module_names - {"vidseg_utils", "google"}:  # Colab alone has google.colab
        assert {provider.lower() for provider in providers.get(name, [name])} & asked, name


def test_both_ci_doors_run_the_same_script():
    assert "bash .ci/run" in (ROOT / ".github/workflows/ci.yml").read_text()
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_the_linter_sees_every_file():
    ruff = [sys.executable, "-m", "ruff", "check", "--show-files", ROOT]
    seen = subprocess.run(ruff, capture_output=True, text=True, check=True).stdout
    ours = {str(path) for folder in ("vidseg_utils", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")}
    assert ours
    assert ours <= set(seen.splitlines())
