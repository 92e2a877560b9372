"""Proves that what a student's own system forecasts is checked, and that the error says what to return instead."""

import pytest
import torch

from vidseg_utils.systems import CopyLast, Forecaster


class Own(Forecaster):
    """Forecasts whatever it is given."""

    name = "own"
    accepts_masks = True

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    @classmethod
    def train(cls, workspace):
        raise AssertionError("not called")

    @classmethod
    def load(cls, workspace):
        raise AssertionError("not called")

    def forecast_frames(self, frames):
        return self.answer

    forecast_masks = forecast_frames


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (torch.zeros(2, 49, 40, 60), r"returned torch.float32 \(2, 49, 40, 60\), which looks like logits: .*argmax"),
        (torch.zeros(2, 40, 60), r"Own.forecast_frames must return class ids, .*torch.float32 .*\.long\(\)"),
        (torch.zeros(2, 40, 60, dtype=torch.bool), r"torch.bool"),
        (torch.zeros(2, 11, 40, 60, dtype=torch.uint8), r"\(2, 11, 40, 60\): return one mask per clip.*masks\[:, -1\]"),
        (torch.zeros(1, 40, 60, dtype=torch.uint8), r"with B = 2; it returned torch.uint8 \(1, 40, 60\)"),
        (torch.zeros(2, 0, 60, dtype=torch.uint8), r"one mask per clip"),
        (torch.full((2, 40, 60), 49), r"returned id 49, and ids run from 0 to 48"),
        (torch.full((2, 40, 60), -1), r"returned id -1"),
        (torch.full((2, 40, 60), 256), r"returned id 256"),
        (None, r"returned a NoneType"),
    ],
)
def test_a_wrong_forecast_is_refused_with_the_cure(answer, message):
    with pytest.raises(ValueError, match=message):
        Own(answer).predict(torch.zeros(2, 11, 3, 40, 60))


def test_a_wrong_forecast_from_masks_names_its_method():
    with pytest.raises(ValueError, match=r"Own\.forecast_masks must return"):
        Own(torch.zeros(2, 40, 60)).predict(torch.zeros(2, 11, 40, 60, dtype=torch.uint8))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_class_ids_of_any_integer_type_and_size_are_accepted(dtype):
    mask = Own(torch.full((2, 80, 120), 48, dtype=dtype)).predict(torch.zeros(2, 11, 3, 40, 60))
    assert mask.shape == (2, 40, 60)
    assert mask.dtype == torch.uint8
    assert mask.unique().tolist() == [48]


def test_true_masks_with_ignored_pixels():
    masks = torch.zeros(2, 11, 40, 60, dtype=torch.uint8)
    masks[:, -1, 0] = 255
    assert CopyLast().predict(masks).shape == (2, 40, 60)
