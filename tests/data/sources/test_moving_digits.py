"""Proves that digits move straight on, bounce at the edges, and differ between training and test."""

import numpy as np
import pytest

from vidseg_utils.data.sources.moving_digits import DIGIT_SIZE, SIZE, MovingDigits, bouncing_path


def test_the_same_index_gives_the_same_video_and_others_differ():
    videos, test = MovingDigits("train", 3), MovingDigits("test", 3)
    first = videos[0]["frames"]
    assert first.shape == (20, 1, 64, 64) and first.max() > 200 and first.min() == 0
    assert (videos[0]["frames"] == first).all()
    assert (videos[1]["frames"] != first).any() and (test[0]["frames"] != first).any()


@pytest.mark.parametrize("seed", range(5))
def test_digits_stay_inside_and_keep_their_speed_between_bounces(seed):
    path = bouncing_path(np.random.default_rng(seed)).astype(float)
    assert path.min() >= 0 and path.max() <= SIZE - DIGIT_SIZE
    steps = np.diff(path, axis=0)
    assert np.abs(steps).max() <= 4.5
    straight = np.abs(np.diff(steps, axis=0)).max(axis=1) <= 1.01  # up to rounding
    assert straight.mean() > 0.5


def test_wrong_splits_and_numbers_are_refused():
    with pytest.raises(ValueError, match="split"):
        MovingDigits("val", 3)
    with pytest.raises(IndexError, match="video 3 of 3"):
        MovingDigits("train", 3)[3]
