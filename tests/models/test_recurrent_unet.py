"""The recurrent U-Net has the published parameter counts, and its state carries everything that it remembers."""

import itertools

import pytest
import torch

from vidseg_utils.evaluation.leaderboard import PUBLISHED_RECURRENT
from vidseg_utils.models import build_model, parameter_count
from vidseg_utils.models.recurrent_unet import RECURRENT_BLOCKS, RECURRENT_CELLS, RECURRENT_SIZES


def small(block="vanilla", cell="gru", **settings):
    torch.manual_seed(0)
    return build_model("recurrent_unet", block=block, cell=cell, n_classes=5, **settings).eval()


@pytest.mark.parametrize(("kind", "published"), PUBLISHED_RECURRENT.items(), ids=str)
def test_parameter_count_is_the_published_one(kind, published):
    block, cell, size = kind
    with torch.device("meta"):
        model = build_model("recurrent_unet", block=block, size=size, cell=cell)
    assert parameter_count(model) == published.parameters


@pytest.mark.parametrize(
    ("block", "cell", "size"), [*itertools.product(RECURRENT_BLOCKS, RECURRENT_CELLS, RECURRENT_SIZES)]
)
def test_all_27_combinations_segment_every_frame(block, cell, size):
    with torch.device("meta"):
        model = build_model("recurrent_unet", block=block, size=size, cell=cell)
        logits, state = model(torch.rand(2, 3, 3, 33, 64))
    assert logits.shape == (2, 3, 20, 33, 64)
    assert [level_state.shape[1] for level_state in state] == (list(RECURRENT_SIZES[size]) if cell != "none" else [])


@pytest.mark.parametrize("block", RECURRENT_BLOCKS)
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (37, 50)])
def test_logits_are_as_large_as_the_frames(block, size):
    logits, _ = small(block)(torch.rand(1, 2, 3, *size))
    assert logits.shape == (1, 2, 5, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize("cell", ["rnn", "gru"])
@pytest.mark.parametrize("block", RECURRENT_BLOCKS)
def test_a_video_in_pieces_or_frame_by_frame_is_the_video_at_once(block, cell):
    model = small(block, cell)
    frames = torch.rand(2, 5, 3, 18, 22)
    whole, last = model(frames)
    for lengths in ((2, 3), (1, 1, 1, 1, 1)):
        state, pieces = None, []
        for piece in frames.split(lengths, dim=1):
            logits, state = model(piece, state)
            pieces.append(logits)
        torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-4, atol=1e-5)
        for one, other in zip(state, last, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_a_frame_affects_later_frames_but_no_earlier_ones(cell):
    model = small(cell=cell)
    frames = torch.rand(1, 3, 3, 16, 16)
    other = frames.clone()
    other[:, 1] = torch.rand(1, 3, 16, 16)
    one, two = model(frames)[0], model(other)[0]
    torch.testing.assert_close(one[:, 0], two[:, 0])
    assert (one[:, 2] - two[:, 2]).abs().max() > 1e-4


def test_without_a_cell_every_frame_is_segmented_separately():
    model = small(cell="none")
    frames = torch.rand(1, 3, 3, 16, 16)
    logits, state = model(frames)
    assert state == ()
    torch.testing.assert_close(logits[:, 2:], model(frames[:, 2:])[0])


def test_the_videos_of_a_batch_do_not_affect_each_other():
    model = small()
    frames = torch.rand(3, 2, 3, 16, 16)
    torch.testing.assert_close(model(frames)[0][1:2], model(frames[1:2])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", ["vanilla", "resnet"])
def test_an_rnn_started_from_a_frame_wise_model_equals_that_model(block):
    frame_wise, model = small(block, "none"), small(block, "rnn")
    frames = torch.rand(2, 3, 3, 18, 22)
    assert (model(frames)[0] - frame_wise(frames)[0]).abs().max() > 1e-2
    model.start_from(frame_wise)
    torch.testing.assert_close(model(frames)[0], frame_wise(frames)[0], rtol=1e-4, atol=1e-5)


def test_a_gru_started_from_a_frame_wise_model_nearly_equals_that_model():
    frame_wise, model = small("vanilla", "none"), small("vanilla", "gru")
    frames = torch.rand(2, 1, 3, 18, 22).expand(2, 4, 3, 18, 22)  # still pictures, once the memory is filled
    one = frame_wise(frames)[0][:, -1]
    assert (model(frames)[0][:, -1] - one).abs().mean() > 1e-2
    model.start_from(frame_wise)
    assert (model(frames)[0][:, -1] - one).abs().mean() < 1e-4


def test_a_gru_started_from_a_frame_wise_model_passes_its_maps_through():
    frame_wise, model = small("vanilla", "none"), small("vanilla", "gru")
    model.start_from(frame_wise)
    x = torch.rand(1, 16, 4, 4)
    states, _ = model.cells[0](x, torch.zeros(1, 16, 4, 4))
    torch.testing.assert_close(states, 0.9 * x, rtol=1e-2, atol=1e-3)
    assert torch.equal(model.head.weight, frame_wise.head.weight)


@pytest.mark.parametrize(("block", "cell"), [("resnet", "none"), ("vanilla", "gru")])
def test_starting_from_another_kind_of_model_is_refused(block, cell):
    with pytest.raises(ValueError, match="start from a model without cells that has the same block"):
        small("vanilla", "gru").start_from(small(block, cell))


def test_the_factored_head_knows_49_classes():
    model = build_model("recurrent_unet", n_classes=49, head="factored")
    assert model(torch.rand(1, 1, 3, 16, 16))[0].shape == (1, 1, 49, 16, 16)
    assert parameter_count(model.head) == 14 * (16 + 1)


def test_a_state_of_other_videos_is_refused(unchecked_shapes):
    model = small()
    _, state = model(torch.rand(2, 1, 3, 16, 16))
    for frames in (torch.rand(1, 1, 3, 16, 16), torch.rand(2, 1, 3, 32, 16)):
        with pytest.raises(ValueError, match=r"belongs to other videos or another model.*start anew with state=None"):
            model(frames, state)
    with pytest.raises(ValueError, match="belongs to other videos or another model"):
        small(cell="none")(torch.rand(2, 1, 3, 16, 16), state)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"block": "dense"}, r"unknown block 'dense'; choose from \['convnext', 'resnet', 'vanilla'\]"),
        ({"cell": "lstm"}, r"unknown cell 'lstm'; choose from \['gru', 'none', 'rnn'\]"),
        ({"size": "huge"}, r"unknown size 'huge'; choose from \['original', 'small_deep', 'small_shallow'\]"),
        ({"n_classes": 0}, "n_classes must be"),
        ({"head": "deep"}, "unknown head 'deep'"),
        ({"head": "factored"}, "head 'factored' knows the 49 classes"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        build_model("recurrent_unet", **wrong)
