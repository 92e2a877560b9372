"""Contacts of two objects: an instant impulse with restitution and friction at the point of contact.

There are contacts of two discs, of a square and a disc, and of two squares (the widest gap over the sides' axes, as in
the separating-axis test). The impulse acts from the moment of touching, which may lie within a step, so the result
hardly depends on the length of a step.

Points and vectors on the ground are complex numbers x + iy: the arrays are small, so the number of operations counts.
A product with a unit vector turns, and that of a conjugate a and b holds their dot and cross product.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float, Integer

from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.world.solids import CUBE

SUBSTEPS = 6  # a video frame, for objects that are close to another
CORNER_SOFTNESS = 0.01  # world units: corners that are this close to the deepest corner carry part of the impulse
MIN_APPROACH = 1e-7  # units a frame: slower pairs exchange no impulse
_MIN_LEAD = 1e-6  # world units by which a later side's gap must be wider to take the impulse
_CORNERS = np.array([-1 - 1j, -1 + 1j, 1 - 1j, 1 + 1j])


@dataclass(frozen=True)
class BodyArrays:
    """N bodies on the ground, S in a world; `resolve_contacts` changes the arrays in place."""

    shape: Integer[np.ndarray, " N"]  # shape codes
    mass: Float[np.ndarray, " N"]  # of which the mean object has 1
    inertia: Float[np.ndarray, " N"]  # about the vertical, mass times units squared
    position: Complex[np.ndarray, " N"]  # world units
    velocity: Complex[np.ndarray, " N"]  # units a video frame
    yaw: Float[np.ndarray, " N"]  # radians
    spin: Float[np.ndarray, " N"]  # radians a video frame
    bounce: Float[np.ndarray, "N S"]  # deviation of the restitution with each body of the same world


class PairGeometry(NamedTuple):
    """How P pairs of one kind lie to each other."""

    first: Integer[np.ndarray, " P"]  # index of a body; of a cube and another shape, the cube
    second: Integer[np.ndarray, " P"]
    overlap: Float[np.ndarray, " P"]  # world units; negative for a gap
    normal: Complex[np.ndarray, " P"]  # from the first to the second
    point: Complex[np.ndarray, " P"]  # of contact


def resolve_contacts(bodies: BodyArrays, pairs: "PairsByKind", constants: PhysicsConstants) -> None:
    """Exchange the impulses of those pairs that overlap and approach each other."""
    position, velocity, spin = bodies.position, bodies.velocity, bodies.spin
    mass, inertia = bodies.mass, bodies.inertia
    for i, j, overlap, normal, point in pair_geometry(position, bodies.yaw, pairs, constants):
        arm_i, arm_j = point - position[i], point - position[j]
        relative = velocity[j] - velocity[i] + 1j * (spin[j] * arm_j - spin[i] * arm_i)
        relative *= normal.conj()  # along the normal, and across it
        approach = -relative.real
        depth = overlap - constants.contact_delay * approach
        hit = np.flatnonzero((overlap > 0) & (approach > MIN_APPROACH) & (depth > 0))
        if not len(hit):
            continue
        i, j, depth, approach, normal = i[hit], j[hit], depth[hit], approach[hit], normal[hit]
        lever_i, lever_j = arm_i[hit].conj() * normal, arm_j[hit].conj() * normal
        yield_along, yield_across = (  # how easily the point of contact moves
            1 / mass[i] + 1 / mass[j] + part(lever_i) ** 2 / inertia[i] + part(lever_j) ** 2 / inertia[j]
            for part in (np.imag, np.real)
        )
        push = (1 + _restitution(bodies, i, j, approach, constants)) * approach / yield_along
        slide = -relative[hit].imag / yield_across
        most = constants.contact_friction * push
        along = push + 1j * np.minimum(np.maximum(slide, -most), most)  # the impulse, seen along the normal
        body = np.concatenate([i, j])
        impulse = np.concatenate([-along * normal, along * normal])
        turn = np.concatenate([-(lever_i * along).imag, (lever_j * along).imag])
        since = np.minimum(depth / approach, 1.0 / SUBSTEPS)  # frames since they touched
        change = impulse / mass[body]
        np.add.at(velocity, body, change)
        np.add.at(position, body, change * np.concatenate([since, since]))
        np.add.at(spin, body, turn / inertia[body])


def _restitution(
    bodies: BodyArrays, i: np.ndarray, j: np.ndarray, approach: np.ndarray, constants: PhysicsConstants
) -> np.ndarray:
    """(P,): restitution of contacts at those speeds of approach (units a frame, along the normal)."""
    start, full = constants.restitution_start_speed, constants.restitution_full_speed
    share = np.minimum(np.maximum((approach - start) / max(full - start, MIN_APPROACH), 0), 1)
    mean = constants.restitution[bodies.shape[i], bodies.shape[j]] * share
    deviation = bodies.bounce[i, j % bodies.bounce.shape[1]] * (approach > start)
    return np.minimum(np.maximum(mean + deviation, 0), 1)


_Contact = tuple[np.ndarray, np.ndarray, np.ndarray]  # overlap, normal, point as in PairGeometry
# Kinds of pairs: how their geometry is found, and the indices of the first and the second bodies.
PairsByKind = list[tuple[Callable[..., _Contact], np.ndarray, np.ndarray]]


def pairs_by_kind(
    shape: Integer[np.ndarray, " N"], a: Integer[np.ndarray, " P"], b: Integer[np.ndarray, " P"]
) -> PairsByKind:
    """Sort the pairs (a, b) by the kinds that `pair_geometry` tells apart."""
    square_a, square_b = shape[a] == CUBE, shape[b] == CUBE
    swap = square_b & ~square_a
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    n_squares = square_a.astype(int) + square_b
    kinds = (
        (contact, np.flatnonzero(n_squares == n))
        for n, contact in enumerate((_disc_disc, _square_disc, _square_square))
    )
    return [(contact, a[pairs], b[pairs]) for contact, pairs in kinds if len(pairs)]


def pair_geometry(
    position: Complex[np.ndarray, " N"], yaw: Float[np.ndarray, " N"], pairs: PairsByKind, constants: PhysicsConstants
) -> Iterator[PairGeometry]:
    """Yields the geometry of the pairs, one kind of pair after the other, as the bodies lie at that moment."""
    for contact, i, j in pairs:
        yield PairGeometry(i, j, *contact(position[i], yaw[i], position[j], yaw[j], constants))


def _disc_disc(
    first: np.ndarray, _: np.ndarray, second: np.ndarray, __: np.ndarray, constants: PhysicsConstants
) -> _Contact:
    offset = second - first
    distance = np.maximum(np.abs(offset), 1e-9)
    return 2 * constants.radius - distance, offset / distance, (first + second) / 2


def _square_disc(
    first: np.ndarray, yaw: np.ndarray, second: np.ndarray, _: np.ndarray, constants: PhysicsConstants
) -> _Contact:
    """Along the line from the point of the square that is nearest to the disc's centre."""
    half, axis = constants.half_side, np.exp(1j * yaw)
    local = (second - first) * axis.conj()
    nearest = np.clip(local.view(float), -half, half).view(complex)
    gap = local - nearest
    distance = np.abs(gap)
    direction = gap / np.maximum(distance, 1e-9)
    inside = np.flatnonzero(distance < 1e-9)  # the disc's centre is in the square: out through the nearest side
    if len(inside):
        direction[inside], deep = _nearest_side(local[inside])
        distance[inside] = deep - half
    return constants.radius - distance, axis * direction, first + axis * nearest


