"""The ConvLSTM reconstructor predicts one frame in [0, 1] from any number of frames, and their order matters."""

import pytest
import torch

from vidseg_utils.models import build_model, parameter_count
from vidseg_utils.models.convlstm import ConvLSTM

SMALL = {"base_channels": 4, "hidden_channels": 16}


def test_the_published_sizes_have_the_parameters_of_their_layers():
    def conv(a, b, k):  # with bias
        return a * b * k * k + b

    def double(a, b):  # without bias, with BatchNorm
        return 9 * a * b + 9 * b * b + 4 * b

    encoder = double(3, 64) + double(64, 128) + double(128, 256) + double(256, 512)
    memory = conv(512 + 256, 4 * 256, 3) + conv(256 + 256, 4 * 256, 3)
    decoder = sum(conv(2 * c, c, 2) + double(c, c) for c in (128, 64, 32)) + conv(32, 3, 1)
    with torch.device("meta"):
        assert parameter_count(build_model("convlstm_reconstructor")) == encoder + memory + decoder == 17_046_147


@pytest.mark.parametrize("n_frames", [1, 11])
@pytest.mark.parametrize("size", [(8, 8), (37, 50)])
def test_one_frame_of_the_same_size_in_range(n_frames, size):
    frame = build_model("convlstm_reconstructor", **SMALL)(torch.rand(2, n_frames, 3, *size))
    assert frame.shape == (2, 3, *size)
    assert (frame >= 0).all()
    assert (frame <= 1).all()


def test_a_residual_model_starts_as_copy_last_and_learns():
    frames = torch.rand(2, 3, 3, 21, 30)
    model = build_model("convlstm_reconstructor", residual=True, **SMALL)
    assert torch.equal(model(frames), frames[:, -1])
    model(frames).square().sum().backward()
    assert model.head.weight.grad.abs().sum() > 0


def test_every_past_frame_and_their_order_affect_the_output():
    torch.manual_seed(0)
    lstm = ConvLSTM(3, 4, n_layers=2)
    maps = torch.rand(1, 4, 3, 5, 6, requires_grad=True)
    last = lstm(maps)
    last.square().sum().backward()
    assert (maps.grad.abs().sum(dim=(0, 2, 3, 4)) > 0).all()
    assert (lstm(maps.flip(1)) - last).abs().max() > 1e-4


def test_the_lstm_follows_its_formula():
    lstm = ConvLSTM(3, 4, n_layers=2)
    maps = torch.rand(2, 3, 3, 5, 6)
    states = [(torch.zeros(2, 4, 5, 6), torch.zeros(2, 4, 5, 6)) for _ in range(2)]
    for t in range(3):
        x = maps[:, t]
        for layer, cell in enumerate(lstm.cells):
            hidden, memory = states[layer]
            i, f, o, g = cell.gates(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)
            memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
            x = torch.sigmoid(o) * torch.tanh(memory)
            states[layer] = (x, memory)
    torch.testing.assert_close(lstm(maps), x)


def test_dropout_is_for_training_only():
    model = build_model("convlstm_reconstructor", dropout=0.5, **SMALL)
    frames = torch.rand(2, 2, 3, 16, 16)
    assert not torch.equal(model(frames), model(frames))
    model.eval()
    assert torch.equal(model(frames), model(frames))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden_channels": 12}, "hidden_channels must be divisible by 8, got 12"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"n_layers": 0}, "n_layers must be a whole number of at least 1"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        build_model("convlstm_reconstructor", **wrong)
