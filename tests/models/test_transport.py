"""Proves that content arrives where the predictor sends it, that the cost volume tells where it came from, and that the
predictor learns to move what moves."""

import pytest
import torch
from torch.nn import functional

from vidseg_utils.models.transport import CONTEXT_FRAMES, Transport, TransportPredictor, cost_volume, splat


def everywhere(shift, spread, *, height=9, width=12):
    """A transport that is the same for all cells."""
    shifts = torch.tensor(shift, dtype=torch.float).view(1, 1, 2, 1, 1).expand(1, 1, 2, height, width)
    return Transport(shifts, torch.full((1, 1, height, width), spread), torch.ones(1, height, width))


def one_cell(row, column, *, height=9, width=12):
    maps = torch.zeros(1, 2, height, width)
    maps[:, :, row, column] = torch.tensor([1.0, -3.0])
    return maps


def moving_content(n_frames, *, speed):
    """(1, n_frames, 4, 12, 20): a patch of 2x2 cells with content of its own that moves to the right."""
    torch.manual_seed(1)
    patch, maps = 3 * torch.randn(4, 2, 2), torch.zeros(1, n_frames, 4, 12, 20)
    for frame in range(n_frames):
        maps[0, frame, :, 5:7, 2 + speed * frame : 4 + speed * frame] = patch
    return maps


@pytest.mark.parametrize(("shift", "place"), [((3, 0), (4, 6)), ((0, -2), (2, 3)), ((-1, 4), (8, 2))])
def test_content_arrives_where_it_is_sent(shift, place):
    arrived = splat(one_cell(4, 3), everywhere(shift, 0.5))[0, 0]
    assert divmod(arrived[0].argmax().item(), 12) == place
    torch.testing.assert_close(arrived[1], -3 * arrived[0])


def test_a_spread_keeps_the_sum_and_the_mean_place_and_sets_the_standard_deviation():
    arrived = splat(one_cell(6, 6, height=13, width=13), everywhere((0.3, -0.6), 1.5, height=13, width=13))[0, 0, 0]
    rows = torch.arange(13.0)
    assert arrived.sum().item() == pytest.approx(1, abs=0.01)
    in_rows, in_columns = arrived.sum(dim=1), arrived.sum(dim=0)
    assert (in_rows @ rows).item() == pytest.approx(5.4, abs=0.05)
    assert (in_columns @ rows).item() == pytest.approx(6.3, abs=0.05)
    assert (in_columns @ (rows - 6.3).square()).sqrt().item() == pytest.approx(1.5, abs=0.05)


def test_what_leaves_the_frame_is_lost():
    assert splat(one_cell(4, 3), everywhere((20, 0), 0.5)).abs().max() < 1e-6


def test_the_cost_volume_is_largest_where_content_came_from():
    maps = moving_content(2, speed=1)
    costs = cost_volume(maps[:, 1], maps[:, 0], radius=2)
    assert costs.shape == (1, 25, 12, 20)
    assert costs[0, :, 5, 4].argmax() == 2 * 5 + 1  # the row is the same, the column is one to the left
    assert costs[0, :, 10, 15].abs().max() < 0.05  # nothing was there
    assert costs.max() < 1


def test_the_cost_volume_agrees_with_products_of_shifted_maps():
    torch.manual_seed(0)
    maps, others = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    costs = cost_volume(maps, others, radius=1)
    one = cost_volume(maps, others.roll((1, 2), dims=(2, 3)), radius=1)  # others[i - 1, j - 2] at [i, j]
    above_left, right = costs[:, 0, 1:, 1:4], one[:, 5, 1:, 1:4]
    torch.testing.assert_close(above_left, right)


def test_an_untrained_predictor_nearly_copies():
    maps = moving_content(CONTEXT_FRAMES, speed=0)
    predicted = TransportPredictor(4, 8)(maps, [1])[:, 0]
    assert (predicted - maps[:, -1]).abs().max() < 0.6 * maps.abs().max()
    torch.testing.assert_close(predicted.sum(dim=(2, 3)), maps[:, -1].sum(dim=(2, 3)), rtol=0.05, atol=0.5)


def test_the_predictor_learns_to_move_what_moves():
    torch.manual_seed(0)
    predictor, maps = TransportPredictor(4, 8), moving_content(8, speed=1)
    optimiser = torch.optim.Adam(predictor.parameters(), lr=1e-2)
    for _ in range(60):
        loss = functional.mse_loss(predictor(maps[:, :4], [1, 2, 3]), maps[:, 4:7])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        shift = predictor.transport(predictor.hidden(maps[:, :4]), [3]).shift[0, 0, 0, 5:7, 5:7]
        error = functional.mse_loss(predictor(maps[:, :4], [3]), maps[:, 6:7])
    assert shift.mean().item() == pytest.approx(3, abs=0.6)
    assert error < 0.2 * functional.mse_loss(maps[:, 3], maps[:, 6])
