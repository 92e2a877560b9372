"""A small data set in the course layout, written by the tests themselves."""

from pathlib import Path

import pytest

from tests.helpers import write_split


@pytest.fixture(scope="session")
def small_root(tmp_path_factory) -> Path:
    """train: 3 videos, val: 2, unlabeled: 2, hidden: 2. Shared: do not change it."""
    root = tmp_path_factory.mktemp("small")
    write_split(root, "train", (0, 2, 10))
    write_split(root, "val", (1000, 1001))
    write_split(root, "unlabeled", (2000, 2001), pattern="video_{:05d}")
    write_split(root, "hidden", (15000, 15001))
    return root
