"""Proves that pip, conda, make and CI install and check the same thing, and that no needed library is missing."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENT = re.compile(r"([A-Za-z0-9_-]+)>=([0-9.]+)")
# google.colab exists in Colab only
WITHOUT_REQUIREMENT = {"vidseg_utils", "google"}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def call_log(tmp_path, monkeypatch):
    """File to which `make` writes its arguments, instead of doing anything."""
    log, program = tmp_path / "calls.txt", tmp_path / "bin" / "make"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho make "$@" >> {log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return log


def test_conda_installs_what_make_installs(project):
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert f"python{project['requires-python']}" in environment["dependencies"]
    assert {"pip": ["--editable .[dev]"]} in environment["dependencies"]
    make = ["make", "--dry-run", "--always-make", "install"]
    commands = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r'pip install .*--editable "\.\[dev\]"', commands)


def test_the_ci_script_runs_make_test_in_the_checkout(call_log, tmp_path):
    shutil.copytree(ROOT / ".ci", tmp_path / "checkout" / ".ci")
    subprocess.run(["bash", tmp_path / "checkout" / ".ci" / "run"], cwd=tmp_path, check=True)
    assert call_log.read_text() == "make test\n"


def test_the_workflow_runs_the_ci_script():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    commands = [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
    assert "bash .ci/run" in commands


def test_dependencies_have_lower_bounds_only(project):
    assert all(REQUIREMENT.fullmatch(requirement) for requirement in project["dependencies"])


def test_nothing_that_colab_ships_is_replaced(project):
    lines = (ROOT / "tests" / "colab_2026_06.txt").read_text().splitlines()
    shipped = dict(line.split("==") for line in lines if not line.startswith("#"))
    installed = {}  # what `pip install` adds there, and which requirement asked for it
    unread = [Requirement(text) for text in project["dependencies"]]
    while unread:
        requirement = unread.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": "", "python_version": "3.12"}):
            continue
        if name in shipped:
            assert requirement.specifier.contains(shipped[name]), f"{requirement}, but Colab ships {shipped[name]}"
        elif name not in installed:
            installed[name] = requirement
            unread += [Requirement(text) for text in requires(name) or []]
    assert {"av", "jaxtyping", "mujoco", "papermill", "torchmetrics"} <= set(installed)


def test_every_file_that_the_package_reads_is_installed_with_it():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folders = {"vidseg_utils": ROOT / "vidseg_utils", "vidseg_utils.notebooks": ROOT / "notebooks"}
    installed = {path for name, patterns in settings.items() for p in patterns for path in folders[name].glob(p)}
    read = {path for folder in folders.values() for path in folder.rglob("*.*") if path.is_file()}
    made = {"__pycache__", ".ipynb_checkpoints"}  # by Python, numba and Jupyter
    files = {path for path in read if path.suffix != ".py" and not made & set(path.parts)}
    assert ROOT / "notebooks" / "sweeps" / "semi_stages.yaml" in files
    assert files <= installed


def test_every_imported_library_is_a_dependency(project):
    extras = project["optional-dependencies"]
    requirements = project["dependencies"] + extras["slurm"] + extras["dask"]
    required = {REQUIREMENT.fullmatch(requirement)[1] for requirement in requirements}
    imported = set()
    for path in (ROOT / "vidseg_utils").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    providers = packages_distributions()
    for name in imported - sys.stdlib_module_names - WITHOUT_REQUIREMENT:
        assert {provider.lower() for provider in providers.get(name, [name])} & required, name


def test_the_linter_checks_every_file():
    ruff = [sys.executable, "-m", "ruff", "check", "--show-files", ROOT]
    checked = subprocess.run(ruff, capture_output=True, text=True, check=True).stdout
    files = {str(path) for folder in ("vidseg_utils", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")}
    assert files
    assert files <= set(checked.splitlines())
