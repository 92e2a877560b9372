"""From sightings to the state of every object at the last past frame, with its uncertainty: an ensemble Kalman filter.

K copies of the world start from the first sightings, each a little different; the fitted physics carries them from
frame to frame through the collisions, and every sighting draws them together (Whitaker and Hamill, 2002: the square
root filter, one whitened number at a time). What remains at the end are K worlds that could all be the true one.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.systems.object_dynamics.perception.tracks import Tracks
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.task import FRAME_STEP
from vidseg_utils.world.camera import project
from vidseg_utils.world.solids import CUBE, OBJECT_RADIUS, SPHERE

STILL_STEP = 0.012  # world units: an object that moves less between two sightings, and less than 3 sigma, rests
SURPRISE = 200.0  # squared sigmas of a sighting (2 or 3 numbers) from where on something unmodelled has happened


@dataclass(frozen=True)
class FilterSettings:
    """How much the filter trusts what."""

    members: int = 24  # worlds of the ensemble
    measurement_scale: float = 1.3  # of the outlines' own sigmas, which know nothing of a segmenter's habits
    position_noise: float = 3e-4  # world units a course frame
    spin_noise: float = 3e-4  # radians a video frame, a course frame, while moving
    collision_noise: float = 0.02  # of a velocity change in a collision


class Noise:
    """Normal numbers that belong to a frame, a purpose and a class id: a clip's answer does not depend on its batch."""

    KINDS = ("drift", "now", "next", "push", "enter")

    def __init__(self, members: int, seed: int):
        self.members, self.seed = members, seed

    def normal(self, frame: int, kind: str, class_id: np.ndarray, numbers: int) -> np.ndarray:
        """class_id: (B, N) -> (B, K, N, numbers), with mean 0 over the K members."""
        rng = np.random.default_rng([self.seed, frame, self.KINDS.index(kind)])
        table = rng.standard_normal((N_CLASSES, self.members, numbers))
        table -= table.mean(axis=1, keepdims=True)
        return table[class_id].swapaxes(1, 2)


def run_ensemble_filter(
    tracks: Tracks, constants: PhysicsConstants, settings: FilterSettings, *, seed: int = 0
) -> Worlds:
    """The ensemble at the last frame: B x K worlds, clip by clip; objects that were never sighted are inactive."""
    clips, frames, slots = tracks.seen.shape
    members = settings.members
    noise = Noise(members, seed)
    shape = tracks.shape
    # what an object starts with: its first sighting and the next one
    first = tracks.seen.argmax(axis=1)  # (B, N)
    later = tracks.seen & (np.arange(frames)[None, :, None] > first[:, None])
    second = np.where(later.any(axis=1), later.argmax(axis=1), -1)
    known = tracks.seen.any(axis=1)

    worlds = Worlds.empty(clips * members, slots)
    worlds.shape[:] = np.repeat(shape, members, axis=0)
    entering = _entering(tracks, first, second, constants)
    second = np.where(entering, -1, second)  # a sighting like any other
    covariance = np.linalg.inv(tracks.information) * settings.measurement_scale**2
    root = np.linalg.cholesky(covariance)
    for frame in range(frames):
        if frame:
            before = worlds.velocity.copy()
            advance(worlds, FRAME_STEP, constants)
            _disturb(worlds, tracks, before, frame, settings, noise)
        appear = known & (first == frame)
        update = tracks.seen[:, frame] & ~appear & (second != frame)
        _correct(worlds, tracks, frame, update, settings, noise)
        _start(worlds, tracks, root, frame, appear, second, entering, settings, noise, constants)
    return worlds


def _entering(tracks: Tracks, first: np.ndarray, second: np.ndarray, constants: PhysicsConstants) -> np.ndarray:
    """(B, N): objects that were out of the picture a frame before their first sighting, and come in at full speed."""
    clip, slot = np.nonzero((first > 0) & tracks.seen.any(axis=1))
    frame = first[clip, slot]
    place = tracks.pose[clip, frame, slot, :2]
    speed = np.array(
        [remaining_start_speed(np.array([1]), f * FRAME_STEP, constants)[0] for f in range(tracks.seen.shape[1])]
    )
    home = -place / np.maximum(np.linalg.norm(place, axis=-1, keepdims=True), 1e-6)
    before = place - FRAME_STEP * speed[frame][:, None] * home
    pixel = project(np.column_stack([before, np.full(len(before), OBJECT_RADIUS)]), height=1, width=1)
    outside = ((pixel[:, :2] < 0.02) | (pixel[:, :2] > 0.98)).any(axis=1) | (pixel[:, 2] < 0.5)
    then = np.maximum(second[clip, slot], 0)
    moved = np.linalg.norm(tracks.pose[clip, then, slot, :2] - place, axis=-1) > 0.1
    entering = np.zeros(first.shape, dtype=bool)
    entering[clip, slot] = outside & (moved | (second[clip, slot] < 0))
    return entering


