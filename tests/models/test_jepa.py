"""Proves that the JEPA predicts embeddings of several horizons, that only its own terms keep it from collapsing, and
that its decoder learns masks while the JEPA stays as it is."""

import pytest
import torch
from torch.nn import functional

from vidseg_utils.models import JEPA, build_model, collapse_losses, embedding_std
from vidseg_utils.models.jepa import MIN_STD, varying_part


def tiny(**settings):
    torch.manual_seed(0)
    return build_model("jepa", **{"channels": 6, "hidden": 8, "predictor_hidden": 8, **settings})


def moving_squares(n_clips=4, n_frames=8):
    """(n_clips, n_frames, 3, 16, 24): a bright square of 4 px that moves to the right by 2 px a frame."""
    frames = torch.zeros(n_clips, n_frames, 3, 16, 24)
    for clip in range(n_clips):
        for frame in range(n_frames):
            frames[clip, frame, clip % 3, 4 * clip % 12 : 4 * clip % 12 + 4, 2 * frame : 2 * frame + 4] = 1
    return frames


def train(network, frames, *, steps, variance_weight, momentum=0.9):
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        network.update_target(momentum)
        embeddings = network(frames, [1, 2, 4])
        error = functional.mse_loss(embeddings.predicted, embeddings.target)
        variance, covariance = collapse_losses(embeddings.context)
        loss = error + variance_weight * (variance + 0.04 * covariance)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return embedding_std(network(frames, [1]).context).mean().item()


def test_four_given_frames_and_the_embeddings_of_those_that_are_asked_for():
    embeddings = tiny()(torch.rand(2, 9, 3, 18, 24), [1, 5])  # padded to 20x24
    assert embeddings.context.shape == (2, 4, 6, 5, 6)
    assert embeddings.predicted.shape == embeddings.target.shape == (2, 2, 6, 5, 6)


def test_the_targets_are_the_frames_of_the_horizons():
    network, frames = tiny(), torch.rand(1, 9, 3, 16, 24)
    torch.testing.assert_close(network(frames, [5, 2]).target, network.encode(frames[:, [8, 5]]))


def test_a_horizon_is_predicted_alike_alone_and_beside_others():
    network, frames = tiny(), moving_squares()
    train(network, frames, steps=3, variance_weight=1)
    torch.testing.assert_close(network.predict(frames, [2, 7])[:, 1:], network.predict(frames, [7]))


def test_horizon_0_is_the_last_given_frame():
    network, frames = tiny(), torch.rand(1, 4, 3, 16, 24)
    predicted = network.predict(frames, [0, 3, 0])
    assert torch.equal(predicted[:, 0], network.encode(frames)[:, -1])
    assert torch.equal(predicted[:, 2], predicted[:, 0])
    assert torch.equal(predicted[:, 1:2], network.predict(frames, [3]))


def test_only_the_last_four_given_frames_are_read():
    network, frames = tiny(), torch.rand(1, 6, 3, 16, 24)
    assert torch.equal(network.predict(frames), network.predict(frames[:, 2:]))


def test_without_safeguards_the_encoder_collapses_and_with_the_variance_term_it_does_not():
    frames = moving_squares()
    assert train(tiny(), frames, steps=60, variance_weight=0, momentum=0.0) < 0.1
    assert train(tiny(), frames, steps=60, variance_weight=1, momentum=0.0) > 0.8


def test_the_target_encoder_gets_no_gradient_and_follows_by_the_given_share():
    network, frames = tiny(), moving_squares()
    before = network.target_encoder[0][0].weight.clone()
    network.encoder[0][0].weight.data += 1
    network.update_target(0.75)
    torch.testing.assert_close(network.target_encoder[0][0].weight, before + 0.25)
    network(frames, [1, 3]).predicted.sum().backward()
    assert all(weight.grad is None for weight in network.target_encoder.parameters())
    assert any(weight.grad is not None for weight in network.encoder.parameters())
    network.update_target(0.0)
    assert torch.equal(network.target_encoder[0][0].weight, network.encoder[0][0].weight)


def test_the_variance_term_ignores_what_is_always_in_the_same_cell():
    ground = 100 * torch.rand(1, 1, 3, 4, 5)
    variance, covariance = collapse_losses(ground.expand(2, 3, -1, -1, -1))
    assert variance.item() == pytest.approx(MIN_STD, abs=0.02)
    assert covariance < 1e-6
    assert varying_part(ground.expand(2, 3, -1, -1, -1)).abs().max() < 1e-4


def test_the_covariance_term_is_small_for_independent_channels_and_large_for_equal_ones():
    torch.manual_seed(0)
    values = torch.randn(8, 4, 2, 10, 10)
    variance, covariance = collapse_losses(values)
    assert variance < 0.05
    assert covariance < 0.01
    assert collapse_losses(values[:, :, [0, 0]])[1] > 0.8


def test_the_decoder_overfits_one_batch_and_leaves_the_jepa_alone():
    torch.manual_seed(0)
    network = build_model("jepa_forecaster", channels=6, hidden=8, predictor_hidden=8, decoder_hidden=16)
    frames = moving_squares(2)
    before = {name: weight.clone() for name, weight in network.jepa.state_dict().items()}
    target = 5 * (frames[:, 3].sum(dim=1) > 0).long()
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(40):
        loss = functional.cross_entropy(network(frames[:, :4], [0])[:, 0], target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert all(torch.equal(weight, before[name]) for name, weight in network.jepa.state_dict().items())
    assert network(frames[:, :4]).shape == (2, 1, 49, 16, 24)


def test_logits_have_the_size_of_the_frames():
    network = build_model("jepa_forecaster", channels=6, hidden=8, predictor_hidden=8, decoder_hidden=8)
    assert network(torch.rand(1, 4, 3, 18, 26), [0, 11]).shape == (1, 2, 49, 18, 26)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("jepa", {"hidden": 6}, "hidden must be divisible by 4"),
        ("jepa", {"channels": 0}, "channels"),
        ("jepa_forecaster", {"decoder_hidden": 12}, "decoder_hidden must be divisible by 8"),
    ],
)
def test_settings_that_cannot_be_built_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        build_model(name, **settings)


def test_wrong_frames_and_horizons_are_refused_with_the_cure(unchecked_shapes):
    network = tiny()
    with pytest.raises(ValueError, match="at least 9 frames are needed, got 4"):
        network(torch.rand(1, 4, 3, 16, 24), [2, 5])
    with pytest.raises(ValueError, match="at least 4 frames are needed, got 2"):
        network.predict(torch.rand(1, 2, 3, 16, 24))
    with pytest.raises(ValueError, match="divide uint8 frames by 255"):
        network.encode(torch.zeros(1, 4, 3, 16, 24, dtype=torch.uint8))
    with pytest.raises(ValueError, match="horizons must name at least one frame"):
        network.predict(torch.rand(1, 4, 3, 16, 24), [])
    for horizons in ([-1], [0, 12]):
        with pytest.raises(ValueError, match="horizons must be between 1 and 11 frames, got"):
            network.predict(torch.rand(1, 4, 3, 16, 24), horizons)


def test_it_learns_under_autocast_too():
    network = tiny()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = network(moving_squares(), [1, 4])
    losses = collapse_losses(embeddings.context)
    (functional.mse_loss(embeddings.predicted.float(), embeddings.target.float()) + sum(losses)).backward()
    assert isinstance(network, JEPA)
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.requires_grad and p.grad is not None)
