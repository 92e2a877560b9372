"""How an object enters the ensemble: its position and velocity from its first two measurements, with their noise."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.systems.object_dynamics.perception.tracks import Tracks
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds
from vidseg_utils.systems.object_dynamics.physics.start_speed import (
    MIN_SPEED,
    ground_friction,
    start_distance_ratio,
    start_speeds,
)
from vidseg_utils.task import FRAME_STEP
from vidseg_utils.world.camera import MIN_DEPTH, project
from vidseg_utils.world.solids import CUBE, OBJECT_RADIUS, SPHERE, smallest_cube_yaw

RESTING_STEP, MAX_RESTING_STEP = 0.012, 0.15  # world units between the first two measurements: see `_is_resting`
ENTERING_STEP = 0.1  # world units: an object that comes in at full speed moves more between its first two measurements
IMAGE_MARGIN = 0.02  # of the image's size: an object's centre closer to the border counts as outside
MAX_MISS = 0.95  # most by which an entering object may miss the origin, as a share of its distance from it
SPIN_SHARE = 0.5  # share of a measured turn that counts, because a cube's yaw is only measured modulo 90 degrees


class EnsembleNoise:
    """Standard normal numbers by frame, purpose and class id: a clip's forecast does not depend on its batch."""

    # The index is part of the seed.
    PURPOSES = ("process", "first", "second", "push", "enter", "mass", "bounce", "tokens")

    def __init__(self, members: int, seed: int):
        self.members, self.seed = members, seed

    def normal(
        self, frame: int, purpose: str, class_id: Integer[np.ndarray, "B N"], numbers: int
    ) -> Float[np.ndarray, "B K N numbers"]:
        """Numbers for each of K members, whose mean over the members is 0. Raises ValueError for an unknown purpose."""
        return self._table(frame, purpose, numbers)[class_id].swapaxes(1, 2)

    def of_pairs(self, frame: int, purpose: str, class_id: Integer[np.ndarray, "B N"]) -> Float[np.ndarray, "B K N N"]:
        """A number for each of K members and each pair of classes, as in `normal`."""
        table = self._table(frame, purpose, N_CLASSES)
        low, high = (extreme(class_id[:, :, None], class_id[:, None]) for extreme in (np.minimum, np.maximum))
        return np.moveaxis(table[low, :, high], -1, 1)

    def _table(self, frame: int, purpose: str, numbers: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, frame, self.PURPOSES.index(purpose)])
        table = rng.standard_normal((N_CLASSES, self.members, numbers))
        return table - table.mean(axis=1, keepdims=True)


@dataclass(frozen=True)
class FirstMeasurements:
    """When each object of B clips is first measured."""

    first: Integer[np.ndarray, "B N"]  # frame
    second: Integer[np.ndarray, "B N"]  # frame of the next measurement, from which the velocity is taken; -1 for none
    entering: Bool[np.ndarray, "B N"]  # it comes in at full speed: its velocity is that of the objects at the start
    root: Float[np.ndarray, "B T N 3 3"]  # Cholesky factor of the measurements' covariance


def find_first_measurements(
    tracks: Tracks, constants: PhysicsConstants, *, measurement_scale: float
) -> FirstMeasurements:
    """Find the first two measurements of every object.

    measurement_scale: factor on the standard deviations that the tracks' information matrices give
    """
    frames = tracks.seen.shape[1]
    first = tracks.seen.argmax(axis=1)  # (B, N)
    later = tracks.seen & (np.arange(frames)[None, :, None] > first[:, None])
    second = np.where(later.any(axis=1), later.argmax(axis=1), -1)
    entering = _entering(tracks, first, second, constants)
    covariance = np.linalg.inv(tracks.information) * measurement_scale**2
    return FirstMeasurements(first, np.where(entering, -1, second), entering, np.linalg.cholesky(covariance))


def _entering(tracks: Tracks, first: np.ndarray, second: np.ndarray, constants: PhysicsConstants) -> np.ndarray:
    """(B, N): objects that at the usual speed were outside the image a frame before their first measurement."""
    clip, slot = np.nonzero((first > 0) & tracks.seen.any(axis=1))
    frame = first[clip, slot]
    position = tracks.pose[clip, frame, slot, :2]
    speed = start_speeds(np.array([SPHERE]), tracks.seen.shape[1] * FRAME_STEP, constants)[::FRAME_STEP, 0]
    inward = -position / np.maximum(np.linalg.norm(position, axis=-1, keepdims=True), 1e-6)
    before = position - FRAME_STEP * speed[frame][:, None] * inward
    pixel = project(np.column_stack([before, np.full(len(before), OBJECT_RADIUS)]), height=1, width=1)
    outside = ((pixel[:, :2] < IMAGE_MARGIN) | (pixel[:, :2] > 1 - IMAGE_MARGIN)).any(axis=1)
    outside |= pixel[:, 2] < MIN_DEPTH
    next_frame = np.maximum(second[clip, slot], 0)
    moved = np.linalg.norm(tracks.pose[clip, next_frame, slot, :2] - position, axis=-1) > ENTERING_STEP
    entering = np.zeros(first.shape, dtype=bool)
    entering[clip, slot] = outside & (moved | (second[clip, slot] < 0))
    return entering


