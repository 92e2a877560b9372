"""Frame scores: a perfect answer, an error worked by hand, moving pixels apart, streaming equal to whole."""

import math

import pytest
import torch

from vidseg_utils.metrics.frames import FrameScore


def score(prediction, target, last_past):
    result = FrameScore()
    result.update(prediction, target, last_past)
    return result.result()


def test_a_perfect_answer_has_no_error():
    frames = torch.rand(2, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    result = score(frames, frames, frames[:, 0])
    assert result["mse_per_pixel"] == [0, 0, 0]
    assert result["ssim"] == pytest.approx([1, 1, 1], abs=1e-5)


def test_an_error_worked_by_hand_and_by_horizon():
    target = torch.zeros(1, 2, 3, 16, 16)
    prediction = target.clone()
    prediction[:, 1] = 0.1
    result = score(prediction, target, target[:, 0])
    assert result["mse_per_pixel"] == pytest.approx([0, 0.01])
    assert result["psnr_db"][1] == pytest.approx(20, abs=1e-4)
    assert math.isnan(result["mse_moving"][0])  # nothing moves


def test_moving_pixels_are_also_scored_separately():
    target = torch.zeros(1, 1, 3, 16, 16)
    target[..., :8, :8] = 1.0  # an object that was not in the last past frame
    result = score(torch.zeros_like(target), target, torch.zeros(1, 3, 16, 16))
    assert result["mse_moving"] == [1.0]
    assert result["mse_per_pixel"] == [0.25]


def test_streaming_equals_whole():
    generator = torch.Generator().manual_seed(1)
    prediction, target = torch.rand(2, 4, 2, 3, 16, 16, generator=generator)
    whole, streamed = FrameScore(), FrameScore()
    whole.update(prediction, target, target[:, 0])
    for i in range(4):
        streamed.update(prediction[i : i + 1], target[i : i + 1], target[i : i + 1, 0])
    for key, values in whole.result().items():
        assert streamed.result()[key] == pytest.approx(values, rel=1e-5, nan_ok=True)


def test_wrong_shapes_and_empty_scores_are_refused(unchecked_shapes):
    with pytest.raises(ValueError, match="differ in shape"):
        FrameScore().update(torch.zeros(1, 2, 3, 8, 8), torch.zeros(1, 1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="no frames"):
        FrameScore().result()
