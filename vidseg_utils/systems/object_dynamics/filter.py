"""The state of every object at the last past frame, with its uncertainty: an ensemble Kalman filter.

K members, each a whole world, start from the first measurements with different noise. The fitted physics carries them
from frame to frame through the collisions, and every measurement draws them together (Whitaker and Hamill, 2002: the
square root filter, one whitened number at a time). At the end each of the K worlds could be the true one.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from vidseg_utils.systems.object_dynamics.initial_state import EnsembleNoise, find_first_measurements, start_objects
from vidseg_utils.systems.object_dynamics.perception.tracks import Tracks
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.task import FRAME_STEP
from vidseg_utils.world.solids import CUBE

MAX_SURPRISE = 200.0  # squared Mahalanobis distance of a measurement; above it, something unmodelled pushed the object
MIN_MOVING_SPEED = 1e-4  # units a frame, |x| + |y|: slower objects get no process noise
DRAG_SHARE = 0.08  # share of a velocity; a smaller change within a clip frame is drag, not a collision
MIN_PUSH = 1e-3  # world units or radians: added to the standard deviation of a push, which is otherwise the innovation
_MIN_INFORMATION, _MIN_WHITENING = 1e-6, 1e-9  # added to information matrices before they are inverted or factored


@dataclass(frozen=True)
class FilterSettings:
    """Size of the ensemble and how noisy its measurements and its physics are."""

    members: int = 24  # worlds of the ensemble
    measurement_scale: float = 1.3  # factor on the outlines' own sigmas, which do not include the segmenter's errors
    position_noise: float = 3e-4  # world units a clip frame, while moving
    spin_noise: float = 3e-4  # radians a video frame, added each clip frame, while moving
    collision_noise: float = 0.02  # share of the velocity change in a collision


def run_ensemble_filter(
    tracks: Tracks, constants: PhysicsConstants, settings: FilterSettings, *, seed: int = 0
) -> Worlds:
    """Run the filter over all frames; returns the ensembles at the last one: K worlds of each clip, clip by clip.

    Objects that were never measured are inactive.
    """
    clips, frames, slots = tracks.seen.shape
    noise = EnsembleNoise(settings.members, seed)
    start = find_first_measurements(tracks, constants, measurement_scale=settings.measurement_scale)
    worlds = Worlds.empty(clips * settings.members, slots)
    worlds.shape[:] = np.repeat(tracks.shape, settings.members, axis=0)
    log_mass = constants.mass_spread * noise.normal(0, "mass", tracks.class_id, 1)[..., 0]
    worlds.mass[:] = np.exp(log_mass).reshape(worlds.mass.shape)
    bounce = constants.restitution_spread * noise.of_pairs(0, "bounce", tracks.class_id)
    worlds.bounce[:] = bounce.reshape(worlds.bounce.shape)
    for frame in range(frames):
        if frame:
            before = worlds.velocity.copy()
            advance(worlds, FRAME_STEP, constants)
            _add_process_noise(worlds, tracks, before, frame, settings, noise)
        # An object's first two measurements have already made its state.
        update = tracks.seen[:, frame] & (start.first != frame) & (start.second != frame)
        _correct(worlds, tracks, frame, update, settings, noise)
        start_objects(worlds, tracks, start, frame, constants=constants, noise=noise)
    return worlds


def _add_process_noise(
    worlds: Worlds,
    tracks: Tracks,
    velocity_before: np.ndarray,
    frame: int,
    settings: FilterSettings,
    noise: EnsembleNoise,
) -> None:
    """Noise on every moving object's position and spin, and on a velocity that a collision has just changed."""
    moving = worlds.active & (np.abs(worlds.velocity).sum(axis=-1) > MIN_MOVING_SPEED)
    drawn = noise.normal(frame, "process", tracks.class_id, 5).reshape(*moving.shape, 5)
    worlds.position += settings.position_noise * drawn[..., :2] * moving[..., None]
    worlds.spin += settings.spin_noise * drawn[..., 2] * moving
    change = np.linalg.norm(worlds.velocity - velocity_before, axis=-1)
    drag = DRAG_SHARE * np.linalg.norm(velocity_before, axis=-1)
    collision = settings.collision_noise * np.maximum(change - drag, 0)
    worlds.velocity += collision[..., None] * drawn[..., 3:]


