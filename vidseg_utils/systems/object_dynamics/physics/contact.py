"""Contacts of two objects: an instant impulse with restitution and friction at the point of contact.

There are contacts of two discs, of a square and a disc, and of two squares (the widest gap over the sides' axes, as in
the separating-axis test). The impulse acts from the moment of touching, which may lie within a step, so the result
hardly depends on the length of a step.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.world.solids import CUBE

SUBSTEPS = 6  # a video frame, for objects that are close to another
CORNER_SOFTNESS = 0.01  # world units: corners that are this close to the deepest corner carry part of the impulse
MIN_APPROACH = 1e-7  # units a frame: slower pairs exchange no impulse
_CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])


@dataclass(frozen=True)
class BodyArrays:
    """N bodies on the ground, S in a world; `resolve_contacts` changes the arrays in place."""

    shape: Integer[np.ndarray, " N"]  # shape codes
    mass: Float[np.ndarray, " N"]  # of which the mean object has 1
    inertia: Float[np.ndarray, " N"]  # about the vertical, mass times units squared
    position: Float[np.ndarray, "N 2"]  # world units
    velocity: Float[np.ndarray, "N 2"]  # units a video frame
    yaw: Float[np.ndarray, " N"]  # radians
    spin: Float[np.ndarray, " N"]  # radians a video frame
    bounce: Float[np.ndarray, "N S"]  # deviation of the restitution with each body of the same world


class PairGeometry(NamedTuple):
    """How P pairs of one kind lie to each other."""

    first: Integer[np.ndarray, " P"]  # index of a body; of a cube and another shape, the cube
    second: Integer[np.ndarray, " P"]
    overlap: Float[np.ndarray, " P"]  # world units; negative for a gap
    normal: Float[np.ndarray, "P 2"]  # from the first to the second
    point: Float[np.ndarray, "P 2"]  # of contact


def resolve_contacts(
    bodies: BodyArrays, a: Integer[np.ndarray, " P"], b: Integer[np.ndarray, " P"], constants: PhysicsConstants
) -> None:
    """Exchange the impulses of those pairs (a, b) that overlap and approach each other."""
    position, velocity, spin = bodies.position, bodies.velocity, bodies.spin
    mass, inertia = bodies.mass, bodies.inertia
    for i, j, overlap, normal, point in pair_geometry(bodies.shape, position, bodies.yaw, a, b, constants):
        touching = np.flatnonzero(overlap > 0)
        if not len(touching):
            continue
        i, j, normal, point, overlap = i[touching], j[touching], normal[touching], point[touching], overlap[touching]
        arm_i, arm_j = point - position[i], point - position[j]
        relative = velocity[j] + _spin_velocity(spin[j], arm_j) - velocity[i] - _spin_velocity(spin[i], arm_i)
        approach = -(relative * normal).sum(1)
        overlap = overlap - constants.contact_delay * approach
        hit = np.flatnonzero((approach > MIN_APPROACH) & (overlap > 0))
        if not len(hit):
            continue
        i, j, normal, overlap, approach = i[hit], j[hit], normal[hit], overlap[hit], approach[hit]
        arm_i, arm_j, relative = arm_i[hit], arm_j[hit], relative[hit]
        tangent = np.stack([-normal[:, 1], normal[:, 0]], axis=1)
        lever_in, lever_jn = _cross(arm_i, normal), _cross(arm_j, normal)
        lever_it, lever_jt = _cross(arm_i, tangent), _cross(arm_j, tangent)
        lightness = 1 / mass[i] + 1 / mass[j]
        restitution = _restitution(bodies, i, j, approach, constants)
        push = (1 + restitution) * approach / (lightness + lever_in**2 / inertia[i] + lever_jn**2 / inertia[j])
        slide = -(relative * tangent).sum(1) / (lightness + lever_it**2 / inertia[i] + lever_jt**2 / inertia[j])
        slide = np.clip(slide, -constants.contact_friction * push, constants.contact_friction * push)
        impulse = push[:, None] * normal + slide[:, None] * tangent
        since = np.minimum(overlap / approach, 1.0 / SUBSTEPS)[:, None]  # frames since they touched
        for index, sign, arm in ((i, -1.0, arm_i), (j, 1.0, arm_j)):
            change = sign * impulse / mass[index][:, None]
            np.add.at(velocity, index, change)
            np.add.at(position, index, change * since)
            np.add.at(spin, index, sign * _cross(arm, impulse) / inertia[index])


def _restitution(
    bodies: BodyArrays, i: np.ndarray, j: np.ndarray, approach: np.ndarray, constants: PhysicsConstants
) -> np.ndarray:
    """(P,): restitution of contacts at those speeds of approach (units a frame, along the normal)."""
    start, full = constants.restitution_start_speed, constants.restitution_full_speed
    share = np.clip((approach - start) / max(full - start, MIN_APPROACH), 0, 1)
    mean = constants.restitution[bodies.shape[i], bodies.shape[j]] * share
    deviation = bodies.bounce[i, j % bodies.bounce.shape[1]] * (approach > start)
    return np.clip(mean + deviation, 0, 1)


def pair_geometry(
    shape: Integer[np.ndarray, " N"],
    position: Float[np.ndarray, "N 2"],
    yaw: Float[np.ndarray, " N"],
    a: Integer[np.ndarray, " P"],
    b: Integer[np.ndarray, " P"],
    constants: PhysicsConstants,
) -> Iterator[PairGeometry]:
    """Yields the geometry of the pairs (a, b), one kind of pair after the other, as the bodies lie at that moment."""
    swap = (shape[a] != CUBE) & (shape[b] == CUBE)
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    square_a, square_b = shape[a] == CUBE, shape[b] == CUBE
    for chosen, contact in (
        (~square_a & ~square_b, _disc_disc),
        (square_a & ~square_b, _square_disc),
        (square_a & square_b, _square_square),
    ):
        pairs = np.flatnonzero(chosen)
        if len(pairs):
            i, j = a[pairs], b[pairs]
            yield PairGeometry(i, j, *contact(position[i], yaw[i], position[j], yaw[j], constants))


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _spin_velocity(spin: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """Velocity (P, 2) of points at `arm` (P, 2) from the centres of bodies that spin."""
    return np.stack([-spin * arm[:, 1], spin * arm[:, 0]], axis=1)


_Contact = tuple[np.ndarray, np.ndarray, np.ndarray]  # overlap (P,), normal (P, 2), point (P, 2) as in PairGeometry


def _disc_disc(
    first: np.ndarray, _: np.ndarray, second: np.ndarray, __: np.ndarray, constants: PhysicsConstants
) -> _Contact:
    offset = second - first
    distance = np.maximum(np.hypot(offset[:, 0], offset[:, 1]), 1e-9)
    return 2 * constants.radius - distance, offset / distance[:, None], (first + second) / 2


def _axes(yaw: np.ndarray) -> np.ndarray:
    """(P, 2, 2): the two axes of squares."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.stack([np.stack([cosine, sine], axis=1), np.stack([-sine, cosine], axis=1)], axis=1)


