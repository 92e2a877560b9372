"""SimVP on masks, in its three representations: what goes in, what can come out, and that it learns."""

import pytest
import torch

from vidseg_utils.models import build_model, location_losses, parameter_count
from vidseg_utils.models.class_filter import IMPOSSIBLE_LOGIT
from vidseg_utils.models.mask_simvp import REPRESENTATIONS, scores_to_masks
from vidseg_utils.models.simvp import TRANSLATORS
from vidseg_utils.training.losses import build_loss

SMALL = {"n_frames": 3, "hid_s": 8, "hid_t": 16, "n_s": 2, "n_t": 2, "groups": 2, "shrink": 2}
IDS = (5, 20, 40)


def model(representation, **settings):
    torch.manual_seed(0)
    return build_model("mask_simvp", representation=representation, **(SMALL | settings))


def moving(n_frames=6):
    """Two clips (2, T, 16, 24): squares of three classes, one still, one to the right, one downwards."""
    masks = torch.zeros(2, n_frames, 16, 24, dtype=torch.uint8)
    for t in range(n_frames):
        masks[:, t, 1:6, 1:6] = IDS[0]
        masks[0, t, 8:13, 2 * t : 2 * t + 5] = IDS[1]
        masks[1, t, 2 * t : 2 * t + 5, 12:17] = IDS[2]
    return masks


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_masks_in_scores_of_the_same_size_out(representation):
    masks, channels = moving(3), 1 if representation == "number" else 49
    network = model(representation).eval()
    assert network(masks).shape == (2, 3, channels, 16, 24)
    torch.testing.assert_close(network(masks, last_frames=1), network(masks)[:, -1:])
    answer = scores_to_masks(network(masks))
    assert answer.shape == (2, 3, 16, 24)
    assert 0 <= answer.min() <= answer.max() < 49


@pytest.mark.parametrize("representation", ["number", "one_hot"])
def test_residual_starts_as_copy_last(representation):
    masks = moving(3)
    expected = masks[:, -1:].expand_as(masks).long()
    numbers = model(representation, residual=True)(masks)
    rounding = 0.5 if representation == "number" else 0.0  # class numbers are floored, also 2.9999998
    answer = scores_to_masks(numbers + rounding)
    torch.testing.assert_close(answer, expected)


def certain(network):
    """The straight motion that training starts from, with a small spread."""
    torch.nn.init.constant_(network.log_spread, -2)
    return network


def test_residual_starts_from_objects_in_straight_motion():
    clip = moving()[:1]
    torch.testing.assert_close(
        scores_to_masks(certain(model("objects", residual=True))(clip[:, :3])), clip[:, 3:].long()
    )


@pytest.mark.parametrize("representation", ["number", "one_hot"])
def test_any_size_is_padded_with_background_and_cut_back(representation):
    network, masks = model(representation, n_s=4).eval(), moving(3)[:, :, :15, :21]
    padded = torch.nn.functional.pad(masks, (0, 3, 0, 1))  # 16 x 24
    torch.testing.assert_close(network(masks), network(padded)[..., :15, :21])


@pytest.mark.parametrize("representation", ["number", "one_hot"])
@pytest.mark.parametrize("shrink", [1, 2])
def test_only_without_shrinking_does_a_single_pixel_step_change_the_forecast(representation, shrink):
    masks = torch.zeros(1, 3, 16, 24, dtype=torch.uint8)
    masks[..., ::4, ::4] = IDS[0]
    network, shifted = model(representation, shrink=shrink).eval(), masks.roll(1, dims=3)  # within cells of 2x2 pixels
    assert network(masks).shape[-2:] == (16, 24)
    assert torch.equal(network(masks), network(shifted)) == (shrink == 2)


@pytest.mark.parametrize(("height", "width"), [(15, 21), (3, 5)])
def test_objects_take_any_size(height, width):
    assert model("objects")(moving(3)[:, :, :height, :width]).shape == (2, 3, 49, height, width)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_unknown_pixels_count_as_background(representation):
    masks, holes = moving(3), moving(3)
    masks[:, :, 0], holes[:, :, 0] = 0, 255
    network = model(representation).eval()
    torch.testing.assert_close(network(holes), network(masks))


