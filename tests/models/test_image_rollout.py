"""Proves that the rollout starts as a straight line, that clips do not mix, and that its loss is a proper score."""

import pytest
import torch

from vidseg_utils.models import build_model, parameter_count
from vidseg_utils.models.image_rollout import Regions, clearest_outline, energy_score, straight_line

WHOLE = torch.tensor([-1.0, -1, 1, 1, 0, 0])  # left, top, right, bottom and the centroid of a square of side 2


def moving_squares(velocities, n_frames=11):
    """One clip whose squares, 0.2 high and wide, move from (0.5, 0.5) by the velocities, one slot each."""
    time = torch.arange(n_frames)[:, None, None]
    centre = 0.5 + time * torch.tensor(velocities)  # (T, N, 2)
    position = centre.repeat(1, 1, 3) + 0.1 * WHOLE
    reliable = torch.ones_like(position, dtype=torch.bool)
    class_id = torch.arange(1, len(velocities) + 1)
    return Regions(class_id[None], position[None], reliable[None], reliable[None, ..., 0].clone(), torch.tensor([1.5]))


def small(**settings):
    torch.manual_seed(0)
    return build_model("image_rollout", hidden=8, memory=4, **settings).eval()


def trained(model):
    """The model with random last layers, as after training."""
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_an_untrained_network_moves_objects_in_straight_lines_and_keeps_their_outlines():
    past = moving_squares([[0.02, 0.01], [0.0, 0.0]])
    futures = small()(past, n_frames=5, n_futures=3)
    expected = moving_squares([[0.02, 0.01], [0.0, 0.0]], 16).position[:, 11:]
    torch.testing.assert_close(futures.position, expected[:, None].expand(-1, 3, -1, -1, -1))


def test_a_clip_has_the_same_futures_in_any_batch():
    first, second = moving_squares([[0.02, 0.0], [0.0, 0.01]]), moving_squares([[0.0, 0.03], [0.01, 0.0]])
    both = Regions(*map(torch.cat, zip(first, second, strict=True)))
    model = trained(small())

    def without_noise(past):  # the numbers of a batch's objects would differ
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randn", lambda *shape, **_: torch.zeros(*shape))
            return model(past, n_frames=4, n_futures=2).position

    torch.testing.assert_close(without_noise(both), torch.cat([without_noise(first), without_noise(second)]))


def test_futures_differ_and_only_near_objects_affect_each_other():
    model = trained(small())
    past = moving_squares([[0.01, 0.0]])
    torch.manual_seed(0)
    futures = model(past, n_frames=3, n_futures=4).position
    assert (futures[0, 0] - futures[0, 1]).abs().max() > 1e-4

    def moved(distance):
        two = moving_squares([[0.01, 0.0], [0.01, 0.0]])
        two.position[:, :, 1] += distance
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randn", lambda *shape, **_: torch.zeros(*shape))
            return model(two, n_frames=3, n_futures=1).position[0, 0, :, 0]

    torch.testing.assert_close(moved(5.0), moved(9.0))
    assert (moved(0.1) - moved(5.0)).abs().max() > 1e-3


def test_empty_slots_and_clips_without_objects_stay_empty():
    past = moving_squares([[0.01, 0.0], [0.0, 0.0]])
    past.seen[:, :, 1], past.position[:, :, 1] = False, 0
    futures = small()(past, n_frames=2, n_futures=2)
    assert not futures.position[..., 1, :].any() and (futures.visible[..., 1] < -20).all()
    past.seen[:], past.position[:] = False, 0
    assert (small()(past, n_frames=2, n_futures=2).visible < -20).all()


def test_velocity_comes_from_the_sides_that_are_not_cut_off():
    past = moving_squares([[0.02, 0.0]])
    past.position[..., 0], past.reliable[..., 0] = 0.3, False  # the left side is hidden
    past.reliable[..., 4:] = False
    past.seen[:, -2:] = False  # and the object was last seen two frames ago
    flat = (values.transpose(1, 2).flatten(0, 1) for values in (past.position, past.reliable, past.seen))
    _, velocity, gap = straight_line(*flat)
    torch.testing.assert_close(velocity, torch.tensor([[0.02, 0.0]]), atol=1e-4, rtol=0)
    assert gap.item() == 2


def test_the_outline_comes_from_the_clearest_frame():
    past = moving_squares([[0.0, 0.0]])
    past.position[:, 6:, :, 2], past.reliable[:, 6:, :, 2:3] = 0.5, False  # later, the right half is hidden
    flat = (values.transpose(1, 2).flatten(0, 1) for values in (past.position, past.reliable, past.seen))
    torch.testing.assert_close(clearest_outline(*flat), torch.full((1, 4), 0.1))


def test_the_energy_score_prefers_futures_that_scatter_as_the_truth_does():
    torch.manual_seed(0)
    truth = 0.1 * torch.randn(4000, 1, 1, 2).repeat(1, 1, 1, 3)
    known = torch.ones_like(truth, dtype=torch.bool)

    def score(spread, shift=0.0):
        futures = spread * torch.randn(4000, 4, 1, 1, 2).repeat(1, 1, 1, 1, 3) + shift
        return energy_score(futures, truth, known).mean()

    assert score(0.1) < min(score(0.0), score(0.2), score(0.1, shift=0.05))
    assert energy_score(truth[:, None], truth, known).max() < 0.03
    assert torch.equal(energy_score(truth[:, None] + 9.0, truth, ~known), energy_score(truth[:, None], truth, ~known))


def test_size_state_and_refused_input():
    model = build_model("image_rollout")
    assert parameter_count(model) == 69_917
    other = build_model("image_rollout")
    other.load_state_dict(model.state_dict())
    with pytest.raises(ValueError, match="expected regions of 11 past frames, got 10"):
        model(moving_squares([[0.0, 0.0]], 10), n_frames=1, n_futures=1)
    with pytest.raises(ValueError, match="substeps must be a whole number of at least 1"):
        build_model("image_rollout", substeps=0)
