"""Proves that prose of lessons and solutions states no measured score: cells print those, so that they cannot differ.

Decimals in prose are published scores, settings and worked examples; they are listed here.
"""

import re
from pathlib import Path

import nbformat
import pytest

from vidseg_utils.evaluation.leaderboard import BEST_PUBLISHED_JACCARD, PUBLISHED_JACCARD, PUBLISHED_RECURRENT

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SCORE = re.compile(r"(?<![\w.,])0\.\d\d+|\d+(?:\.\d+)? ?%")
PUBLISHED = {
    *PUBLISHED_JACCARD.values(),
    BEST_PUBLISHED_JACCARD,
    *(0.90, 0.91),  # U-Net on the real data
    *(0.17, 0.21),  # SimVP and U-Net, after 5 and after 25 epochs
    0.42,  # the semi-supervised recipe without suppression
    *(  # what memory adds to the recurrent U-Net
        round(PUBLISHED_RECURRENT["vanilla", cell, "small_shallow"].miou - 0.3672, 4) for cell in ("rnn", "gru")
    ),
}
EXAMPLES = {
    "0.23": "11: J / (1 + J) for a J of 0.3",
    "0.65": "15: J / (1 + J) = 0.4",
    "0.95": "15: a setting",
    "0.01": "05 and 13: a difference that may be chance",
    "0.03": "16: a difference in an exercise",
    "30 %": "solution 04: a pixel that is unsure",
    "70 %": "solution 04: the same pixel",
}
paths = [*sorted(NOTEBOOKS.glob("*.ipynb")), *sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))]


def stated_scores(notebook):
    """Decimals and percentages of the prose that are neither published nor examples."""
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for text in SCORE.findall(prose):
        is_published = "%" not in text and any(text == f"{value:.{len(text) - 2}f}" for value in PUBLISHED)
        if text not in EXAMPLES and not is_published:
            yield text


@pytest.mark.parametrize("path", paths, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_prose_states_no_measured_score(path):
    assert list(stated_scores(nbformat.read(path, as_version=4))) == [], "print it in the cell that measures it"


def test_a_measured_score_in_prose_is_found():
    prose = "It reaches 0.817, or 94% of the pixels; published is 0.456, and 0.029 (`mask_simvp_mse`)."
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(prose)])
    assert list(stated_scores(notebook)) == ["0.817", "94%"]
