"""Proves that the interaction network obeys the symmetries of motion, keeps momentum, and learns."""

from dataclasses import fields, replace

import pytest
import torch

from tests.helpers import assert_fields_close, each
from vidseg_utils.models import build_model
from vidseg_utils.models.interaction_network import Contacts, Objects


def network(**config):
    torch.manual_seed(0)
    return build_model("interaction_network", **config)


def scene():
    """Two scenes of three objects. In each the first two touch; in the second the third slot is empty."""
    torch.manual_seed(1)
    objects = Objects(
        shape=torch.tensor([[0, 1, 2], [2, 0, 1]]),
        material=torch.tensor([[0, 1, 0], [1, 1, 0]]),
        inertia=torch.tensor([[0.027, 0.016, 0.02], [0.02, 0.027, 0.016]]),
        active=torch.tensor([[True, True, True], [True, True, False]]),
        position=torch.randn(2, 3, 2),
        velocity=0.05 * torch.randn(2, 3, 2),
        yaw=torch.randn(2, 3),
        spin=0.1 * torch.randn(2, 3),
    )
    normal = torch.nn.functional.normalize(torch.randn(2, 2), dim=-1)
    contacts = Contacts(
        first=torch.tensor([0, 3]),
        second=torch.tensor([1, 4]),
        time=torch.tensor([0.3, 0.0]),
        gap=torch.tensor([0.001, -0.01]),
        normal=normal,
        first_arm=0.2 * normal + 0.03,
        second_arm=-0.2 * normal + 0.05,
    )
    return objects, contacts


def test_a_frame_keeps_shapes_and_does_not_change_empty_slots():
    objects, contacts = scene()
    after = network()(objects, contacts)
    for name in ("position", "velocity", "yaw", "spin"):
        assert getattr(after, name).shape == getattr(objects, name).shape
        assert torch.equal(getattr(after, name)[1, 2], getattr(objects, name)[1, 2])
    assert not torch.allclose(after.velocity[0, 0], objects.velocity[0, 0], atol=1e-3)


def test_gradients_are_finite_and_reach_every_parameter():
    model = network()
    after = model(*scene())
    (after.position.square().sum() + after.velocity.square().sum() + after.spin.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_an_object_at_rest_stays_there_and_has_finite_gradients():
    objects, contacts = scene()
    objects = each(objects, velocity=torch.zeros_like, spin=torch.zeros_like)
    none = Contacts(*(getattr(contacts, field.name)[:0] for field in fields(contacts)))
    model = network()
    after = model(objects, none)
    assert_fields_close(after, objects, atol=1e-6)
    after.velocity.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_reordering_the_objects_reorders_the_result():
    objects, contacts = scene()
    order = torch.tensor([2, 0, 1])
    new_index = torch.tensor([1, 2, 0, 4, 5, 3])  # of each of the six objects
    permuted = each(objects, **{field.name: lambda values: values[:, order] for field in fields(objects)})
    swapped = Contacts(  # the other object of each pair comes first
        new_index[contacts.second],
        new_index[contacts.first],
        contacts.time,
        contacts.gap,
        -contacts.normal,
        contacts.second_arm,
        contacts.first_arm,
    )
    model = network()
    after = model(objects, contacts)
    expected = each(after, **{field.name: lambda values: values[:, order] for field in fields(objects)})
    assert_fields_close(model(permuted, swapped), expected, atol=1e-6)


@pytest.mark.parametrize("mirrored", [False, True])
def test_rotating_or_mirroring_the_scene_does_the_same_to_the_result(mirrored):
    cosine, sine = 0.6, 0.8
    turn = torch.tensor([[cosine, -sine], [sine, cosine]])
    sign = 1.0
    if mirrored:
        turn, sign = turn @ torch.diag(torch.tensor([1.0, -1.0])), -1.0
    vectors = {name: lambda values: values @ turn.T for name in ("position", "velocity")}
    angles = {name: lambda values: sign * values for name in ("yaw", "spin")}
    objects, contacts = scene()
    arms = {name: lambda values: values @ turn.T for name in ("normal", "first_arm", "second_arm")}
    model = network()
    seen = model(each(objects, **vectors, **angles), each(contacts, **arms))
    assert_fields_close(seen, each(model(objects, contacts), **vectors, **angles), atol=1e-6)


def test_a_contact_keeps_momentum_and_angular_momentum():
    objects, contacts = scene()
    point = objects.position.flatten(0, 1)[contacts.first] + contacts.first_arm
    position = objects.position.flatten(0, 1).clone()
    position[contacts.second] = point - contacts.second_arm  # both arms reach the same point
    objects = replace(objects, position=position.view(2, 3, 2))
    model = network()
    none = Contacts(*(getattr(contacts, field.name)[:0] for field in fields(contacts)))
    free, after = model(objects, none), model(objects, contacts)
    change = after.velocity - free.velocity
    assert change.abs().max() > 1e-3
    torch.testing.assert_close(change.sum(1), torch.zeros(2, 2), atol=1e-6, rtol=0)
    moment = objects.position[..., 0] * change[..., 1] - objects.position[..., 1] * change[..., 0]
    turning = moment + objects.inertia * (after.spin - free.spin)
    torch.testing.assert_close(turning.sum(1), torch.zeros(2), atol=1e-6, rtol=0)


def test_one_batch_is_overfitted():
    objects, contacts = scene()
    active = objects.active[..., None]
    target = torch.zeros_like(objects.velocity)
    push = 0.03 * contacts.normal  # a law to learn: the first one stops the push, the second one gets it
    target.view(-1, 2)[contacts.first], target.view(-1, 2)[contacts.second] = -push, push
    target = (objects.velocity + target) * active
    model = network()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(150):
        loss = ((model(objects, contacts).velocity - target) * active).square().mean() * 1e4
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_state_round_trip_gives_the_same_answer_bit_for_bit():
    model, other = network(), build_model("interaction_network")
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(*scene()).velocity, other(*scene()).velocity)


def test_a_network_of_no_width_is_refused():
    with pytest.raises(ValueError, match="hidden must be a whole number of at least 1, got 0"):
        build_model("interaction_network", hidden=0)
