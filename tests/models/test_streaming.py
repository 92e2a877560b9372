"""A model prepared for streaming gives the same logits up to rounding, and the original stays unchanged."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vidseg_utils.models import build_model
from vidseg_utils.models.recurrent_unet import RECURRENT_BLOCKS
from vidseg_utils.models.streaming import LiveSegmenter, prepare_for_streaming


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


@pytest.fixture
def model():
    """A recurrent U-Net whose labels differ from pixel to pixel."""
    torch.manual_seed(0)
    model = build_model("recurrent_unet", cell="gru", n_classes=5)
    model(torch.rand(1, 4, 3, 18, 22))  # moves BatchNorm's statistics away from 0 and 1
    with torch.no_grad():
        model.head.weight.mul_(30)
    return model.eval()


def test_a_live_segmenter_keeps_the_state_until_it_restarts(model):
    frames = torch.rand(2, 3, 3, 18, 22)
    live = LiveSegmenter(prepare_for_streaming(model), frames[:, 0])
    with torch.inference_mode():
        expected, _ = model(frames)
    for _ in range(2):
        logits = torch.stack([live(frame) for frame in frames.unbind(dim=1)], dim=1)
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)
        live.restart()


def test_a_stream_in_bf16_keeps_nearly_all_labels(model):
    frames = torch.rand(1, 4, 3, 18, 22)
    stream = prepare_for_streaming(model, torch.bfloat16)
    with torch.inference_mode():
        (expected, _), (logits, state) = model(frames), stream(frames)
        pieces = torch.cat([LiveSegmenter(stream, frames[:, 0])(frames[:, 0])])
    assert {logits.dtype, pieces.dtype, *(level.dtype for level in state)} == {torch.bfloat16}
    labels = expected.argmax(dim=2)
    assert len(labels.unique()) > 1
    assert (logits.argmax(dim=2) == labels).float().mean() > 0.95


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_state_keeps_the_layout_of_the_maps(model, dtype):
    """Operations on maps of two layouts take several times as long."""
    stream, state = prepare_for_streaming(model, dtype), None
    with torch.inference_mode():
        for frame in torch.rand(2, 1, 1, 3, 18, 22):
            _, state = stream(frame, state)
            assert all(level.is_contiguous(memory_format=torch.channels_last) for level in state)
        _, state = stream(torch.rand(1, 3, 3, 18, 22))
        assert all(level.is_contiguous(memory_format=torch.channels_last) for level in state)


class NamesOfOperations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.append(operation.name())
        return operation(*args, **(kwargs or {}))


def test_no_operation_of_a_frame_breaks_the_code_that_torch_compiles(model):
    """Results that go into a part of another tensor do."""
    stream, frame = prepare_for_streaming(model), torch.rand(1, 1, 3, 18, 22)
    with torch.inference_mode():
        _, state = stream(frame)
        with NamesOfOperations() as operations:
            stream(frame, state)
    assert "aten::sigmoid_" in operations.names
    assert not [name for name in operations.names if name.endswith(".out")]
