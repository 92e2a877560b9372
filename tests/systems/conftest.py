"""A data set of a few tiny videos, and a fast profile, for the recipes of the systems."""

import numpy as np
import pytest

from vidseg_utils.data.cache import fill_cache
from vidseg_utils.profiles import get_profile
from vidseg_utils.systems import Workspace


def video(number, *, class_id=9):
    """A bright square that moves to the right: (number, frames, masks)."""
    masks = np.zeros((22, 160, 240), dtype=np.uint8)
    for t in range(22):
        masks[t, 40 + 8 * number : 100 + 8 * number, 6 * t : 6 * t + 60] = class_id
    frames = np.repeat(np.where(masks > 0, 220, 60).astype(np.uint8)[:, None], 3, axis=1)
    return number, frames, masks


@pytest.fixture
def root(tmp_path):
    """Two training and one validation video in which a bright square moves to the right; one unlabelled, one hidden."""
    fill_cache(tmp_path, "train", [video(0), video(1)], key="test", progress=False)
    fill_cache(tmp_path, "val", [video(2)], key="test", progress=False)
    fill_cache(tmp_path, "unlabeled", [(3, video(3)[1], None)], key="test", progress=False)
    fill_cache(tmp_path, "hidden", [(4, video(4)[1][:11], None)], key="test", progress=False)
    return tmp_path


@pytest.fixture
def workspace(root):
    """Profile smoke on that data set; `make(runs, size=…)` gives one with another folder of runs or other sizes."""

    def make(runs="runs", **sizes):
        return Workspace.of(get_profile("smoke", **sizes), root=root, runs=root / runs, device="cpu")

    return make