def _nearest_side(local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The side of a square at the origin that a point is nearest to, as its outward normal, and how far that way."""
    x, y = np.abs(np.real(local)), np.abs(np.imag(local))
    sign = 2.0 * (local.view(float) > 0) - 1
    across = y > x + _MIN_LEAD
    return np.where(across, 1j * sign[1::2], sign[::2]), np.where(across, y, x)


def _square_square(
    first: np.ndarray, yaw: np.ndarray, second: np.ndarray, other_yaw: np.ndarray, constants: PhysicsConstants
) -> _Contact:
    """The side with the widest gap takes the impulse, between the deepest corners of the other square.

    In each of the four directions in which a gap may be widest, the two squares reach equally far together.
    """
    half, axis_a, axis_b = constants.half_side, np.exp(1j * yaw), np.exp(1j * other_yaw)
    local_a, local_b = (second - first) * axis_a.conj(), (first - second) * axis_b.conj()
    (outward_a, distance_a), (outward_b, distance_b) = _nearest_side(local_a), _nearest_side(local_b)
    by_b = distance_b > distance_a + _MIN_LEAD
    outward = np.where(by_b, outward_b * axis_b, outward_a * axis_a)
    other = np.where(by_b, axis_a, axis_b) * outward.conj()  # the other square, seen along that direction
    centre = np.where(by_b, first - second, second - first) * outward.conj()
    corners = centre + half * _CORNERS[:, None] * other  # (4, P)
    height = corners.real - half
    gap = height.min(axis=0)
    weight = np.maximum(gap + CORNER_SOFTNESS - height, 0)
    middle = (weight * np.minimum(np.maximum(corners.imag, -half), half)).sum(axis=0) / weight.sum(axis=0)
    point = np.where(by_b, second, first) + outward * (half + 1j * middle)
    return -gap, np.where(by_b, -outward, outward), point
