"""A data set of a few tiny videos, and a fast profile, for the recipes of the systems."""

import numpy as np
import pytest

from vidseg_utils.profiles import get_profile
from vidseg_utils.systems import Workspace


@pytest.fixture(scope="session")
def moving_square():
    """moving_square(number) -> (number, frames, masks) of a bright square of class 9 that moves to the right."""

    def video(number):
        masks = np.zeros((22, 160, 240), dtype=np.uint8)
        for t in range(22):
            masks[t, 40 + 8 * number : 100 + 8 * number, 6 * t : 6 * t + 60] = 9
        frames = np.repeat(np.where(masks > 0, 220, 60).astype(np.uint8)[:, None], 3, axis=1)
        return number, frames, masks

    return video


@pytest.fixture
def root(tmp_path, fill_cache, moving_square):
    """Two training and one validation video in which a bright square moves to the right; one unlabelled, one hidden."""
    fill_cache(tmp_path, "train", [moving_square(0), moving_square(1)])
    fill_cache(tmp_path, "val", [moving_square(2)])
    fill_cache(tmp_path, "unlabeled", [(3, moving_square(3)[1], None)])
    fill_cache(tmp_path, "hidden", [(4, moving_square(4)[1][:11], None)])
    return tmp_path


@pytest.fixture
def workspace(root):
    """Profile smoke on that data set; `make(runs, size=…)` gives one with another folder of runs or other sizes."""

    def make(runs="runs", **sizes):
        return Workspace.of(get_profile("smoke", **sizes), root=root, runs=root / runs, device="cpu")

    return make