def start_objects(
    worlds: Worlds,
    tracks: Tracks,
    measurements: FirstMeasurements,
    frame: int,
    *,
    constants: PhysicsConstants,
    noise: EnsembleNoise,
) -> None:
    """Activate, in B x K worlds, the objects that are first measured in that frame."""
    clip, slot = np.nonzero(tracks.seen.any(axis=1) & (measurements.first == frame))
    if not len(clip):
        return
    shape, class_id = tracks.shape[clip, slot], tracks.class_id[clip, slot][:, None]
    second = measurements.second[clip, slot]
    has_second = second >= 0
    next_frame = np.where(has_second, second, frame)

    def sample(frames: np.ndarray, purpose: str) -> np.ndarray:
        drawn = noise.normal(frame, purpose, class_id, 3)[:, :, 0]  # (P, K, 3)
        root = measurements.root[clip, frames, slot]
        return tracks.pose[clip, frames, slot][:, None] + np.einsum("pij,pkj->pki", root, drawn)

    pose = sample(np.full(len(clip), frame), "first")  # (P, K, 3)
    move = sample(next_frame, "second") - pose
    duration = FRAME_STEP * np.maximum(next_frame - frame, 1)  # video frames
    velocity = _velocity_at_first(move[:, :, :2], duration, shape, constants)
    resting = _is_resting(move[:, :, :2]) | ~has_second
    velocity[resting] = 0.0
    entering = measurements.entering[clip, slot]
    if entering.any():
        drawn = noise.normal(frame, "enter", class_id, 2)[entering, :, 0]  # (P, K, 2)
        measured = tracks.pose[clip, frame, slot][entering]
        velocity[entering] = _entering_velocity(measured, shape[entering], frame * FRAME_STEP, drawn, constants)
    turn = smallest_cube_yaw(move[:, :, 2])
    spin = np.where((~resting & (frame > 0))[:, None], SPIN_SHARE * turn / duration[:, None], 0.0)
    spin[shape != CUBE] = 0.0
    world = clip[:, None] * noise.members + np.arange(noise.members)
    slot = slot[:, None]
    worlds.active[world, slot] = True
    worlds.position[world, slot] = pose[:, :, :2]
    worlds.velocity[world, slot] = velocity
    worlds.yaw[world, slot] = pose[:, :, 2] * (shape == CUBE)[:, None]
    worlds.spin[world, slot] = spin


def _velocity_at_first(
    move: np.ndarray, duration: np.ndarray, shape: np.ndarray, constants: PhysicsConstants
) -> np.ndarray:
    """(P, K, 2): the mean velocity of a move (P, K, 2), plus what friction and drag take off in half its duration."""
    velocity = move / duration[:, None, None]
    speed = np.linalg.norm(velocity.mean(axis=1), axis=-1)
    loss = constants.linear_drag + constants.quadratic_drag * speed
    loss += ground_friction(shape, constants) / np.maximum(speed, MIN_SPEED)
    velocity *= (1 + loss * duration / 2)[:, None, None]
    return velocity


def _is_resting(move: np.ndarray) -> np.ndarray:
    """(P,): whether a move (P, K, 2) is shorter than RESTING_STEP plus three sigmas, and than MAX_RESTING_STEP."""
    spread = np.sqrt(move.var(axis=1).sum(axis=-1))
    length = np.linalg.norm(move.mean(axis=1), axis=-1)
    return (length < RESTING_STEP + 3 * spread) & (length < MAX_RESTING_STEP)


def _entering_velocity(
    pose: np.ndarray, shape: np.ndarray, frames: int, drawn: np.ndarray, constants: PhysicsConstants
) -> np.ndarray:
    """(P, K, 2): the usual speed after that many video frames, roughly towards the origin; drawn: (P, K, 2) normal.

    A line that misses the origin points further past it the nearer the object has come.
    """
    usual = start_speeds(shape, frames + 1, constants)[-1]
    speed = usual[:, None] * (1 + constants.start_speed_spread / constants.start_speed * drawn[..., 0])
    nearer = start_distance_ratio(pose[:, :2], shape, frames, constants)[:, None]
    miss = np.clip(nearer * np.sin(constants.start_angle_spread * drawn[..., 1]), -MAX_MISS, MAX_MISS)
    angle = np.arctan2(-pose[:, 1], -pose[:, 0])[:, None] + np.arcsin(miss)
    return speed[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
