"""A data set of a few videos, and a workspace with small sizes, for tests of recipes and systems."""

import pytest

from tests.helpers import fill_cache, moving_square
from vidseg_utils.systems import Workspace


@pytest.fixture
def root(tmp_path):
    """Two training and one validation video in which a bright square moves to the right; one unlabelled, one hidden."""
    fill_cache(tmp_path, "train", [moving_square(0), moving_square(1)])
    fill_cache(tmp_path, "val", [moving_square(2)])
    fill_cache(tmp_path, "unlabeled", [(3, moving_square(3)[1], None)])
    fill_cache(tmp_path, "hidden", [(4, moving_square(4)[1][:11], None)])
    return tmp_path


@pytest.fixture
def workspace(root):
    """A function (runs, sizes) -> workspace of profile smoke on that data set."""

    def make(runs="runs", sizes=None):
        return Workspace.for_profile("smoke", sizes=sizes, root=root, runs=root / runs, device="cpu")

    return make
