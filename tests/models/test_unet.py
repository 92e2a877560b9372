"""U-Net has the published parameter counts and takes pictures of any size."""

import pytest
import torch

from vidseg_utils.classes import class_id
from vidseg_utils.models import build_model, parameter_count
from vidseg_utils.models.layers import PictureConv2d


@pytest.mark.parametrize(("bilinear", "count"), [(False, 31_040_753), (True, 17_266_097)])
def test_parameter_count_is_the_published_one(bilinear, count):
    with torch.device("meta"):
        assert parameter_count(build_model("unet", bilinear=bilinear)) == count


@pytest.mark.parametrize("bilinear", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (16, 32), (37, 50), (80, 120)])
def test_logits_are_as_large_as_the_picture(size, bilinear):
    model = build_model("unet", in_channels=4, n_classes=7, base_channels=2, bilinear=bilinear).eval()
    assert model(torch.rand(2, 4, *size)).shape == (2, 7, *size)


def test_padding_changes_nothing_where_none_is_needed():
    """A picture whose edge is repeated by hand to a multiple of 16 gets the logits of the picture itself."""
    model = build_model("unet", n_classes=3, base_channels=4).eval()
    image = torch.rand(1, 3, 30, 32)
    by_hand = torch.cat([image, image[:, :, -1:], image[:, :, -1:]], dim=2)
    torch.testing.assert_close(model(image), model(by_hand)[:, :, :30])


def test_a_video_is_not_accepted_as_a_batch_of_pictures(unchecked_shapes):
    with pytest.raises(ValueError, match=r"expected \(B, C, H, W\), got shape \(2, 11, 3, 8, 8\)"):
        build_model("unet", base_channels=2)(torch.rand(2, 11, 3, 8, 8))


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "8", True])
def test_a_size_that_is_no_positive_whole_number_is_refused(wrong, unchecked_shapes):
    with pytest.raises(ValueError, match="base_channels must be a whole number of at least 1"):
        build_model("unet", base_channels=wrong)


def test_a_factored_score_is_the_sum_of_shape_material_and_colour():
    model = build_model("unet", base_channels=2, head="factored").eval()
    logits = model(torch.rand(1, 3, 16, 16))
    cube, sphere = class_id("cube", "metal", "red"), class_id("sphere", "metal", "red")
    other_cube, other_sphere = class_id("cube", "rubber", "blue"), class_id("sphere", "rubber", "blue")
    # the step from cube to sphere is the same, whatever the material and the colour
    torch.testing.assert_close(logits[:, sphere] - logits[:, cube], logits[:, other_sphere] - logits[:, other_cube])
    assert not torch.allclose(logits[:, sphere], logits[:, cube])


def test_a_factored_head_refuses_another_set_of_classes():
    with pytest.raises(ValueError, match="head 'factored' knows the 49 classes"):
        build_model("unet", n_classes=20, head="factored")


@pytest.mark.parametrize("training", [False, True])
def test_pictures_are_not_rounded_to_bf16_in_evaluation_mode(training):
    conv = PictureConv2d(3, 4, kernel_size=3).train(training)
    pictures = torch.rand(1, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        answer = conv(pictures)
    assert answer.dtype == (torch.bfloat16 if training else torch.float32)
    assert torch.equal(answer, conv(pictures)) != training