def _correct(
    worlds: Worlds, tracks: Tracks, frame: int, update: np.ndarray, settings: FilterSettings, noise: EnsembleNoise
) -> None:
    """Update the ensembles of the objects in `update` (B, N) with their measurements of that frame."""
    clip, slot = np.nonzero(update)
    if not len(clip):
        return
    world = clip[:, None] * settings.members + np.arange(settings.members)
    column = slot[:, None]
    state = np.concatenate(
        [
            worlds.position[world, column],
            worlds.yaw[world, column][..., None],
            worlds.velocity[world, column],
            worlds.spin[world, column][..., None],
        ],
        axis=-1,
    )  # (P, K, 6); the first three numbers are measured
    measured = tracks.pose[clip, frame, slot].copy()  # (P, 3)
    cube = tracks.shape[clip, slot] == CUBE
    turn = measured[:, 2] - state[:, :, 2].mean(axis=1)
    measured[:, 2] -= np.round(turn / (np.pi / 2)) * np.pi / 2  # the nearest of a square's four equal yaws
    information = tracks.information[clip, frame, slot] / settings.measurement_scale**2
    information[~cube, 2] = information[~cube, :, 2] = 0.0
    state[~cube, :, 2] = measured[~cube, None, 2]

    innovation = measured - state[:, :, :3].mean(axis=1)
    surprised = np.flatnonzero(_surprise(state, innovation, information) > MAX_SURPRISE)
    if len(surprised):
        drawn = noise.normal(frame, "push", tracks.class_id[clip[surprised], slot[surprised]][:, None], 4)[:, :, 0]
        _push(state, surprised, innovation[surprised], drawn)
    rows = np.linalg.cholesky(information + np.eye(3) * _MIN_WHITENING).transpose(0, 2, 1)
    state = update_ensemble(state, measured, rows)
    worlds.position[world, column] = state[:, :, :2]
    worlds.yaw[world, column] = np.where(cube[:, None], state[:, :, 2], worlds.yaw[world, column])
    worlds.velocity[world, column] = state[:, :, 3:5]
    worlds.spin[world, column] = np.where(cube[:, None], state[:, :, 5], worlds.spin[world, column])


def _surprise(state: np.ndarray, innovation: np.ndarray, information: np.ndarray) -> np.ndarray:
    """(P,): squared Mahalanobis distance of the measurements from the ensembles' means."""
    deviation = state[:, :, :3] - state[:, :, :3].mean(axis=1, keepdims=True)
    covariance = np.einsum("pki,pkj->pij", deviation, deviation) / state.shape[1]
    noise = np.linalg.inv(information + np.eye(3) * _MIN_INFORMATION)
    column = innovation[..., None]
    return (np.linalg.solve(covariance + noise, column) * column).sum(axis=(1, 2))


def _push(state: np.ndarray, objects: np.ndarray, innovation: np.ndarray, drawn: np.ndarray) -> None:
    """Spread the ensembles of those objects: they were pushed at an unknown moment since the last frame."""
    push = (np.abs(innovation[:, None]) + MIN_PUSH) * drawn[..., :3]
    since = 1.0 + (FRAME_STEP - 1.0) * ndtr(drawn[..., 3:])  # video frames, uniform
    state[objects, :, :3] += push
    state[objects, :, 3:] += push / since


def update_ensemble(
    state: Float[np.ndarray, "P K D"], measured: Float[np.ndarray, "P M"], whitening: Float[np.ndarray, "P M M"]
) -> Float[np.ndarray, "P K D"]:
    """Kalman update of P ensembles of K members, without random numbers (Whitaker and Hamill, 2002).

    The first M numbers of a state are measured. whitening: turns measurements into numbers with independent noise of
    variance 1, such as the transposed Cholesky factor of the information matrix.
    Mean and covariance (the sum over the members divided by K) change exactly as in a Kalman filter.
    """
    state = state.copy()
    n_measured, members = measured.shape[1], state.shape[1]
    for k in range(n_measured):
        row = whitening[:, k]
        predicted = np.einsum("pi,pki->pk", row, state[:, :, :n_measured])
        mean = predicted.mean(axis=1)
        deviation = predicted - mean[:, None]
        variance = (deviation**2).mean(axis=1) + 1.0  # of the innovation
        centred = state - state.mean(axis=1, keepdims=True)
        gain = np.einsum("pk,pki->pi", deviation, centred) / members / variance[:, None]
        shrink = 1.0 / (1.0 + np.sqrt(1.0 / variance))
        innovation = np.einsum("pi,pi->p", row, measured) - mean
        state += gain[:, None] * (innovation[:, None] - shrink[:, None] * deviation)[..., None]
    return state
