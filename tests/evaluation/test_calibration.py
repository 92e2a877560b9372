"""Proves that a system's probabilities over a split are compared with the truth, and that masks follow from them."""

import numpy as np
import pytest
import torch

from tests.helpers import fill_cache, moving_square
from vidseg_utils.data import open_split
from vidseg_utils.evaluation import calibrate
from vidseg_utils.systems.copy_last import CopyLast


class Unsure(CopyLast):
    """Gives every pixel of the square's class the probability 0.4 in the left half of the image, and none elsewhere."""

    name = "unsure"

    def class_probabilities(self, frames):
        probabilities = torch.zeros(len(frames), 49, *frames.shape[-2:])
        probabilities[:, CLASS, :, : frames.shape[-1] // 2] = 0.4
        probabilities[:, 0] = 1 - probabilities[:, CLASS]
        return probabilities


NUMBER, FRAMES, MASKS = moving_square(2)
CLASS = int(MASKS.max())


def test_the_frequency_is_counted_and_the_score_decides_what_is_drawn(tmp_path):
    fill_cache(tmp_path, "val", [(NUMBER, FRAMES, MASKS)])
    split = open_split(tmp_path, "val", height=16, width=24)
    answer = calibrate(Unsure(), split, score=0.5, progress=False)
    shown = (split.masks[0, -1] == CLASS)[:, :12].mean()
    assert answer.curve.count.sum() == 16 * 12
    assert answer.curve.error == pytest.approx(abs(0.4 - shown), abs=1e-6)
    assert answer.masks.dtype == np.uint8 and (answer.masks[0, :, :12] == CLASS).all()
    assert not calibrate(Unsure(), split, score=0.9, progress=False).masks.any()


def test_a_split_without_masks_and_a_system_without_probabilities_are_refused(tmp_path):
    fill_cache(tmp_path, "val", [(NUMBER, FRAMES, MASKS)])
    fill_cache(tmp_path, "hidden", [(NUMBER, FRAMES[:11], None)])
    with pytest.raises(ValueError, match="without masks"):
        calibrate(Unsure(), open_split(tmp_path, "hidden", height=16, width=24), score=0.5, progress=False)
    with pytest.raises(ValueError, match="gives no probabilities"):
        calibrate(CopyLast(), open_split(tmp_path, "val", height=16, width=24), score=0.5, progress=False)
