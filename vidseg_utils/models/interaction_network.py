"""A learned law of motion for objects on a floor: a graph network whose nodes are objects and whose edges are contacts.

An object glides by a network of its own speed; two objects within reach exchange an impulse by a network of how they
meet (interaction networks: Battaglia et al., 2016). Impulses are equal and opposite and act at the point of touch, so
momentum and angular momentum are kept whatever the weights are, and turning, shifting or mirroring the scene, or
numbering its objects anew, does the same to the answer (as in Satorras et al., 2021).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidseg_utils.checks import check_positive

USUAL_SPEED, USUAL_SPIN = 0.08, 0.1  # units and radians a frame; the inputs are divided by them
REST = 1e-5  # units a frame: slower objects stand
_LOSS = 5e-4, 2e-3  # what speed and spin lose in a frame when a network says 1
_SOFT_PUSH = 0.005  # units a frame, of a contact that no longer closes
_GAP = 0.02  # world units


@dataclass(frozen=True)
class Objects:
    """M scenes of N objects in world units, radians and video frames; slots that are not `active` stand for nothing."""

    shape: Tensor  # (M, N) long: 0 cube, 1 sphere, 2 cylinder
    material: Tensor  # (M, N) long: 0 metal, 1 rubber
    inertia: Tensor  # (M, N) about the vertical axis, of a unit of mass
    active: Tensor  # (M, N) bool
    position: Tensor  # (M, N, 2)
    velocity: Tensor  # (M, N, 2) units a frame
    yaw: Tensor  # (M, N)
    spin: Tensor  # (M, N) radians a frame


@dataclass(frozen=True)
class Contacts:
    """P pairs of objects that touch, or nearly, within the coming frame; an index counts through (M, N)."""

    first: Tensor  # (P,) long
    second: Tensor  # (P,) long
    time: Tensor  # (P,) in [0, 1]: the moment of the frame at which they are closest, or already touch
    gap: Tensor  # (P,) between their sides then; negative: they overlap
    normal: Tensor  # (P, 2) from the first to the second
    first_arm: Tensor  # (P, 2) from the first one's centre to the point of touch
    second_arm: Tensor  # (P, 2)


class InteractionNetwork(nn.Module):
    """One video frame of motion.

    hidden: width of its networks; embedding: of a shape and a material.
    """

    def __init__(self, hidden: int = 64, embedding: int = 8):
        super().__init__()
        check_positive(hidden=hidden, embedding=embedding)
        self.shape = nn.Embedding(3, embedding)
        self.material = nn.Embedding(2, embedding)
        nn.init.zeros_(self.material.weight)  # they are alike until the data say otherwise
        self.glide = nn.Sequential(nn.Linear(embedding + 2, hidden), nn.SiLU(), nn.Linear(hidden, 2), nn.Softplus())
        self.side = nn.Sequential(nn.Linear(embedding + 2, hidden), nn.SiLU())
        self.contact = nn.Sequential(
            nn.Linear(hidden + 6, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 4)
        )

    def forward(self, objects: Objects, contacts: Contacts) -> Objects:
        """The same objects a frame later; inactive ones are left as they are."""
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
        left = functional.relu(1 - _LOSS[0] * loss[..., 0] / speed) * (speed > REST)
        turn_left = functional.relu(1 - _LOSS[1] * loss[..., 1] / turning.clamp_min(1e-7))
        velocity = torch.where(objects.active[..., None], objects.velocity * left[..., None], objects.velocity)
        return velocity, torch.where(objects.active, objects.spin * turn_left, objects.spin)

    def _collide(
        self, objects: Objects, contacts: Contacts, kind: Tensor, velocity: Tensor, spin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What all contacts of an object do to its velocity, place and spin: (M, N, 2), (M, N, 2), (M, N)."""
        first, second, normal = contacts.first, contacts.second, contacts.normal
        sides = ((first, contacts.first_arm), (second, contacts.second_arm))
        tangent = torch.stack([-normal[:, 1], normal[:, 0]], dim=-1)
        inertia = objects.inertia.flatten()
        lever_n, lever_t = ([_cross(arm, axis) for _, arm in sides] for axis in (normal, tangent))
        ease_n, ease_t = (  # inverse of the mass that a push along the axis has to move
            2 + sum(lever**2 / inertia[at] for lever, (at, _) in zip(levers, sides, strict=True))
            for levers in (lever_n, lever_t)
        )
        flat, turning = velocity.flatten(0, 1), spin.flatten()
        ends = [flat[at] + turning[at][:, None] * _across(arm) for at, arm in sides]
        relative = ends[1] - ends[0]
        approach, slip = -(relative * normal).sum(-1), (relative * tangent).sum(-1)

        flat_kind = kind.flatten(0, 1)
        side = sum(
            self.side(
                torch.cat([flat_kind[at], lever[:, None].abs() * 5, turning[at][:, None].abs() / USUAL_SPIN], dim=-1)
            )
            for lever, (at, _) in zip(lever_n, sides, strict=True)
        )
        meeting = torch.stack(
            [
                contacts.gap / _GAP,
                contacts.time,
                approach / USUAL_SPEED,
                slip.abs() / USUAL_SPEED,
                (1 - contacts.time) * approach / _GAP,
                functional.relu(approach) / USUAL_SPEED,
            ],
            dim=-1,
        ).clamp(-8, 8)
        law = self.contact(torch.cat([side, meeting], dim=-1))  # (P, 4)
        bounce = 2 * torch.sigmoid(law[:, 0]) * functional.relu(approach)
        push = (bounce + _SOFT_PUSH * functional.softplus(law[:, 1] - 2)) / ease_n
        drag = -slip * torch.sigmoid(law[:, 2] - 2) / ease_t
        since = (1 - contacts.time) * 2 * torch.sigmoid(law[:, 3])  # frames that the impulse has acted for
        impulse = push[:, None] * normal + drag[:, None] * tangent

        change, shift = torch.zeros_like(flat), torch.zeros_like(flat)
        turn = torch.zeros_like(turning)
        for sign, (at, arm) in zip((-1.0, 1.0), sides, strict=True):
            change = change.index_add(0, at, sign * impulse)
            shift = shift.index_add(0, at, sign * since[:, None] * impulse)
            turn = turn.index_add(0, at, sign * _cross(arm, impulse) / inertia[at])
        return change.view_as(velocity), shift.view_as(velocity), turn.view_as(spin)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _across(arm: Tensor) -> Tensor:
    return torch.stack([-arm[:, 1], arm[:, 0]], dim=-1)
