"""A model prepared for streaming gives the same logits up to rounding, and the original stays unchanged."""

import pytest
import torch
from torch import nn

from vidseg_utils.models import build_model
from vidseg_utils.models.recurrent_unet import RECURRENT_BLOCKS
from vidseg_utils.models.streaming import prepare_for_streaming


@pytest.mark.parametrize("cell", ["none", "gru"])
@pytest.mark.parametrize("block", RECURRENT_BLOCKS)
def test_a_stream_is_segmented_as_before(block, cell):
    torch.manual_seed(0)
    model = build_model("recurrent_unet", block=block, cell=cell, n_classes=5)
    frames = torch.rand(1, 4, 3, 18, 22)
    model(frames)  # moves BatchNorm's statistics away from 0 and 1
    model.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stream, state, pieces = prepare_for_streaming(model), None, []
    with torch.inference_mode():
        for frame in frames.unbind(dim=1):
            logits, state = stream(frame[:, None], state)
            pieces.append(logits)
        expected, _ = model(frames)
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected, rtol=1e-3, atol=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    norms = [name for name, layer in stream.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms == [name for name in norms if name.endswith(".norm")]  # no convolution precedes these
    assert not any(parameter.requires_grad for parameter in stream.parameters())
