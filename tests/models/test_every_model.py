"""Every model learns: its gradients are finite, it overfits one batch, and its state is restored bit for bit."""

import pytest
import torch
from torch.nn import functional

from vidseg_utils.models import MODELS, build_model
from vidseg_utils.models.simvp import TRANSLATORS

N_CLASSES = 5
TINY = {  # name: (settings, shape of the input)
    "unet": ({"n_classes": N_CLASSES, "base_channels": 4}, (2, 3, 20, 28)),
    "simvp": (
        {"in_shape": (3, 3, 16, 24), "out_channels": N_CLASSES, "hid_s": 8, "hid_t": 16, "n_s": 2, "n_t": 2},
        (2, 3, 3, 16, 24),
    ),
    "deeplabv3": ({"n_classes": N_CLASSES}, (2, 3, 16, 24)),
    "recurrent_unet": ({"n_classes": N_CLASSES}, (2, 2, 3, 16, 24)),
    "convlstm_reconstructor": (
        {"base_channels": 4, "hidden_channels": 16, "n_layers": 2, "dropout": 0.0},
        (2, 3, 3, 16, 24),
    ),
}
SLOW = {"deeplabv3": 9}  # steps to overfit, where 40 would take long
VARIANTS = [
    *((name, {}) for name in TINY),
    ("unet", {"bilinear": True}),
    *(("simvp", {"translator": translator}) for translator in TRANSLATORS[1:]),
    ("recurrent_unet", {"block": "resnet", "cell": "rnn"}),
    ("recurrent_unet", {"block": "convnext", "cell": "gru"}),
]


def tiny(name, extra):
    settings, shape = TINY[name]
    torch.manual_seed(0)
    return build_model(name, **settings, **extra), torch.rand(shape)


def scores_of(model, x):
    """The model's answer as (N, K, H, W), whatever else it returns and however many frames it has."""
    output = model(x)
    output = output[0] if isinstance(output, tuple) else output
    return output.flatten(0, -4) if output.ndim == 5 else output


def test_every_model_is_tried_here():
    others = {"mask_simvp", "image_rollout", "interaction_network", "object_tokens"}  # those take no pictures
    others |= {"jepa", "jepa_forecaster"}  # the first gives embeddings, and some weights of both stay: see test_jepa.py
    assert set(MODELS) - others == set(TINY)


@pytest.mark.parametrize(("name", "extra"), VARIANTS)
def test_it_learns_under_autocast_too(name, extra):
    model, x = tiny(name, extra)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = scores_of(model, x)
    scores.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(("name", "extra"), VARIANTS)
def test_one_batch_is_overfitted_with_finite_gradients_everywhere(name, extra):
    model, x = tiny(name, extra)
    scores = scores_of(model, x)
    rows, columns = torch.arange(x.shape[-2])[:, None], torch.arange(x.shape[-1])
    if scores.shape[1] == N_CLASSES:  # a chequered mask
        target = ((rows // 6 + columns // 8) % N_CLASSES).expand(len(scores), -1, -1)
        criterion, goal = functional.cross_entropy, 0.8
    else:  # a shaded picture
        target = ((rows + columns) / 40).expand_as(scores)
        criterion, goal = functional.mse_loss, 0.02
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3 if name in SLOW else 1e-2, fused=True)
    for _ in range(SLOW.get(name, 40)):
        loss = criterion(scores_of(model, x), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert criterion(scores, target) > 1.5 * goal
    assert loss < goal
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize(("name", "extra"), VARIANTS)
def test_state_round_trip_gives_the_same_answer_bit_for_bit(name, extra):
    model, x = tiny(name, extra)
    scores_of(model, x)  # moves the BatchNorm statistics away from where they start
    other = build_model(name, **TINY[name][0], **extra)
    other.load_state_dict(model.state_dict())
    assert torch.equal(scores_of(model.eval(), x), scores_of(other.eval(), x))


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[0], "expected (B, "),
        (lambda x: x[..., :2, :, :], "expected 3 channels"),
        (lambda x: (255 * x).to(torch.uint8), "divide uint8 frames by 255"),
        (lambda x: x[:0], "is empty"),
    ],
    ids=["axes", "channels", "uint8", "empty"],
)
def test_wrong_input_is_refused_before_any_convolution(name, change, message, unchecked_shapes):
    settings, shape = TINY[name]
    with torch.device("meta"):  # without weights, because the check comes first
        model = build_model(name, **settings)
    with pytest.raises(ValueError) as error:
        model(change(torch.rand(shape)))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_model_lists_the_choices():
    with pytest.raises(ValueError, match=r"unknown model 'unett'; choose from \[.*'simvp', .*'unet'\]"):
        build_model("unett")


def test_an_unknown_setting_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"model 'unet' has no setting 'base_chanels'; it has \['in_channels'"):
        build_model("unet", base_chanels=8)
