"""Proves that the shards of a split are made once, survive their maker, and are merged into the split's cache."""

import numpy as np
import pytest

from tests.helpers import make_frames, make_masks
from vidseg_utils.data import open_split
from vidseg_utils.data.cache import filling
from vidseg_utils.data.cache.shards import delete_shards, fill_shard, merge_shard

KEY = "seed 7"


@pytest.fixture
def fill(tmp_path):
    """fill(2, 3) makes these videos of a shard of the split train; returns the numbers that were made."""

    def call(*numbers, stop=None):
        made = []

        def make(number):
            if number == stop:
                raise KeyboardInterrupt
            made.append(number)
            return make_frames(number), make_masks(number), None

        try:
            fill_shard(tmp_path, "train", dict(zip(numbers, numbers, strict=True)), key=KEY, make=make)
        except KeyboardInterrupt:
            assert stop is not None
        return made

    return call


def merge(root, *numbers):
    with filling(root, "train", key=KEY, n_new=len(numbers)) as writer:
        merge_shard(writer, root, "train", numbers, key=KEY)


def test_an_interrupted_shard_goes_on_and_is_merged_once(tmp_path, fill):
    assert fill(1, 2, 3, 5, stop=3) == [1, 2]
    assert fill(1, 2, 3, 5) == [3, 5]
    assert fill(1, 2, 3, 5) == []
    merge(tmp_path, 1, 2, 3, 5)
    assert not list(tmp_path.rglob("*.shards/*/*.npy"))
    assert fill(1, 2, 3, 5, 6) == [6], "the others are in the split's cache"
    merge(tmp_path, 6)
    delete_shards(tmp_path, "train")
    assert not list(tmp_path.rglob("*.shards"))
    split = open_split(tmp_path, "train", progress=False)
    assert split.numbers.tolist() == [1, 2, 3, 5, 6]
    assert all(np.array_equal(split.frames[index], make_frames(n)) for index, n in enumerate((1, 2, 3, 5, 6)))
    assert split.masks is not None and np.array_equal(split.masks[4], make_masks(6))


def test_what_a_deleted_set_left_in_a_shard_is_made_anew(fill):
    assert fill(4, 5) == [4, 5]
    assert fill(2, 4, 5) == [2, 4, 5]


def test_an_incomplete_shard_is_not_merged(tmp_path, fill):
    fill(1, 2)
    with pytest.raises(RuntimeError, match=r"the shard .* was changed by another process; run the same command again"):
        merge(tmp_path, 1, 2, 3)
