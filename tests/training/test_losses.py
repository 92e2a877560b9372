"""Losses: a good prediction costs less than a bad one, cases worked by hand, ignored pixels, weights."""

import math

import pytest
import torch

from vidseg_utils.training.losses import LOSSES, build_loss, still_pixels, temporal_consistency

MASK_LOSSES = ["cross_entropy", "dice", "jaccard"]
LN3 = math.log(3)


def logits_for(mask, n_classes, certainty=20.0):
    """(…, H, W) -> (…, K, H, W) logits that are nearly certain of `mask`."""
    return certainty * torch.nn.functional.one_hot(mask.long(), n_classes).movedim(-1, -3).float()


@pytest.mark.parametrize("name", MASK_LOSSES)
@pytest.mark.parametrize("shape", [(2, 6, 8), (2, 3, 6, 8)], ids=["images", "videos"])
def test_the_truth_costs_nothing_a_guess_more_and_a_mistake_most(name, shape):
    mask = torch.randint(0, 4, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    loss = build_loss(name)
    good = loss(logits_for(mask, 4), mask)
    uncertain = loss(logits_for(mask, 4, certainty=0.0), mask)
    bad = loss(logits_for((mask + 1) % 4, 4), mask)
    assert good < 1e-4 < uncertain < bad


@pytest.mark.parametrize("name", MASK_LOSSES)
@pytest.mark.parametrize("ignored", [255, 49, 200], ids=["ignore", "not a class", "not a class either"])
def test_pixels_without_a_class_are_ignored(name, ignored):
    mask = torch.tensor([[[0, 1], [1, 0]]])
    logits = torch.randn(1, 49, 2, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    marked = mask.clone()
    marked[0, 1, 1] = ignored
    loss = build_loss(name)
    value = loss(logits, marked)
    value.backward()
    assert (logits.grad[:, :, 1, 1] == 0).all()
    assert (logits.grad[:, :, 0, 0] != 0).any()
    torch.testing.assert_close(value, loss(logits.flatten(2)[..., :3, None], mask.flatten(1)[..., :3, None]))


@pytest.mark.parametrize("name", MASK_LOSSES)
def test_a_target_without_any_class_costs_nothing_and_gives_finite_gradients(name):
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = build_loss(name)(logits, torch.full((1, 2, 2), 255))
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()


def test_cross_entropy_is_weighted_by_class_and_divided_by_the_sum_of_weights():
    logits = torch.tensor([[0.0, 0.0], [LN3, 0.0]]).view(1, 2, 1, 2)  # the first pixel: class 1 three times as likely
    target = torch.tensor([[[0, 1]]])
    weighted = build_loss("cross_entropy", class_weights=[0.6, 1.0])(logits, target)
    assert weighted.item() == pytest.approx((0.6 * math.log(4) + 1.0 * math.log(2)) / 1.6)
    expected = torch.nn.functional.cross_entropy(logits, target, weight=torch.tensor([0.6, 1.0]))
    assert weighted.item() == pytest.approx(expected.item())


def test_the_last_frame_has_its_weight_and_weights_are_normalised():
    logits = torch.zeros(1, 3, 2, 1, 1)
    logits[0, 2, 0] = LN3  # only the last frame is unequal: 3 to 1 for class 0
    target = torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
    plain = build_loss("cross_entropy")(logits, target)
    weighted = build_loss("cross_entropy", last_frame_weight=4)(logits, target)
    assert plain.item() == pytest.approx((2 * math.log(2) + math.log(4 / 3)) / 3)
    assert weighted.item() == pytest.approx((2 * math.log(2) + 4 * math.log(4 / 3)) / 6)


def test_only_labelled_frames_of_a_video_count():
    logits = torch.randn(2, 5, 4, 3, 3)
    target = torch.full((2, 5, 3, 3), 255)
    target[:, 3] = 2
    loss = build_loss("cross_entropy")
    torch.testing.assert_close(loss(logits, target), loss(logits[:, 3], target[:, 3]))


def test_dice_and_jaccard_by_hand():
    logits = torch.tensor([[LN3, 0.0, 0.0], [0.0, 0.0, LN3]]).view(1, 2, 1, 3)  # class 0 with 3/4, 1/2, 1/4
    target = torch.tensor([[[0, 0, 1]]])
    # class 0: common 5/4, sizes 3/2 + 2; class 1: common 3/4, sizes 3/2 + 1
    assert build_loss("dice")(logits, target).item() == pytest.approx(1 - (2.5 / 3.5 + 1.5 / 2.5) / 2)
    assert build_loss("jaccard")(logits, target).item() == pytest.approx(1 - (1.25 / 2.25 + 0.75 / 1.75) / 2)


def test_classes_absent_from_the_target_are_left_out_of_the_mean():
    mask = torch.tensor([[[0, 1]]])
    for name in ("dice", "jaccard"):
        few, many = build_loss(name)(logits_for(mask, 2), mask), build_loss(name)(logits_for(mask, 49), mask)
        torch.testing.assert_close(few, many)


def test_mean_squared_error_by_hand_and_with_a_weight():
    forecast = torch.tensor([0.0, 0.0, 2.0]).view(1, 3, 1, 1, 1)
    target = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1, 1)
    assert build_loss("mse")(forecast, target).item() == pytest.approx(5 / 3)
    assert build_loss("mse", last_frame_weight=2)(forecast, target).item() == pytest.approx((1 + 2 * 4) / 4)
    assert build_loss("mse", last_frame_weight=2)(forecast[:, 0], target[:, 1]).item() == pytest.approx(1)


@pytest.mark.parametrize("name", MASK_LOSSES)
def test_logits_in_half_precision_give_a_loss_in_single(name):
    mask = torch.randint(0, 4, (2, 6, 8))
    assert build_loss(name)(logits_for(mask, 4, certainty=1).bfloat16(), mask).dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "logits", "target", "message"),
    [
        ("cross_entropy", torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 5).long(), "don't fit"),
        ("dice", torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 4, 4).long(), "don't fit"),
        ("jaccard", torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4), "whole numbers, got torch.float32"),
        ("mse", torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4), "differ in shape"),
    ],
)
def test_shapes_and_types_that_do_not_fit_are_refused(name, logits, target, message):
    with pytest.raises(ValueError, match=message):
        build_loss(name)(logits, target)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("focal", {}, r"unknown loss 'focal'; choose from \['cross_entropy', 'dice', 'jaccard', 'mse'\]"),
        ("dice", {"smooth": 1}, r"loss 'dice' has no setting 'smooth'"),
        ("mse", {"class_weights": [1]}, r"has no setting 'class_weights'; it has \['last_frame_weight'\]"),
        ("cross_entropy", {"last_frame_weight": 0}, "must be a positive number"),
        ("cross_entropy", {"class_weights": [1, -1]}, "class_weights must be"),
        ("cross_entropy", {"class_weights": [0, 0]}, "class_weights must be"),
    ],
)
def test_unknown_losses_and_bad_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_loss(name, **options)