def _square_disc(
    first: np.ndarray, yaw: np.ndarray, second: np.ndarray, _: np.ndarray, constants: PhysicsConstants
) -> _Contact:
    """Along the line from the point of the square that is nearest to the disc's centre."""
    axes = _axes(yaw)
    local = np.einsum("pij,pj->pi", axes, second - first)
    nearest = np.clip(local, -constants.half_side, constants.half_side)
    gap = local - nearest
    distance = np.hypot(gap[:, 0], gap[:, 1])
    inside = distance < 1e-9  # the disc's centre is in the square: out through the nearest side
    if inside.any():
        deep = np.abs(local).argmax(axis=1)
        out = np.zeros_like(local)
        out[np.arange(len(local)), deep] = np.sign(local[np.arange(len(local)), deep])
        gap = np.where(inside[:, None], out, gap)
        distance = np.where(inside, np.abs(local).max(axis=1) - constants.half_side, distance)
        direction = np.where(inside[:, None], out, gap / np.maximum(distance, 1e-9)[:, None])
    else:
        direction = gap / distance[:, None]
    normal = np.einsum("pij,pi->pj", axes, direction)
    point = first + np.einsum("pij,pi->pj", axes, nearest)
    return constants.radius - distance, normal, point


def _square_square(
    first: np.ndarray, yaw: np.ndarray, second: np.ndarray, other_yaw: np.ndarray, constants: PhysicsConstants
) -> _Contact:
    """The side with the widest gap takes the impulse, between the deepest corners of the other square."""
    half = constants.half_side
    axes_a, axes_b = _axes(yaw), _axes(other_yaw)
    corners_a = first[:, None] + half * np.einsum("ci,pij->pcj", _CORNERS, axes_a)
    corners_b = second[:, None] + half * np.einsum("ci,pij->pcj", _CORNERS, axes_b)
    offset = second - first
    best_gap = np.full(len(first), -np.inf)
    normal, point = np.zeros((len(first), 2)), np.zeros((len(first), 2))
    for centre, axes, corners, sign in ((first, axes_a, corners_b, 1.0), (second, axes_b, corners_a, -1.0)):
        for k in range(2):
            axis = axes[:, k]
            side = np.where((offset * axis).sum(1) * sign > 0, 1.0, -1.0)
            outward = side[:, None] * axis  # from this square's centre towards the other square
            along = axes[:, 1 - k]
            relative = corners - centre[:, None]
            height = np.einsum("pcj,pj->pc", relative, outward) - half
            gap = height.min(axis=1)
            better = gap > best_gap + 1e-6
            if not better.any():
                continue
            slide = np.clip(np.einsum("pcj,pj->pc", relative, along), -half, half)
            weight = np.maximum(gap[:, None] + CORNER_SOFTNESS - height, 0)
            middle = (weight * slide).sum(1) / weight.sum(1)
            touch = centre + half * outward + middle[:, None] * along
            best_gap = np.where(better, gap, best_gap)
            normal = np.where(better[:, None], sign * outward, normal)
            point = np.where(better[:, None], touch, point)
    return -best_gap, normal, point
