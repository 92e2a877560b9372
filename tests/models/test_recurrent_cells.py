"""The recurrent cells compute their published formulas, for all frames of a video at once."""

import pytest
import torch

from vidseg_utils.models.recurrent_cells import STATE_LIMIT, Cell, GRUCell, RNNCell


def test_the_rnn_cell_follows_its_formula():
    cell = RNNCell(4)
    x, state = torch.rand(3, 2, 4, 5, 6), torch.rand(2, 4, 5, 6)
    states, last = cell(x.flatten(0, 1), state)
    for t in range(3):
        state = torch.relu(cell.input_conv(x[t]) + cell.state_conv(state))
        torch.testing.assert_close(states[2 * t : 2 * t + 2], state)
    torch.testing.assert_close(last, state)


def test_the_gru_cell_follows_its_formula_on_concatenated_maps():
    cell = GRUCell(4)
    x, state = torch.rand(3, 2, 4, 5, 6), torch.rand(2, 4, 5, 6)
    states, last = cell(x.flatten(0, 1), state)
    for t in range(3):
        update, reset = torch.sigmoid(cell.gates(torch.cat([x[t], state], dim=1))).chunk(2, dim=1)
        candidate = STATE_LIMIT * torch.tanh(cell.candidate(torch.cat([x[t], reset * state], dim=1)) / STATE_LIMIT)
        state = (1 - update) * state + update * candidate
        torch.testing.assert_close(states[2 * t : 2 * t + 2], state, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last, state, rtol=1e-4, atol=1e-5)


def test_a_cell_without_its_own_step_and_initialisation_is_refused():
    class Forgetful(Cell):
        def project_inputs(self, x):
            return x

    with pytest.raises(TypeError, match="abstract methods init_pass_through, step"):
        Forgetful()
