"""Proves that the transformer over objects obeys the symmetries of motion, has many futures, and learns."""

from dataclasses import fields

import pytest
import torch

from tests.helpers import assert_fields_close, each
from vidseg_utils.models import build_model
from vidseg_utils.models.interaction_network import Objects
from vidseg_utils.models.object_tokens import NOISE, REACH, find_near_pairs


def network(**config):
    torch.manual_seed(0)
    return build_model("object_tokens", **{"width": 16} | config).eval()


def scene():
    """Two scenes of three objects. In each the first two are about to touch; in the second the third slot is empty."""
    torch.manual_seed(1)
    position = torch.tensor([[[0.0, 0.0], [0.48, 0.1], [2.0, 1.0]], [[-1.0, 0.0], [-1.0, 0.5], [-1.0, 0.2]]])
    velocity = torch.tensor([[[0.05, 0.0], [0.0, 0.01], [0.03, 0.02]], [[0.0, 0.0], [0.0, -0.06], [0.04, 0.0]]])
    return Objects(
        shape=torch.tensor([[0, 1, 2], [2, 0, 1]]),
        material=torch.tensor([[0, 1, 0], [1, 1, 0]]),
        inertia=torch.tensor([[0.027, 0.016, 0.02], [0.02, 0.027, 0.016]]),
        active=torch.tensor([[True, True, True], [True, True, False]]),
        position=position,
        velocity=velocity,
        yaw=torch.randn(2, 3),
        spin=0.1 * torch.randn(2, 3),
    )


def noise(seed=2):
    return torch.randn(2, 3, NOISE, generator=torch.Generator().manual_seed(seed))


def test_a_step_keeps_shapes_and_does_not_change_empty_slots():
    objects = scene()
    after = network()(objects, noise())
    for name in ("position", "velocity", "yaw", "spin"):
        assert getattr(after, name).shape == getattr(objects, name).shape
        assert torch.equal(getattr(after, name)[1, 2], getattr(objects, name)[1, 2])
    assert not torch.allclose(after.velocity[0, 0], objects.velocity[0, 0], atol=1e-4)


def test_pairs_are_found_in_both_orders_at_the_moment_of_touch():
    objects = each(scene(), velocity=torch.zeros_like)
    objects.position[0, 1] = torch.tensor([0.5, 0.0])
    objects.velocity[0, 0, 0] = 0.04  # 0.08 units until the centres are 0.42 apart: two of three frames
    pairs = find_near_pairs(objects, 3)
    assert list(zip(pairs.scene.tolist(), pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [
        (0, 0, 1),
        (0, 1, 0),
        (1, 0, 1),
        (1, 1, 0),
    ]
    torch.testing.assert_close(pairs.inputs[:2, 3], torch.tensor([2 / 3, 2 / 3]), atol=1e-4, rtol=0)
    torch.testing.assert_close(pairs.normal[:2], torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), atol=1e-5, rtol=0)


def test_objects_that_stay_apart_do_not_affect_each_other():
    objects, model = scene(), network()
    objects.position[0, 1] = torch.tensor([REACH + 0.3, 0.0])
    after = model(objects, noise())
    objects.position[0, 1] += 1.0
    assert torch.equal(model(objects, noise()).velocity[0, 0], after.velocity[0, 0])


def test_an_object_at_rest_and_alone_stays_there_and_has_finite_gradients():
    objects = each(scene(), velocity=torch.zeros_like, spin=torch.zeros_like, position=lambda p: 10 * p)
    model = network()
    after = model(objects, noise())
    assert_fields_close(after, objects, atol=1e-5)
    (after.velocity.sum() + after.position.sum()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_gradients_are_finite_and_reach_every_parameter():
    model = network()
    after = model(model(scene(), noise()), noise(3))
    (after.position.square().sum() + after.velocity.square().sum() + after.spin.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_other_random_numbers_give_another_future_where_objects_meet():
    model, objects = network(), scene()
    one, other = model(objects, noise(3)), model(objects, noise(4))
    assert (one.velocity - other.velocity).abs().max() > 1e-5
    assert torch.equal(one.velocity, model(objects, noise(3)).velocity)


def test_reordering_the_objects_reorders_the_result():
    objects, order = scene(), torch.tensor([2, 0, 1])
    permuted = each(objects, **{field.name: lambda values: values[:, order] for field in fields(objects)})
    model = network()
    expected = each(
        model(objects, noise()), **{field.name: lambda values: values[:, order] for field in fields(objects)}
    )
    assert_fields_close(model(permuted, noise()[:, order]), expected, atol=1e-5)


def test_rotating_and_shifting_the_scene_does_the_same_to_the_result():
    angle = torch.tensor(0.7)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    moves = {
        "position": lambda values: values @ turn.T + torch.tensor([0.3, -0.2]),
        "velocity": lambda values: values @ turn.T,
        "yaw": lambda values: values + angle,
    }
    model, objects = network(), scene()
    after, expected = model(each(objects, **moves), noise()), each(model(objects, noise()), **moves)
    active = objects.active
    for name in ("position", "velocity", "yaw", "spin"):
        torch.testing.assert_close(getattr(after, name)[active], getattr(expected, name)[active], rtol=1e-3, atol=1e-5)


def test_one_batch_is_overfitted():
    objects, model = scene(), network()
    target = objects.velocity.clone()
    target[0, 0], target[0, 1] = torch.tensor([0.01, 0.0]), torch.tensor([0.04, 0.01])  # the second one is pushed
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(100):
        after = model(objects, noise())
        loss = ((after.velocity - target)[objects.active]).square().mean() * 1e4
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_state_round_trip_gives_the_same_answer_bit_for_bit():
    model, other = network(), build_model("object_tokens", width=16).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(scene(), noise()).velocity, other(scene(), noise()).velocity)


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="width 10 is not divisible by heads 4; choose for example 64"):
        build_model("object_tokens", width=10)
