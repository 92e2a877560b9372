"""A data set of a few tiny videos, and a fast profile, for the recipes of the systems."""

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
    """Profile smoke on that data set; `make(runs, sizes={…})` gives one with another folder of runs or other sizes."""

    def make(runs="runs", sizes=None):
        return Workspace.for_profile("smoke", sizes=sizes, root=root, runs=root / runs, device="cpu")

    return make
