"""A learned law of motion for objects on the ground: a graph network of objects (nodes) and contacts (edges).

One network slows down a gliding object, given its own speed. Another one computes the impulse between two objects that
touch, given how they meet (interaction networks: Battaglia et al., 2016). Impulses are equal and opposite and act at
the point of contact, so momentum and angular momentum are conserved for any weights. The network is equivariant:
rotating, shifting or mirroring the scene, or reordering its objects, does the same to the result (as in Satorras et
al., 2021).
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from vidseg_utils.checks import check_positive
from vidseg_utils.classes import MATERIALS, SHAPES

USUAL_SPEED, USUAL_SPIN = 0.08, 0.1  # units and radians a frame; the inputs are divided by them
STOPPING_SPEED = 1e-5  # units a frame: slower objects stop
MAX_INPUT = 8.0  # inputs of the contact network are clamped to +- this
_SPEED_LOSS, _SPIN_LOSS = 5e-4, 2e-3  # units and radians a frame, each frame, where the network's output is 1
_SOFT_PUSH = 0.005  # units a frame, of a contact whose objects no longer approach each other
_USUAL_GAP = 0.02  # world units
_LEVER_SCALE = 5.0  # 1 / world units: levers are up to 0.2 long


@dataclass(frozen=True)
class Objects:
    """M scenes of N objects in world units, radians and video frames; slots that are not `active` are empty."""

    shape: Int[Tensor, "M N"]  # shape codes
    material: Int[Tensor, "M N"]  # material codes
    inertia: Float[Tensor, "M N"]  # about the vertical axis, of mass 1
    active: Bool[Tensor, "M N"]
    position: Float[Tensor, "M N 2"]
    velocity: Float[Tensor, "M N 2"]  # units a frame
    yaw: Float[Tensor, "M N"]
    spin: Float[Tensor, "M N"]  # radians a frame


@dataclass(frozen=True)
class Contacts:
    """P pairs of objects that touch, or nearly do, within the coming frame; indices count all M * N objects."""

    first: Int[Tensor, " P"]
    second: Int[Tensor, " P"]
    time: Float[Tensor, " P"]  # in [0, 1]: part of the frame after which they touch or are closest
    gap: Float[Tensor, " P"]  # between their sides at that time; negative if they overlap
    normal: Float[Tensor, "P 2"]  # from the first to the second
    first_arm: Float[Tensor, "P 2"]  # from the first object's centre to the point of contact
    second_arm: Float[Tensor, "P 2"]  # the same of the second object


class InteractionNetwork(nn.Module):
    """One video frame of motion. hidden: width of the networks; embedding: size of the shape and material vectors."""

    def __init__(self, hidden: int = 64, embedding: int = 8):
        super().__init__()
        check_positive(hidden=hidden, embedding=embedding)
        self.shape = nn.Embedding(len(SHAPES), embedding)
        self.material = nn.Embedding(len(MATERIALS), embedding)
        nn.init.zeros_(self.material.weight)  # materials are alike until training finds a difference
        self.glide = nn.Sequential(nn.Linear(embedding + 2, hidden), nn.SiLU(), nn.Linear(hidden, 2), nn.Softplus())
        self.side = nn.Sequential(nn.Linear(embedding + 2, hidden), nn.SiLU())
        self.contact = nn.Sequential(
            nn.Linear(hidden + 6, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 4)
        )

    def forward(self, objects: Objects, contacts: Contacts) -> Objects:
        """The same objects a frame later; inactive ones do not change."""
        kind = self.shape(objects.shape) + self.material(objects.material)  # (M, N, E)
        velocity, spin = self._slow_down(objects, kind)
        position = objects.position + (objects.velocity + velocity) / 2 * objects.active[..., None]
        yaw = objects.yaw + (objects.spin + spin) / 2 * objects.active
        if len(contacts.first):
            push, shift, turn = self._collide(objects, contacts, kind, velocity, spin)
            velocity, position, spin = velocity + push, position + shift, spin + turn
        return replace(objects, position=position, velocity=velocity, yaw=yaw, spin=spin)

    def _slow_down(self, objects: Objects, kind: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity and spin at the end of a frame without contact."""
        speed = objects.velocity.square().sum(-1).clamp_min(1e-14).sqrt()
        turning = objects.spin.abs()
        loss = self.glide(torch.cat([kind, speed[..., None] / USUAL_SPEED, turning[..., None] / USUAL_SPIN], dim=-1))
        left = functional.relu(1 - _SPEED_LOSS * loss[..., 0] / speed) * (speed > STOPPING_SPEED)
        turn_left = functional.relu(1 - _SPIN_LOSS * loss[..., 1] / turning.clamp_min(1e-7))
        velocity = torch.where(objects.active[..., None], objects.velocity * left[..., None], objects.velocity)
        return velocity, torch.where(objects.active, objects.spin * turn_left, objects.spin)

    def _collide(
        self, objects: Objects, contacts: Contacts, kind: Tensor, velocity: Tensor, spin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Changes of velocity (M, N, 2), position (M, N, 2) and spin (M, N) by all contacts of an object."""
        normal = contacts.normal
        tangent = torch.stack([-normal[:, 1], normal[:, 0]], dim=-1)
        sides = ((contacts.first, contacts.first_arm), (contacts.second, contacts.second_arm))
        inertia, flat_velocity, flat_spin = objects.inertia.flatten(), velocity.flatten(0, 1), spin.flatten()
        flat_kind = kind.flatten(0, 1)

        def levers(axis: Tensor) -> list[Tensor]:
            return [_cross(arm, axis) for _, arm in sides]

        def inverse_mass(axis: Tensor) -> Tensor:
            """(P,): inverse of the effective mass of each pair along the axis."""
            first, second = (lever**2 / inertia[index] for lever, (index, _) in zip(levers(axis), sides, strict=True))
            return 2 + (first + second)

        ends = [flat_velocity[index] + flat_spin[index][:, None] * _turned_left(arm) for index, arm in sides]
        relative = ends[1] - ends[0]
        approach, slip = -(relative * normal).sum(-1), (relative * tangent).sum(-1)

        first, second = (
            self.side(
                torch.cat(
                    [
                        flat_kind[index],
                        lever[:, None].abs() * _LEVER_SCALE,
                        flat_spin[index][:, None].abs() / USUAL_SPIN,
                    ],
                    dim=-1,
                )
            )
            for lever, (index, _) in zip(levers(normal), sides, strict=True)
        )
        meeting = torch.stack(
            [
                contacts.gap / _USUAL_GAP,
                contacts.time,
                approach / USUAL_SPEED,
                slip.abs() / USUAL_SPEED,
                (1 - contacts.time) * approach / _USUAL_GAP,
                functional.relu(approach) / USUAL_SPEED,
            ],
            dim=-1,
        ).clamp(-MAX_INPUT, MAX_INPUT)
        law = self.contact(torch.cat([first + second, meeting], dim=-1))  # (P, 4)
        bounce = 2 * torch.sigmoid(law[:, 0]) * functional.relu(approach)
        push = (bounce + _SOFT_PUSH * functional.softplus(law[:, 1] - 2)) / inverse_mass(normal)
        friction = -slip * torch.sigmoid(law[:, 2] - 2) / inverse_mass(tangent)
        since = (1 - contacts.time) * 2 * torch.sigmoid(law[:, 3])  # frames that the impulse has acted for
        impulse = push[:, None] * normal + friction[:, None] * tangent

        change, shift = torch.zeros_like(flat_velocity), torch.zeros_like(flat_velocity)
        turn = torch.zeros_like(flat_spin)
        for sign, (index, arm) in zip((-1.0, 1.0), sides, strict=True):
            change = change.index_add(0, index, sign * impulse)
            shift = shift.index_add(0, index, sign * since[:, None] * impulse)
            turn = turn.index_add(0, index, sign * _cross(arm, impulse) / inertia[index])
        return change.view_as(velocity), shift.view_as(velocity), turn.view_as(spin)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _turned_left(arm: Tensor) -> Tensor:
    return torch.stack([-arm[:, 1], arm[:, 0]], dim=-1)
