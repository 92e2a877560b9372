"""Proves that phrases which readers had to read twice have not come back; each has a plain term instead."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("vidseg_utils", "tests", "benchmarks", "notebooks", "docs")
PLAIN_TERMS = {
    "whole or not at all": "atomically",
    "in two minds": "undecided",
    "as far as it has": "if it has",
    "keeps no maps": "recomputes activations (activation checkpointing)",
    "asked for by name": "requested",
}


@pytest.fixture(scope="module")
def texts():
    """{file: its text, with single spaces in place of line breaks}."""
    files = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    files = [path for path in files if path.suffix in (".py", ".md", ".ipynb") and path != Path(__file__)]
    return {str(path.relative_to(ROOT)): " ".join(path.read_text(encoding="utf-8").split()) for path in files}


@pytest.mark.parametrize("phrase", PLAIN_TERMS)
def test_no_file_holds_an_unclear_phrase(texts, phrase):
    found = [file for file, text in texts.items() if phrase in text.lower()]
    assert not found, f"write {PLAIN_TERMS[phrase]!r} instead"
