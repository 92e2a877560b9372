"""DeepLabV3 gives logits of the picture's size, as U-Net does, and starts from random weights."""

import pytest
import torch

from vidseg_utils.models import build_model, parameter_count


@pytest.fixture(scope="module")
def model():
    return build_model("deeplabv3").eval()


def test_parameter_count(model):
    assert parameter_count(model) == 39_646_065


def test_logits_are_as_large_as_the_picture(model):
    with torch.inference_mode():
        assert model(torch.rand(1, 3, 37, 50)).shape == (1, 49, 37, 50)


def test_no_pretrained_weights_are_loaded(model):
    """Two builds with different seeds differ, so nothing was read from anywhere."""
    other = build_model("deeplabv3")
    assert not torch.equal(model.network.backbone.conv1.weight, other.network.backbone.conv1.weight)


def test_a_single_picture_in_training_names_the_cure(model):
    model.train()
    with pytest.raises(ValueError, match="batches of 2 or more"):
        model(torch.rand(1, 3, 16, 16))
    model.eval()
