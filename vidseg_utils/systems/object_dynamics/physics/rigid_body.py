"""Rigid discs and squares that slide on the ground and collide: the physics that is fitted to trajectories.

Thousands of worlds are stepped at once. Between contacts an object slows down by friction and drag. A contact is an
instant impulse (see `contact`). Units are world units and video frames (a velocity is in units a frame), so no constant
of nature is assumed.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Complex, Float, Integer

from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.contact import (
    SUBSTEPS,
    BodyArrays,
    pairs_by_kind,
    resolve_contacts,
)
from vidseg_utils.world.solids import CUBE, MEAN_CONTACT_RADIUS, SPHERE, VERTICAL_INERTIA

RESTING_SPEED = 1e-5  # units a frame: slower objects do not move
WATCH_FRAMES = 8  # frames for which a list of the pairs that may touch is valid
_FAR_AWAY = 99.0  # world units: where objects of empty slots are, 10 apart
_MARGIN = 0.02  # world units, in the test whether two objects may touch
_PUSHED_SPEED = 0.15  # units a frame: how much closer two objects come if a third one sets them moving


@dataclass
class Worlds:
    """M worlds of N objects on the ground; `advance` changes them in place."""

    shape: Integer[np.ndarray, "M N"]  # shape codes
    active: Bool[np.ndarray, "M N"]  # False for empty slots, which neither move nor touch
    position: Float[np.ndarray, "M N 2"]  # world units
    velocity: Float[np.ndarray, "M N 2"]  # units a video frame
    yaw: Float[np.ndarray, "M N"]  # radians
    spin: Float[np.ndarray, "M N"]  # radians a video frame
    mass: Float[np.ndarray, "M N"]  # of which the mean object has 1
    bounce: Float[np.ndarray, "M N N"]  # deviation of each pair's restitution from its mean; 0 for the mean law

    @classmethod
    def empty(cls, count: int, slots: int) -> "Worlds":
        """Worlds of inactive spheres of mass 1, far from everything and from each other, that bounce as the mean."""
        position = np.full((count, slots, 2), _FAR_AWAY) + 10.0 * np.arange(slots)[:, None]
        return cls(
            shape=np.full((count, slots), SPHERE),
            active=np.zeros((count, slots), dtype=bool),
            position=position,
            velocity=np.zeros_like(position),
            yaw=np.zeros((count, slots)),
            spin=np.zeros((count, slots)),
            mass=np.ones((count, slots)),
            bounce=np.zeros((count, slots, slots)),
        )

    @property
    def poses(self) -> Float[np.ndarray, "M N 3"]:
        """x, y and yaw."""
        return np.concatenate([self.position, self.yaw[..., None]], axis=-1)

    def copy(self) -> "Worlds":
        """Copies of all arrays."""
        return replace(self, **{f.name: getattr(self, f.name).copy() for f in fields(self)})


def advance(worlds: Worlds, frames: int, constants: PhysicsConstants) -> None:
    """Move the worlds on by `frames` video frames."""
    slots = worlds.active.shape[1]
    first, second = np.triu_indices(slots, 1)
    shape, yaw, spin, mass = (a.reshape(-1) for a in (worlds.shape, worlds.yaw, worlds.spin, worlds.mass))  # views
    position, velocity = (a.reshape(-1).view(complex) for a in (worlds.position, worlds.velocity))
    inertia, bounce = mass * VERTICAL_INERTIA[shape], worlds.bounce.reshape(-1, slots)
    bodies = BodyArrays(shape, mass, inertia, position, velocity, yaw, spin, bounce)
    slow_down = _friction(bodies, worlds.active.reshape(-1), constants)
    world, pair = np.nonzero(worlds.active[:, first] & worlds.active[:, second])
    pair_a, pair_b = world * slots + first[pair], world * slots + second[pair]
    extent = np.where(shape == CUBE, np.sqrt(2) * constants.half_side, constants.radius)
    reach = extent[pair_a] + extent[pair_b]
    watch_a, watch_b, watch_reach = pair_a, pair_b, reach
    for frame in range(frames):
        if frame % WATCH_FRAMES == 0:
            near = np.flatnonzero(may_touch(position, velocity, pair_a, pair_b, reach, frames=WATCH_FRAMES))
            watch_a, watch_b, watch_reach = pair_a[near], pair_b[near], reach[near]
        slow_down(share=1.0 if frame else 0.5)
        close = np.flatnonzero(may_touch(position, velocity, watch_a, watch_b, watch_reach, frames=1))
        if not len(close):
            position += velocity
            yaw += spin
            continue
        a, b = watch_a[close], watch_b[close]
        pairs = pairs_by_kind(shape, a, b)
        in_pair = np.zeros(len(shape), dtype=bool)
        in_pair[a] = in_pair[b] = True
        position[~in_pair] += velocity[~in_pair]
        yaw[~in_pair] += spin[~in_pair]
        paired = np.flatnonzero(in_pair)
        for _ in range(SUBSTEPS):
            position[paired] += velocity[paired] / SUBSTEPS
            yaw[paired] += spin[paired] / SUBSTEPS
            resolve_contacts(bodies, pairs, constants)
    slow_down(share=0.5)  # drag acts for half a frame before and after each move


def may_touch(
    position: Complex[np.ndarray, " N"],
    velocity: Complex[np.ndarray, " N"],
    a: Integer[np.ndarray, " P"],
    b: Integer[np.ndarray, " P"],
    reach: Float[np.ndarray, " P"],
    *,
    frames: int,
) -> Bool[np.ndarray, " P"]:
    """Whether the objects of each pair (a, b) may come within `reach` of each other in that many frames."""
    offset = position[a] - position[b]
    limit = reach + _MARGIN + (frames + 0.5) * np.abs(velocity[a] - velocity[b])
    if frames > 1:
        limit += _PUSHED_SPEED * frames
    return np.real(offset) ** 2 + np.imag(offset) ** 2 < limit**2


def _friction(bodies: BodyArrays, active: np.ndarray, constants: PhysicsConstants) -> Callable[..., None]:
    """A function that applies friction and drag for `share` of a frame.

    Ground friction acts against sliding and turning together.
    """
    velocity, spin, contact_radius = bodies.velocity, bodies.spin, MEAN_CONTACT_RADIUS[bodies.shape]
    sphere = bodies.shape == SPHERE
    friction = np.where(sphere, constants.rolling_friction, constants.sliding_friction)
    turning_friction = np.where(sphere, 0.0, friction * contact_radius**2 / VERTICAL_INERTIA[bodies.shape])

    def slow_down(*, share: float) -> None:
        speed = np.abs(velocity)
        slip = np.maximum(np.hypot(speed, np.abs(spin) * contact_radius), 1e-9)
        loss = constants.linear_drag + constants.quadratic_drag * speed + friction / slip
        velocity[:] *= np.clip(1 - share * loss, 0, 1) * active * (speed > RESTING_SPEED)
        spin[:] *= np.clip(1 - share * (constants.spin_drag + turning_friction / slip), 0, 1) * active

    return slow_down
