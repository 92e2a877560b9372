"""Rigid discs and squares that slide on a floor and resolve_contacts: the physics that is fitted to trajectories.

Thousands of worlds are stepped at once. Between contacts an object slows down by friction and drag; a contact is an
instant impulse with restitution and friction at the point of touch, placed back in time to the moment of touching.
Units: world units and video frames (velocity is units a frame), so no constant of nature is assumed.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.contact import SUBSTEPS, resolve_contacts
from vidseg_utils.world.solids import CUBE, MEAN_CONTACT_RADIUS, SPHERE, VERTICAL_INERTIA

RESTING = 1e-5  # units a frame: slower objects do not move


@dataclass
class Worlds:
    """M worlds of N objects; changed in place by `advance`."""

    shape: np.ndarray  # (N,) or (M, N) 0 cube, 1 sphere, 2 cylinder
    active: np.ndarray  # (M, N) bool; the others neither move nor touch
    position: np.ndarray  # (M, N, 2)
    velocity: np.ndarray  # (M, N, 2) units a frame
    yaw: np.ndarray  # (M, N)
    spin: np.ndarray  # (M, N) radians a frame

    @classmethod
    def empty(cls, count: int, slots: int) -> "Worlds":
        """Spheres that are not there, far from everything and each other."""
        position = np.full((count, slots, 2), 99.0) + 10.0 * np.arange(slots)[:, None]
        flat = np.zeros((count, slots))
        return cls(np.ones((count, slots), dtype=int), flat > 0, position, np.zeros_like(position), flat, flat.copy())

    @property
    def poses(self) -> np.ndarray:
        """(M, N, 3): x, y, yaw."""
        return np.concatenate([self.position, self.yaw[..., None]], axis=-1)

    def copy(self) -> "Worlds":
        """The same worlds, to be changed apart."""
        return replace(self, **{f.name: getattr(self, f.name).copy() for f in fields(self)})


def advance(worlds: Worlds, frames: int, constants: PhysicsConstants) -> None:
    """Let `frames` video frames pass."""
    count, slots = worlds.active.shape
    first, second = np.triu_indices(slots, 1)
    shape = np.broadcast_to(worlds.shape, (count, slots)).reshape(-1)
    position, velocity = worlds.position.reshape(-1, 2), worlds.velocity.reshape(-1, 2)
    yaw, spin = worlds.yaw.reshape(-1), worlds.spin.reshape(-1)
    worlds_of = np.arange(count)[:, None] * slots
    index_a, index_b = (worlds_of + first).ravel(), (worlds_of + second).ravel()
    both = (worlds.active[:, first] & worlds.active[:, second]).ravel()
    index_a, index_b = index_a[both], index_b[both]
    edge = np.where(shape == CUBE, np.sqrt(2) * constants.half_side, constants.radius)
    reach = edge[index_a] + edge[index_b]
    inertia = VERTICAL_INERTIA[shape]
    active = worlds.active.reshape(-1)
    watch = 0  # frames until the list of pairs that may meet is drawn up anew
    for frame in range(frames):
        if watch == 0:
            near = np.flatnonzero(may_touch(position, velocity, index_a, index_b, reach, frames=8))
            watch_a, watch_b, watch_reach = index_a[near], index_b[near], reach[near]
            watch = 8
        watch -= 1
        _slow_down(shape, velocity, spin, active, constants, share=1.0 if frame else 0.5)
        close = np.flatnonzero(may_touch(position, velocity, watch_a, watch_b, watch_reach, frames=1))
        if not len(close):
            position += velocity
            yaw += spin
            continue
        a, b = watch_a[close], watch_b[close]
        moving = np.zeros(len(shape), dtype=bool)
        moving[a] = moving[b] = True
        free = ~moving
        position[free] += velocity[free]
        yaw[free] += spin[free]
        moving = np.flatnonzero(moving)
        for _ in range(SUBSTEPS):
            position[moving] += velocity[moving] / SUBSTEPS
            yaw[moving] += spin[moving] / SUBSTEPS
            resolve_contacts(shape, inertia, position, velocity, yaw, spin, a, b, constants)
    _slow_down(shape, velocity, spin, active, constants, share=0.5)  # a move lies between two half frames of drag


def may_touch(
    position: np.ndarray, velocity: np.ndarray, a: np.ndarray, b: np.ndarray, reach: np.ndarray, *, frames: int
) -> np.ndarray:
    """Whether the objects of each pair may come within `reach` (P,) of each other in that many frames."""
    apart = position[a] - position[b]
    relative = velocity[a] - velocity[b]
    far = reach + 0.02 + (frames + 0.5) * np.hypot(relative[:, 0], relative[:, 1])
    if frames > 1:
        far += 0.15 * frames  # somebody else may set them moving
    return apart[:, 0] ** 2 + apart[:, 1] ** 2 < far**2


def _slow_down(
    shape: np.ndarray,
    velocity: np.ndarray,
    spin: np.ndarray,
    active: np.ndarray,
    constants: PhysicsConstants,
    *,
    share: float,
) -> None:
    """Friction and drag of `share` of a frame; friction with the floor acts against sliding and turning together."""
    speed = np.hypot(velocity[:, 0], velocity[:, 1])
    ball = shape == SPHERE
    friction = np.where(ball, constants.rolling_friction, constants.sliding_friction)
    slip = np.maximum(np.hypot(speed, np.abs(spin) * MEAN_CONTACT_RADIUS[shape]), 1e-9)
    loss = constants.linear_drag + constants.quadratic_drag * speed + friction / slip
    velocity *= (np.clip(1 - share * loss, 0, 1) * active * (speed > RESTING))[:, None]
    turn_friction = np.where(ball, 0.0, friction * MEAN_CONTACT_RADIUS[shape] ** 2 / VERTICAL_INERTIA[shape])
    turn_loss = constants.spin_drag + turn_friction / slip
    spin *= np.clip(1 - share * turn_loss, 0, 1) * active