def loss_of(network, past, future):
    if network.representation == "objects":
        return location_losses(network(past, as_location_maps=True), future).mean()
    if network.representation == "number":
        return build_loss("mse", last_frame_weight=3)(network(past), future[:, :, None].float())
    return build_loss("cross_entropy", last_frame_weight=3)(network(past), future)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_one_batch_is_overfitted_with_gradients_everywhere(representation):
    network, clip = model(representation), moving()
    past, future = clip[:, :3], clip[:, 3:]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    first = None
    for _ in range(60):
        loss = loss_of(network, past, future)
        first = first or loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert loss < 0.3 * first
    if representation == "objects":
        hit = scores_to_masks(network(past))[:, -1] == future[:, -1]
        copied = past[:, -1] == future[:, -1]
        assert (~hit).sum() < 0.5 * (~copied).sum()


def test_straight_motion_learns_its_speed_and_its_spread():
    network, clip = model("objects", residual=True), moving()
    loss_of(network, clip[:, :3], clip[:, 3:]).backward()
    assert network.speed_factor.grad.abs().min() > 0
    assert network.log_spread.grad.abs().min() > 0


@pytest.mark.parametrize("translator", TRANSLATORS)
def test_with_every_translator_the_loss_of_one_batch_falls(translator):
    network, clip = model("objects", translator=translator, residual=True), moving()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        losses.append(loss_of(network, clip[:, :3], clip[:, 3:]))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.5 * losses[0]


def test_parameter_counts():
    """Those of the course's networks, with 2 x 11 for straight motion."""
    sizes = {"n_s": 2, "n_t": 3, "hid_s": 8, "hid_t": 64, "translator": "gsta"}
    assert parameter_count(build_model("mask_simvp", representation="objects", residual=True, **sizes)) == 370_864
    sizes = {"n_s": 4, "n_t": 8, "hid_s": 64, "hid_t": 256, "groups": 7}
    with torch.device("meta"):
        assert parameter_count(build_model("mask_simvp", representation="one_hot", **sizes)) == 119_848_369


def test_state_round_trip_gives_the_same_answer_bit_for_bit():
    network = model("objects")
    network(moving(3))  # moves BatchNorm's statistics
    other = build_model("mask_simvp", representation="objects", **SMALL)
    other.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(moving(3)), other.eval()(moving(3)))


def test_only_objects_of_the_past_can_be_forecast():
    logits = model("objects")(moving(3))
    possible = (logits > IMPOSSIBLE_LOGIT).flatten(3).any(dim=3).all(dim=1)  # (2, 49)
    assert [clip.nonzero().flatten().tolist() for clip in possible] == [[0, 5, 20], [0, 5, 40]]


def test_a_forecast_does_not_depend_on_the_other_clips_of_the_batch():
    network = model("objects").eval()
    torch.testing.assert_close(network(moving(3))[:1], network(moving(3)[:1]))


def test_an_empty_scene_stays_empty():
    network = model("objects", residual=True)
    assert not scores_to_masks(network(torch.zeros(1, 3, 16, 24, dtype=torch.long))).any()


def test_class_numbers_are_floored_into_the_classes():
    numbers = torch.tensor([-3.0, 0.99, 16.99, 17.0, 60.0]).view(1, 1, 1, 1, 5)
    assert scores_to_masks(numbers).flatten().tolist() == [0, 0, 16, 17, 48]


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (torch.zeros(1, 4, 16, 24, dtype=torch.long), "maps 3 frames to 3, got 4"),
        (torch.zeros(1, 3, 16, 24), "of whole numbers, got torch.float32"),
        (torch.zeros(3, 16, 24, dtype=torch.long), r"expected masks \(B, T, H, W\)"),
    ],
)
def test_wrong_masks_are_refused(masks, message, unchecked_shapes):
    with pytest.raises(ValueError, match=message):
        model("objects")(masks)


def test_an_unknown_representation_lists_the_choices():
    message = r"unknown representation 'words'; choose from \['number', 'objects', 'one_hot'\]"
    with pytest.raises(ValueError, match=message):
        build_model("mask_simvp", representation="words")
