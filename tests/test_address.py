"""Proves that every badge, install cell and link has the repository's one address, and that one command changes it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BADGE = "https://colab.research.google.com/github/{}/blob/main/notebooks/a.ipynb"
INSTALL = "%pip install git+https://github.com/{}"


def run_script(root, *arguments):
    command = [sys.executable, root / ".ci" / "address.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_no_file_has_another_address():
    result = run_script(ROOT)
    assert result.returncode == 0, result.stderr


@pytest.fixture
def project(tmp_path):
    """A project of three files under the address old/clips, with a copy of the script."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "address.py", tmp_path / ".ci")
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/old/clips"\n')
    (tmp_path / "README.md").write_text(
        "Clone https://github.com/old/clips. After https://github.com/karpathy/nanoGPT.\n"
    )
    (tmp_path / "notebooks").mkdir()
    lines = (BADGE.format("old/clips"), INSTALL.format("old/clips"))
    (tmp_path / "notebooks" / "a.ipynb").write_text("\n".join(lines))
    return tmp_path


def test_a_new_address_is_written_everywhere_and_other_links_stay(project):
    result = run_script(project, "anna/videos")
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.split()) == ["README.md", "notebooks/a.ipynb", "pyproject.toml"]
    assert "https://github.com/anna/videos" in (project / "pyproject.toml").read_text()
    readme = (project / "README.md").read_text()
    assert readme == "Clone https://github.com/anna/videos. After https://github.com/karpathy/nanoGPT.\n"
    lines = (project / "notebooks" / "a.ipynb").read_text().splitlines()
    assert lines == [BADGE.format("anna/videos"), INSTALL.format("anna/videos")]


@pytest.mark.parametrize("stray", [BADGE.format("bob/x"), INSTALL.format("bob/x"), "https://github.com/bob/clips"])
def test_a_link_with_another_address_is_found(project, stray):
    (project / "docs").mkdir()
    (project / "docs" / "page.md").write_text(f"text\n{stray}\n")
    result = run_script(project)
    assert result.returncode == 1
    assert "docs/page.md:2: bob/" in result.stderr


def test_an_address_without_an_owner_is_refused(project):
    result = run_script(project, "clips")
    assert result.returncode == 1
    assert "'clips' is not an address; give owner/name" in result.stderr
    assert "old/clips" in (project / "README.md").read_text()
