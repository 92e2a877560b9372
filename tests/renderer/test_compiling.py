"""Compiled kernels: numba is loaded only to draw, machine code on disk is never stale, and any user can draw."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.renderer.trajectories import random_trajectory
from vidseg_utils.renderer import render_video
from vidseg_utils.renderer.kernels import compiling

PACKAGE = "vidseg_utils."


def plus_one(x):
    return x + 1


@pytest.fixture
def folder_of(monkeypatch):
    """folder_of(home) is the cache folder of a user with that cache home."""

    def call(home):
        monkeypatch.setenv("XDG_CACHE_HOME", str(home))
        return compiling.cache_folder.__wrapped__()

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    return call


@pytest.fixture
def no_folder(tmp_path):
    """A path at which no folder can be made, not even by root."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "folder"


@pytest.mark.parametrize("module", ["vidseg_utils.renderer", "vidseg_utils.data", "vidseg_utils.running.cli"])
def test_numba_is_not_loaded_before_something_is_drawn(module):
    script = f"import sys, {module}; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_python_draws_the_same_as_machine_code(tmp_path):
    """Two frames of five objects of all kinds, drawn by the kernels' Python code, which takes half a second."""
    script = (
        "import numpy; from tests.renderer.trajectories import random_trajectory; "
        "from vidseg_utils.renderer import render_video; "
        "frames, masks = render_video(random_trajectory(1, 2), height=41, width=63); "
        "numpy.savez('pictures.npz', frames=frames, masks=masks)"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(compiling.ROOM.parents[1])}
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, cwd=tmp_path, env=environment)
    frames, masks = render_video(random_trajectory(1, 2), height=41, width=63)
    drawn = np.load(tmp_path / "pictures.npz")
    assert (drawn["frames"] == frames).all() and (drawn["masks"] == masks).all()


def test_kernels_use_only_what_names_their_cache_folder():
    """Of what else they used, a change would leave stale machine code on disk."""
    for path in compiling.HERE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
                modules = {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
                files = [Path(compiling.ROOM.parent, *module.split(".")[1:]).with_suffix(".py") for module in modules]
                assert any(file == compiling.SOLIDS or compiling.ROOM in file.parents for file in files), path


@pytest.mark.parametrize("changed", ["renderer/appearance.py", "constants.py"])
def test_only_a_change_of_a_kernel_or_constant_gives_another_folder(tmp_path, folder_of, monkeypatch, changed):
    before = folder_of(tmp_path)
    shutil.copytree(compiling.ROOM, tmp_path / "renderer")
    shutil.copy(compiling.SOLIDS, tmp_path / "constants.py")
    monkeypatch.setattr(compiling, "ROOM", tmp_path / "renderer")
    monkeypatch.setattr(compiling, "SOLIDS", tmp_path / "constants.py")
    assert folder_of(tmp_path).name == before.name
    with (tmp_path / changed).open("a") as file:
        file.write("# another line\n")
    assert folder_of(tmp_path).name != before.name


@pytest.mark.parametrize("made_by", ["numba", "processor"])
def test_another_numba_or_processor_has_another_folder(tmp_path, folder_of, monkeypatch, made_by):
    """Both would write the same files, and could leave the code of one under the name of the other."""
    before = folder_of(tmp_path)
    if made_by == "numba":
        monkeypatch.setattr(compiling.numba, "__version__", "0.0")
    else:
        monkeypatch.setattr(type(compiling.cpu_target.target_context.codegen()), "magic_tuple", lambda self: "other")
    assert folder_of(tmp_path).name != before.name


def test_the_cache_is_beside_the_kernels_or_where_the_user_can_write(tmp_path, folder_of, no_folder, monkeypatch):
    home = tmp_path / "home"
    assert folder_of(home).parent == compiling.HERE / "__pycache__"
    monkeypatch.setattr(compiling, "HERE", no_folder)
    assert folder_of(home).parent == home / "vidseg"
    assert folder_of(no_folder) is None
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "chosen"))
    assert folder_of(no_folder).parent == tmp_path / "chosen"


def test_a_kernel_is_read_from_disk_and_compiled_without_one(tmp_path, monkeypatch):
    for folder, n_read in ((tmp_path, 0), (tmp_path, 1), (None, 0)):
        monkeypatch.setattr(compiling, "cache_folder", lambda folder=folder: folder)
        kernel = compiling.kernel("int64(int64)")(plus_one)
        assert kernel(1) == 2
        assert sum(kernel.stats.cache_hits.values()) == n_read


@pytest.mark.parametrize("content", [b"", b"damaged", b"\x8c\x01\xff.", None])  # the third is no UTF-8
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_damaged_files_on_disk_are_replaced(tmp_path, monkeypatch, suffix, content):
    folder = tmp_path / "kernels"
    monkeypatch.setattr(compiling, "cache_folder", lambda: folder)
    decorate = compiling.kernel("int64(int64)")
    decorate(plus_one)
    (file,) = folder.rglob(f"*.{suffix}")
    file.write_bytes(file.read_bytes()[:100] if content is None else content)
    assert decorate(plus_one)(1) == 2
    assert decorate(plus_one)(1) == 2
    assert sum(decorate(plus_one).stats.cache_hits.values()) == 1