def remaining_start_speed(shape: np.ndarray, frames: int, constants: PhysicsConstants) -> np.ndarray:
    """shape: (P,) -> what is left of the usual start speed after so many video frames, units a frame."""
    speed = np.full(len(shape), constants.start_speed)
    friction = np.where(shape == SPHERE, constants.rolling_friction, constants.sliding_friction)
    for _ in range(frames):
        speed = speed - friction - speed * (constants.linear_drag + constants.quadratic_drag * speed)
    return np.maximum(speed, 1e-3)


def _start(
    worlds: Worlds,
    tracks: Tracks,
    root: np.ndarray,
    frame: int,
    appear: np.ndarray,
    second: np.ndarray,
    entering: np.ndarray,
    settings: FilterSettings,
    noise: Noise,
    constants: PhysicsConstants,
) -> None:
    clip, slot = np.nonzero(appear)
    if not len(clip):
        return
    members = settings.members

    def sample(at: np.ndarray, kind: str) -> np.ndarray:
        drawn = noise.normal(frame, kind, tracks.class_id[clip, slot][:, None], 3)[:, :, 0]  # (P, K, 3)
        return tracks.pose[clip, at, slot][:, None] + np.einsum("pij,pkj->pki", root[clip, at, slot], drawn)

    now = sample(np.full(len(clip), frame), "now")  # (P, K, 3)
    has_next = second[clip, slot] >= 0
    at_next = np.where(has_next, second[clip, slot], frame)
    then = sample(at_next, "next")
    steps = FRAME_STEP * np.maximum(at_next - frame, 1)
    velocity = (then - now)[:, :, :2] / steps[:, None, None]
    speed = np.linalg.norm(velocity.mean(axis=1), axis=-1)
    loss = constants.linear_drag + constants.quadratic_drag * speed
    sphere = tracks.shape[clip, slot] == SPHERE
    friction = np.where(sphere, constants.rolling_friction, constants.sliding_friction)
    loss += friction / np.maximum(speed, 1e-3)
    velocity *= (1 + loss * steps / 2)[:, None, None]
    step = (then - now)[:, :, :2]
    mean = step.mean(axis=1)
    spread = np.sqrt(step.var(axis=1).sum(axis=-1))
    length = np.linalg.norm(mean, axis=-1)
    still = (length < STILL_STEP + 3 * spread) & (length < 0.15) | ~has_next
    velocity[still] = 0.0
    comes = entering[clip, slot]
    if comes.any():
        drawn = noise.normal(frame, "enter", tracks.class_id[clip, slot][:, None], 2)[comes, :, 0]  # (P, K, 2)
        usual = remaining_start_speed(tracks.shape[clip, slot][comes], frame * FRAME_STEP, constants)
        speed = usual[:, None] * (1 + constants.start_speed_spread / constants.start_speed * drawn[..., 0])
        home = tracks.pose[clip, frame, slot][comes]
        angle = np.arctan2(-home[:, 1], -home[:, 0])[:, None] + constants.start_angle_spread * drawn[..., 1]
        velocity[comes] = speed[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    turn = np.mod(then - now + np.pi / 4, np.pi / 2)[:, :, 2] - np.pi / 4
    spin = np.where((~still & (frame > 0))[:, None], 0.5 * turn / steps[:, None], 0.0)
    spin[tracks.shape[clip, slot] != CUBE] = 0.0
    world = clip[:, None] * members + np.arange(members)
    slot = slot[:, None]
    worlds.active[world, slot] = True
    worlds.position[world, slot] = now[:, :, :2]
    worlds.velocity[world, slot] = velocity
    worlds.yaw[world, slot] = now[:, :, 2] * (tracks.shape[clip[:, None], slot] == CUBE)
    worlds.spin[world, slot] = spin


def _disturb(
    worlds: Worlds, tracks: Tracks, before: np.ndarray, frame: int, settings: FilterSettings, noise: Noise
) -> None:
    """Process noise: a little on every place and more on a velocity that has just changed."""
    moving = worlds.active & (np.abs(worlds.velocity).sum(axis=-1) > 1e-4)
    drawn = noise.normal(frame, "drift", tracks.class_id, 5).reshape(*moving.shape, 5)
    worlds.position += settings.position_noise * drawn[..., :2] * moving[..., None]
    worlds.spin += settings.spin_noise * drawn[..., 2] * moving
    kick = np.linalg.norm(worlds.velocity - before, axis=-1)
    drag = 0.08 * np.linalg.norm(before, axis=-1)
    kick = settings.collision_noise * np.maximum(kick - drag, 0)
    worlds.velocity += kick[..., None] * drawn[..., 3:]


def _correct(
    worlds: Worlds,
    tracks: Tracks,
    frame: int,
    update: np.ndarray,
    settings: FilterSettings,
    noise: Noise,
) -> None:
    """Draw the ensembles of the objects in `update` (B, N) to what was sighted of them."""
    clip, slot = np.nonzero(update)
    if not len(clip):
        return
    members = settings.members
    world = clip[:, None] * members + np.arange(members)
    column = slot[:, None]
    state = np.concatenate(
        [
            worlds.position[world, column],
            worlds.yaw[world, column][..., None],
            worlds.velocity[world, column],
            worlds.spin[world, column][..., None],
        ],
        axis=-1,
    )  # (P, K, 6)
    seen = tracks.pose[clip, frame, slot].copy()  # (P, 3)
    cube = tracks.shape[clip, slot] == CUBE
    turn = seen[:, 2] - state[:, :, 2].mean(axis=1)
    seen[:, 2] -= np.round(turn / (np.pi / 2)) * np.pi / 2
    information = tracks.information[clip, frame, slot] / settings.measurement_scale**2
    information[~cube, 2] = information[~cube, :, 2] = 0.0
    state[~cube, :, 2] = seen[~cube, None, 2]

    innovation = (seen - state[:, :, :3].mean(axis=1))[..., None]
    spread = state[:, :, :3] - state[:, :, :3].mean(axis=1, keepdims=True)
    covariance = np.einsum("pki,pkj->pij", spread, spread) / members
    doubt = np.linalg.inv(information + np.eye(3) * 1e-6)
    distance = (np.linalg.solve(covariance + doubt, innovation) * innovation).sum(axis=(1, 2))
    odd = np.flatnonzero(distance > SURPRISE)
    if len(odd):
        # somebody has pushed it, at an unknown moment since the last frame
        size = np.abs(innovation[odd, None, :, 0]) + 1e-3
        drawn = noise.normal(frame, "push", tracks.class_id[clip[odd], slot[odd]][:, None], 4)[:, :, 0]
        push = size * drawn[..., :3]
        since = 1.0 + (FRAME_STEP - 1.0) * ndtr(drawn[..., 3:])
        state[odd, :, :3] += push
        state[odd, :, 3:] += push / since
    rows = np.linalg.cholesky(information + np.eye(3) * 1e-9).transpose(0, 2, 1)  # whitening
    for k in range(3):
        row = rows[:, k]
        at = np.einsum("pi,pki->pk", row, state[:, :, :3])
        mean = at.mean(axis=1)
        apart = at - mean[:, None]
        total = (apart**2).mean(axis=1) + 1.0
        centred = state - state.mean(axis=1, keepdims=True)
        gain = np.einsum("pk,pki->pi", apart, centred) / members / total[:, None]
        shrink = 1.0 / (1.0 + np.sqrt(1.0 / total))
        miss = np.einsum("pi,pi->p", row, seen) - mean
        state += gain[:, None] * (miss[:, None] - shrink[:, None] * apart)[..., None]
    worlds.position[world, column] = state[:, :, :2]
    worlds.yaw[world, column] = np.where(cube[:, None], state[:, :, 2], worlds.yaw[world, column])
    worlds.velocity[world, column] = state[:, :, 3:5]
    worlds.spin[world, column] = np.where(cube[:, None], state[:, :, 5], worlds.spin[world, column])
