"""Proves that an installed package and one notebook file are enough, as in Google Colab.

The package is installed non-editable into a fresh environment, which takes its dependencies from the one that runs the
tests. There, `google.colab` is imported before every notebook, and `pip` only notes how it was called. Each notebook
runs at profile smoke, alone in an empty folder. All of them share a home folder, as on one machine of Colab.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = [
    path.relative_to(ROOT / "notebooks").as_posix()
    for pattern in ("*.ipynb", "solutions/*.ipynb")
    for path in sorted((ROOT / "notebooks").glob(pattern))
]
INSTALL = "install -q git+https://github.com/vidseg/vidseg"
NOTE_CALL = "import os, sys\nwith open(os.environ['PIP_CALLS'], 'a') as file:\n    print(*sys.argv[1:], file=file)\n"
RUN_NOTEBOOK = """
import sys, nbformat
from nbclient import NotebookClient
from vidseg_utils.running.kernel import OwnKernelManager
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=600, kernel_manager_class=OwnKernelManager).execute()
nbformat.write(notebook, sys.argv[2])
"""


class Colab:
    """The simulated machine. `home` holds what the notebooks write."""

    def __init__(self, folder: Path):
        self.home, self.calls = folder / "home", folder / "pip_calls.txt"
        environment, fake, source = folder / "env", folder / "fake", folder / "source"
        self.home.mkdir()
        venv.create(environment, with_pip=False)
        paths = {"base": str(environment), "platbase": str(environment)}
        self.python = Path(sysconfig.get_path("scripts", "venv", vars=paths)) / Path(sys.executable).name
        packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        (fake / "google" / "colab").mkdir(parents=True)
        (fake / "google" / "colab" / "__init__.py").touch()
        (fake / "sitecustomize.py").write_text("import google.colab\n")
        (fake / "pip").mkdir()
        (fake / "pip" / "__init__.py").touch()
        (fake / "pip" / "__main__.py").write_text(NOTE_CALL)
        source.mkdir()
        for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        for name in ("vidseg_utils", "notebooks"):
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
        subprocess.run([*install, "--target", packages, source], check=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("VIDSEG_", "PYTHON"))}
        here = {"HOME": self.home, "PYTHONPATH": fake, "PIP_CALLS": self.calls, "VIDSEG_PROFILE": "smoke"}
        self.variables = inherited | {name: str(value) for name, value in here.items()}

    def run_python(self, *arguments: object, folder: Path) -> str:
        """Run the environment's Python in `folder`; its output. Fails with what it wrote to stderr."""
        command = [self.python, *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=self.variables, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    return Colab(tmp_path_factory.mktemp("colab"))


def test_the_installed_package_is_the_one_that_runs(colab, tmp_path):
    show = "import sys, vidseg_utils; print(vidseg_utils.__file__, 'google.colab' in sys.modules)"
    path, in_colab = colab.run_python("-c", show, folder=tmp_path).split()
    assert not Path(path).is_relative_to(ROOT) and in_colab == "True"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_alone_in_an_empty_folder(colab, tmp_path, name):
    folder, executed = tmp_path / "content", tmp_path / "executed.ipynb"
    folder.mkdir()
    file = Path(shutil.copy(ROOT / "notebooks" / name, folder))
    calls = colab.calls.read_text() if colab.calls.exists() else ""
    colab.run_python("-c", RUN_NOTEBOOK, file, executed, folder=folder)
    assert colab.calls.read_text() == f"{calls}{INSTALL}\n"
    assert list(folder.iterdir()) == [file]
    if name.startswith("05"):
        outputs = [
            output.get("data", {}) for cell in nbformat.read(executed, 4).cells for output in cell.get("outputs", [])
        ]
        (sweeps,) = (t for o in outputs if (t := o.get("text/markdown", "")).startswith("| question |"))
        assert len(sweeps.splitlines()) == 2 + len(list((ROOT / "notebooks" / "sweeps").glob("*.yaml")))


def test_the_command_line_finds_the_installed_notebooks(colab, tmp_path):
    printed = colab.run_python("-m", "vidseg_utils.running.cli", "run", "template", folder=tmp_path)
    assert printed.strip() == f"template: {colab.home / 'vidseg' / 'runs' / 'template-smoke'}"