def test_class_weights_of_another_number_of_classes_are_refused():
    with pytest.raises(ValueError, match="2 class_weights for 3 classes"):
        build_loss("cross_entropy", class_weights=[1, 1])(torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2).long())


def test_every_loss_is_tried_here():
    assert set(LOSSES) == {*MASK_LOSSES, "mse"}


def test_a_pixel_is_still_where_its_neighbourhood_keeps_its_colour():
    frames = torch.full((1, 2, 3, 20, 30), 0.5)
    frames[:, 1, 0, :, 15:] = 0.9  # one channel changes in the right half
    still = still_pixels(frames)
    assert still.shape == (1, 1, 20, 30)
    assert still[..., :13].all()
    assert not still[..., 15:].any()
    noisy = torch.full((1, 2, 3, 40, 60), 0.5) + 0.1 * torch.randn(1, 2, 3, 40, 60)
    assert still_pixels(noisy)[..., 2:-2, 2:-2].float().mean() > 0.98  # a sensor's noise is no motion


def test_temporal_consistency_is_the_change_of_still_pixels_worked_by_hand():
    frames = torch.full((1, 2, 3, 8, 16), 0.5)
    frames[:, 1, :, :, 8:] = 1.0
    logits = torch.zeros(1, 2, 2, 8, 16)  # probabilities 1/2, 1/2
    assert temporal_consistency(logits, frames) == 0
    logits[:, 1, 0] = LN3  # then 3/4, 1/4, everywhere
    assert temporal_consistency(logits, frames).item() == pytest.approx(2 * (1 / 4) ** 2)
    logits[:, 1, 0, :, :6] = 0  # only where the picture changes, too, within five pixels
    assert temporal_consistency(logits, frames) == 0


def test_temporal_consistency_without_still_pixels_is_zero():
    frames = torch.stack([torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)], dim=1)
    assert temporal_consistency(torch.randn(1, 2, 4, 8, 8), frames) == 0
