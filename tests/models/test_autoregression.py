"""Rollout feeds a model its own output, or the truth in scheduled sampling; checkpointing keeps the gradient."""

import pytest
import torch
from torch import nn

from vidseg_utils.models import build_model, checkpointed, rollout


class Counter(nn.Module):
    """Outputs T frames that are 1, 2, 3, … more than the newest input frame, and records its inputs."""

    def __init__(self):
        super().__init__()
        self.inputs = []

    def forward(self, frames):
        self.inputs.append(frames.flatten().tolist())
        return frames[:, -1:] + torch.arange(1.0, 1 + frames.shape[1]).view(1, -1, 1, 1, 1)


def video(*values):
    return torch.tensor(values).float().view(1, -1, 1, 1, 1)


def test_rollout_in_blocks_feeds_back_whole_outputs():
    model = Counter()
    assert rollout(model, video(1, 2, 3), 7, ahead=3).flatten().tolist() == [4, 5, 6, 7, 8, 9, 10]
    assert model.inputs == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_rollout_by_single_frames_slides_the_window():
    model = Counter()  # its last output is 3 more than its newest input
    assert rollout(model, video(1, 2, 3), 3).flatten().tolist() == [6, 9, 12]
    assert model.inputs == [[1, 2, 3], [2, 3, 6], [3, 6, 9]]


def test_rollout_applies_feedback_to_inputs_but_not_to_the_returned_output():
    model = Counter()
    assert rollout(model, video(1, 2, 3), 3, feedback=lambda x: -x).flatten().tolist() == [6, -3, 6]
    assert model.inputs == [[1, 2, 3], [2, 3, -6], [3, -6, 3]]


def test_scheduled_sampling_feeds_the_truth_with_the_given_probability():
    model = Counter()
    truth = video(100, 200, 300)
    assert rollout(model, video(1, 2, 3), 3, truth=truth, truth_probability=1.0).flatten().tolist() == [6, 103, 203]
    assert model.inputs == [[1, 2, 3], [2, 3, 100], [3, 100, 200]]
    torch.manual_seed(0)
    clips = video(1, 2, 3).repeat(400, 1, 1, 1, 1)
    second = rollout(Counter(), clips, 2, truth=truth.repeat(400, 1, 1, 1, 1), truth_probability=0.25)[:, 1]
    assert 70 < (second == 103).sum() < 130  # 100 of 400 expected, standard deviation 9


def test_rollout_refuses_impossible_arguments():
    with pytest.raises(ValueError, match="gives only 3 frames at a time"):
        rollout(Counter(), video(1, 2, 3), 8, ahead=4)
    with pytest.raises(ValueError, match="needs truth of 8 frames"):
        rollout(Counter(), video(1, 2, 3), 8, truth_probability=0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        rollout(Counter(), video(1, 2, 3), 8, truth=video(*range(8)), truth_probability=1.5)


def test_gradients_flow_through_the_whole_rollout():
    past = video(1, 2, 3).requires_grad_()
    rollout(Counter(), past, 5).square().sum().backward()
    assert past.grad[0, -1] != 0


def test_activation_checkpointing_gives_the_same_gradient():
    model = build_model("simvp", in_shape=(3, 3, 8, 8), hid_s=4, hid_t=8, n_s=2, n_t=2)
    past, gradients = torch.rand(2, 3, 3, 8, 8), []
    for network in (model, checkpointed(model)):
        model.zero_grad()
        rollout(network, past, 4).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients)
