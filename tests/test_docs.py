"""The pages keep their promises: links lead somewhere, commands and options exist, the file tree is the package's."""

import re
import shlex
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer
import yaml
from typer.testing import CliRunner

import vidseg_utils
from tests.test_rooms import ORDER
from vidseg_utils.running.cli import app

ROOT = Path(__file__).resolve().parents[1]
MAX_README_WORDS, MAX_ANIMATION_BYTES = 900, 1_000_000
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"!?\[[^\[\]]*(?:!\[[^\]]*\]\([^)]*\))?[^\[\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def page_links(page: Path) -> list[str]:
    """The relative links and figures of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = [link for pair in LINK.findall(text) for link in pair if link]
    return [link for link in found if not link.startswith(("http://", "https://", "mailto:"))]


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def code_blocks(name: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```", read(name), flags=re.DOTALL | re.MULTILINE)


def shell_commands(name: str) -> list[list[str]]:
    """The arguments of every `vidseg …` line in the code blocks of a page."""
    lines = [line for block in code_blocks(name) for line in block.splitlines() if line.startswith("vidseg ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_the_readme_is_short():
    assert len(read("README.md").split()) <= MAX_README_WORDS


def test_the_readme_links_every_page_and_every_lesson():
    links = page_links(ROOT / "README.md")
    pages = [str(page.relative_to(ROOT)) for page in PAGES[1:]]
    lessons = [f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")]
    assert set(pages + lessons) <= set(links)


def test_the_animation_is_small():
    assert 0 < (ROOT / "figures/forecast.gif").stat().st_size <= MAX_ANIMATION_BYTES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    for link in page_links(page):
        path, _, anchor = unquote(link).partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


def test_links_are_found_inside_badges_and_figures(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[a](b.md) ![c](d.png) [![e](https://f.svg)](g.md)\n```\n[h](i.md)\n```\n")
    assert page_links(page) == ["b.md", "d.png", "g.md"]


def find_command(arguments: list[str]) -> tuple[list[str], typer.core.TyperCommand]:
    """The words that name the command, and the command."""
    command, words = typer.main.get_command(app), []
    for word in arguments:
        if not hasattr(command, "commands"):
            break
        assert word in command.commands, f"vidseg has no command {' '.join([*words, word])}"
        command, words = command.commands[word], [*words, word]
    return words, command


def page_of_commands() -> list[list[str]]:
    return [arguments for page in ("README.md", "CONTRIBUTING.md") for arguments in shell_commands(page)] + [
        arguments for page in sorted((ROOT / "docs").glob("*.md")) for arguments in shell_commands(f"docs/{page.name}")
    ]


def test_commands_in_the_pages_exist_and_take_the_options_shown():
    commands = page_of_commands()
    assert len(commands) > 15
    for arguments in commands:
        words, command = find_command(arguments)
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        shown = {argument for argument in arguments if re.match(r"--?[a-z]", argument)}
        assert shown <= known | {"--help"}, f"vidseg {' '.join(words)} has no {shown - known}"


def test_every_command_is_described_and_has_help():
    text = read("docs/command_line.md")
    described = {tuple(find_command(words.split())[0]) for words in re.findall(r"`vidseg ([a-z -]+)`", text)}
    root = typer.main.get_command(app)
    existing = {(name,) for name in root.commands if name != "data"}
    existing |= {("data", name) for name in root.commands["data"].commands}
    assert described == existing
    for words in existing:
        result = CliRunner().invoke(app, [*words, "--help"])
        assert result.exit_code == 0, words


def test_every_option_named_on_the_command_line_page_exists():
    root = typer.main.get_command(app)
    commands = [root, *root.commands.values(), *root.commands["data"].commands.values()]
    known = {name for c in commands for p in c.params for name in (*p.opts, *p.secondary_opts)}
    named = set(re.findall(r"`(--[a-z][a-z-]*)", read("docs/command_line.md")))
    assert named <= known | {"--help", "--debug"}


def test_the_file_tree_of_the_architecture_page_is_the_package():
    (tree,) = [block for block in code_blocks("docs/architecture.md") if "vidseg_utils/" in block]
    named = set(re.findall(r"[\w.]+\.py", tree))
    package = Path(vidseg_utils.__file__).parent
    existing = {path.name for path in package.rglob("*.py")}
    assert named <= existing, named - existing
    assert existing <= named, existing - named


def test_the_architecture_page_has_the_order_of_the_rooms():
    blocks = [block.splitlines() for block in code_blocks("docs/architecture.md")]
    assert [", ".join(rooms) for rooms in ORDER] in blocks


def test_the_results_page_names_every_benchmark():
    text = read("docs/results.md")
    assert all(f"`{path.stem}`" in text for path in (ROOT / "benchmarks").glob("*.py"))


def test_every_test_that_the_reliability_page_names_exists():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", read("docs/reliability.md"))
    assert len(named) > 20
    for path, test in named:
        assert f"\ndef {test}(" in read(f"tests/{path}"), f"{path}::{test}"


def test_the_citation_names_the_project_and_clevrer():
    citation = yaml.safe_load(read("CITATION.cff"))
    project = tomllib.loads(read("pyproject.toml"))["project"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"].startswith("vidseg") and citation["license"] == project["license"]
    assert citation["version"] == vidseg_utils.__version__
    assert citation["repository-code"] == project["urls"]["Repository"]
    assert any("CLEVRER" in reference["title"] for reference in citation["references"])


def test_the_changelog_has_this_version():
    changelog = read("CHANGELOG.md")
    assert "## [Unreleased]" in changelog and f"## [{vidseg_utils.__version__}]" in changelog
