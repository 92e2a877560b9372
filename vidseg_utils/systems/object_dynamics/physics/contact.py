"""What happens where two objects touch: an instant impulse with restitution and friction at the point of touch.

Pairs of discs, of a square and a disc, and of squares (the widest gap over the sides' axes, as in the separating-axis
test). The impulse is placed back in time to the moment of touching, so the length of a step hardly matters.
"""

from collections.abc import Iterator

import numpy as np

from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.world.solids import CUBE

SUBSTEPS = 6  # a video frame, for objects that are close to another
SOFT_EDGE = 0.01  # world units: corners within it of the deepest one carry part of the push
_CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])


def resolve_contacts(
    shape: np.ndarray,
    inertia: np.ndarray,
    position: np.ndarray,
    velocity: np.ndarray,
    yaw: np.ndarray,
    spin: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    constants: PhysicsConstants,
) -> None:
    """Find the pairs (a, b) that overlap and approach each other, and exchange their impulses."""
    for i, j, overlap, normal, point in contact_geometry(shape, position, yaw, a, b, constants):
        touching = np.flatnonzero(overlap > 0)  # the impulse comes when overlap > delay x approach
        if not len(touching):
            continue
        i, j, normal, point, overlap = i[touching], j[touching], normal[touching], point[touching], overlap[touching]
        arm_i, arm_j = point - position[i], point - position[j]
        relative = velocity[j] + _spun(spin[j], arm_j) - velocity[i] - _spun(spin[i], arm_i)
        approach = -(relative * normal).sum(1)
        overlap = overlap - constants.contact_delay * approach
        hit = np.flatnonzero((approach > 1e-7) & (overlap > 0))
        if not len(hit):
            continue
        i, j, normal, overlap, approach = i[hit], j[hit], normal[hit], overlap[hit], approach[hit]
        arm_i, arm_j, relative = arm_i[hit], arm_j[hit], relative[hit]
        tangent = np.stack([-normal[:, 1], normal[:, 0]], axis=1)
        turn_in, turn_jn = _cross(arm_i, normal), _cross(arm_j, normal)
        turn_it, turn_jt = _cross(arm_i, tangent), _cross(arm_j, tangent)
        push = (
            (1 + constants.restitution[shape[i], shape[j]])
            * approach
            / (2 + turn_in**2 / inertia[i] + turn_jn**2 / inertia[j])
        )
        slide = -(relative * tangent).sum(1) / (2 + turn_it**2 / inertia[i] + turn_jt**2 / inertia[j])
        slide = np.clip(slide, -constants.contact_friction * push, constants.contact_friction * push)
        impulse = push[:, None] * normal + slide[:, None] * tangent
        since = np.minimum(overlap / approach, 1.0 / SUBSTEPS)[:, None]  # frames since they touched
        for place, sign, arm in ((i, -1.0, arm_i), (j, 1.0, arm_j)):
            np.add.at(velocity, place, sign * impulse)
            np.add.at(position, place, sign * impulse * since)
            np.add.at(spin, place, sign * _cross(arm, impulse) / inertia[place])


def contact_geometry(
    shape: np.ndarray, position: np.ndarray, yaw: np.ndarray, a: np.ndarray, b: np.ndarray, constants: PhysicsConstants
) -> Iterator[tuple[np.ndarray, ...]]:
    """How the pairs (a, b) lie, one kind of pair after the other, at the moment at which it is asked for.

    yields: first and second object (P,), a cube first; overlap (P,), negative for a gap; normal (P, 2) from the first
    to the second; point of touch (P, 2).
    """
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
            yield i, j, *contact(position[i], yaw[i], position[j], yaw[j], constants)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _spun(spin: np.ndarray, arm: np.ndarray) -> np.ndarray:
    return np.stack([-spin * arm[:, 1], spin * arm[:, 0]], axis=1)


def _disc_disc(first, _, second, __, constants: PhysicsConstants) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overlap (P,), normal (P, 2) from the first to the second, and point of touch (P, 2)."""
    apart = second - first
    distance = np.maximum(np.hypot(apart[:, 0], apart[:, 1]), 1e-9)
    return 2 * constants.radius - distance, apart / distance[:, None], (first + second) / 2


def _axes(yaw: np.ndarray) -> np.ndarray:
    """(P, 2 axes, 2)."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.stack([np.stack([cosine, sine], axis=1), np.stack([-sine, cosine], axis=1)], axis=1)


def _square_disc(first, yaw, second, _, constants: PhysicsConstants) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def _square_square(first, yaw, second, other_yaw, constants: PhysicsConstants):
    """The side with the widest gap takes the impulse, between the two deepest corners of the other square."""
    half = constants.half_side
    axes_a, axes_b = _axes(yaw), _axes(other_yaw)
    corners_a = first[:, None] + half * np.einsum("ci,pij->pcj", _CORNERS, axes_a)
    corners_b = second[:, None] + half * np.einsum("ci,pij->pcj", _CORNERS, axes_b)
    apart = second - first
    best_gap = np.full(len(first), -np.inf)
    normal, point = np.zeros((len(first), 2)), np.zeros((len(first), 2))
    for base, axes, corners, sign in ((first, axes_a, corners_b, 1.0), (second, axes_b, corners_a, -1.0)):
        for k in range(2):
            axis = axes[:, k]
            side = np.where((apart * axis).sum(1) * sign > 0, 1.0, -1.0)
            outward = side[:, None] * axis  # from `base` towards the other square
            along = axes[:, 1 - k]
            relative = corners - base[:, None]
            height = np.einsum("pcj,pj->pc", relative, outward) - half
            gap = height.min(axis=1)
            better = gap > best_gap + 1e-6
            if not better.any():
                continue
            slide = np.clip(np.einsum("pcj,pj->pc", relative, along), -half, half)
            weight = np.maximum(gap[:, None] + SOFT_EDGE - height, 0)
            middle = (weight * slide).sum(1) / weight.sum(1)
            touch = base + half * outward + middle[:, None] * along
            best_gap = np.where(better, gap, best_gap)
            normal = np.where(better[:, None], sign * outward, normal)
            point = np.where(better[:, None], touch, point)
    return -best_gap, normal, point
