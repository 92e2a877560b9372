"""The physics constants, fitted to the trajectories of the training videos; the simulator's settings are not read.

Gliding and collisions are fitted separately: all objects for 20 frames from three moments, then every collision that
has no other collision near it in time, from 2 frames before it to 8 after. The least squares are robust, because some
windows contain a second event.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np
from jaxtyping import Float, Integer
from scipy.optimize import least_squares
from tqdm.auto import tqdm

from vidseg_utils.classes import shape_code
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.world.solids import CUBE
from vidseg_utils.world.trajectory import Trajectory

GLIDE_STARTS, GLIDE_FRAMES = (0, 40, 80), 20  # video frames
FRAMES_BEFORE, FRAMES_AFTER = 2, 8  # video frames of a window around a collision
MAX_GLIDE_VIDEOS, MAX_COLLISIONS = 400, 1500  # used in a fit; more do not change the result
POSITION_SCALE, COLLISION_POSITION_SCALE = 1e-3, 1e-2  # world units; residuals are in these
VELOCITY_SCALE, SPIN_SCALE = 1e-3, 1e-2  # units and radians a frame
MIN_MEASURED_SPEED = 0.5  # units a second; the steps of slower objects are too short to measure a frame's duration
MIN_START_SPEED = 0.01  # units a frame, above which an object counts as moving in the first frame
# Least squares over logarithms: relative step of a finite difference (1 % carries the slope over the jitter of single
# contacts), expected change, and most evaluations.
RELATIVE_STEP, LOG_CHANGE, MAX_EVALUATIONS = 1e-2, 0.1, 25
GLIDING = ("sliding_friction", "rolling_friction", "linear_drag", "quadratic_drag")
STARTING = ("start_speed", "start_speed_spread", "start_angle_spread")
LABELS = ("label_shift_x", "label_shift_y", "label_fatness")  # no trajectory shows them
SPREADS = ("restitution_spread", "mass_spread")  # not fitted here: they keep their defaults
OTHERS = GLIDING + STARTING + SPREADS + LABELS
CONTACT = tuple(field.name for field in fields(PhysicsConstants) if field.name not in OTHERS)


def seconds_per_frame(trajectories: Sequence[Trajectory]) -> float:
    """Duration of a video frame: the distance that an object moves in it over its annotated velocity (median).

    Raises ValueError if nothing moves.
    """
    ratios = []
    for trajectory in trajectories:
        step = np.linalg.norm(np.diff(trajectory.positions[..., :2], axis=0), axis=-1)
        speed = np.linalg.norm((trajectory.velocities[1:] + trajectory.velocities[:-1])[..., :2], axis=-1) / 2
        ratios.append((step / np.maximum(speed, 1e-9))[speed > MIN_MEASURED_SPEED])
    ratios = np.concatenate(ratios)
    if not len(ratios):
        raise ValueError("no object moves in the training trajectories: there is no motion to fit")
    return float(np.median(ratios))


def yaw_from_rotations(
    shape: Integer[np.ndarray, " N"] | Integer[np.ndarray, ""], rotations: Float[np.ndarray, "*batch 3 3"]
) -> Float[np.ndarray, "*batch"]:
    """Angles about the vertical in radians; 0 for spheres and cylinders. shape: codes of the last batch axis."""
    return np.where(shape == CUBE, np.arctan2(rotations[..., 1, 0], rotations[..., 0, 0]), 0.0)


def worlds_from_trajectories(
    trajectories: Sequence[Trajectory],
    frames: Sequence[int],
    seconds: float,
    *,
    picks: Sequence[Sequence[int]] | None = None,
) -> Worlds:
    """The true state of each trajectory at its video frame of `frames`, one world each.

    seconds: of a video frame; picks: which objects of each trajectory, by default all
    """
    picks = picks if picks is not None else [range(len(t.class_ids)) for t in trajectories]
    count, slots = len(trajectories), max(len(pick) for pick in picks)
    worlds = Worlds.empty(count, slots)
    for m, (trajectory, frame, pick) in enumerate(zip(trajectories, frames, picks, strict=True)):
        pick, n = list(pick), len(pick)
        shape = shape_code(trajectory.class_ids[pick])
        worlds.shape[m, :n], worlds.active[m, :n] = shape, True
        worlds.position[m, :n] = trajectory.positions[frame, pick, :2]
        worlds.velocity[m, :n] = trajectory.velocities[frame, pick, :2] * seconds
        worlds.yaw[m, :n] = yaw_from_rotations(shape, trajectory.rotations[frame, pick])
        worlds.spin[m, :n] = trajectory.angular_velocities[frame, pick, 2] * seconds
    return worlds


def fit_constants(trajectories: Sequence[Trajectory], *, progress: bool = True) -> PhysicsConstants:
    """Fit all constants; those that no trajectory shows keep their defaults. Raises ValueError if nothing moves."""
    if not trajectories:
        raise ValueError("no training trajectories; object dynamics is fitted to annotation.json of the train split")
    seconds = seconds_per_frame(trajectories)
    constants = replace(PhysicsConstants(), **_start_statistics(trajectories, seconds))
    constants = _fit_gliding(constants, trajectories[:MAX_GLIDE_VIDEOS], seconds, progress)
    return _fit_collisions(constants, trajectories, seconds, progress)


def _start_statistics(trajectories: Sequence[Trajectory], seconds: float) -> dict[str, float]:
    """STARTING: the speed of the objects that move at frame 0, and the direction of those that are not yet in view."""
    speeds, angles = [], []
    for trajectory in trajectories:
        position, velocity = trajectory.positions[0, :, :2], trajectory.velocities[0, :, :2] * seconds
        speed = np.linalg.norm(velocity, axis=-1)
        moving = speed > MIN_START_SPEED
        speeds.append(speed[moving])
        cross = position[:, 0] * velocity[:, 1] - position[:, 1] * velocity[:, 0]
        inward = -(position * velocity).sum(-1)
        angles.append(np.arctan2(cross, inward)[moving & ~trajectory.in_view[0]])
    speeds, angles = np.concatenate(speeds), np.concatenate(angles)
    spread = max(float(speeds.std()), 1e-3)
    angle = float(np.sqrt((angles**2).mean())) if len(angles) else PhysicsConstants().start_angle_spread
    return {"start_speed": float(speeds.mean()), "start_speed_spread": spread, "start_angle_spread": angle}


def _fit_gliding(
    start: PhysicsConstants, trajectories: Sequence[Trajectory], seconds: float, progress: bool
) -> PhysicsConstants:
    """Fit GLIDING to positions GLIDE_FRAMES after each of GLIDE_STARTS."""
    count = len(trajectories)
    before = [worlds_from_trajectories(trajectories, [f] * count, seconds) for f in GLIDE_STARTS]
    after = [worlds_from_trajectories(trajectories, [f + GLIDE_FRAMES] * count, seconds) for f in GLIDE_STARTS]

    def residuals(constants: PhysicsConstants) -> np.ndarray:
        errors = []
        for first, last in zip(before, after, strict=True):
            moved = first.copy()
            advance(moved, GLIDE_FRAMES, constants)
            errors.append((moved.position - last.position)[first.active].ravel())
        return np.concatenate(errors) / POSITION_SCALE

    return _fit(start, GLIDING, residuals, title="fit gliding", progress=progress)


def _fit_collisions(
    start: PhysicsConstants, trajectories: Sequence[Trajectory], seconds: float, progress: bool
) -> PhysicsConstants:
    """Fit CONTACT to velocities, positions and spins shortly after collisions; without collisions return `start`."""
    before, after = _collision_windows(trajectories, seconds)
    if not len(before.active):
        return start

    def residuals(constants: PhysicsConstants) -> np.ndarray:
        moved = before.copy()
        advance(moved, FRAMES_BEFORE + FRAMES_AFTER, constants)
        spin = (moved.spin - after.spin) * (moved.shape == CUBE)
        parts = (
            (moved.velocity - after.velocity) / VELOCITY_SCALE,
            (moved.position - after.position) / COLLISION_POSITION_SCALE,
            spin / SPIN_SCALE,
        )
        return np.concatenate([part.ravel() for part in parts])

    return _fit(start, CONTACT, residuals, title="fit collisions", progress=progress)


def _collision_windows(trajectories: Sequence[Trajectory], seconds: float) -> tuple[Worlds, Worlds]:
    """The two objects of each collision that has no other near it in time: their states before and after it."""
    window = FRAMES_BEFORE + FRAMES_AFTER
    found = []
    for trajectory in trajectories:
        for collision in trajectory.collisions:
            others = [c.frame for c in trajectory.collisions if c is not collision]
            first, last = collision.frame - FRAMES_BEFORE, collision.frame + FRAMES_AFTER
            isolated = all(abs(frame - collision.frame) > window for frame in others)
            if isolated and first >= 0 and last < len(trajectory.positions):
                found.append((trajectory, first, collision.objects))
    found = found[:MAX_COLLISIONS]
    if not found:
        return Worlds.empty(0, 2), Worlds.empty(0, 2)
    chosen, frames, picks = zip(*found, strict=True)
    return (
        worlds_from_trajectories(chosen, frames, seconds, picks=picks),
        worlds_from_trajectories(chosen, [frame + window for frame in frames], seconds, picks=picks),
    )


def _fit(
    start: PhysicsConstants,
    names: Sequence[str],
    residuals: Callable[[PhysicsConstants], np.ndarray],
    *,
    title: str,
    progress: bool,
) -> PhysicsConstants:
    """Robust least squares over the logarithms of the constants called `names`."""

    def with_logs(logs: np.ndarray) -> PhysicsConstants:
        return replace(start, **{name: float(np.exp(log)) for name, log in zip(names, logs, strict=True)})

    with tqdm(desc=title, unit="trial", disable=not progress) as bar:

        def trial(logs: np.ndarray) -> np.ndarray:
            bar.update()
            return residuals(with_logs(logs))

        logs = np.log([getattr(start, name) for name in names])
        result = least_squares(
            trial, logs, loss="cauchy", diff_step=RELATIVE_STEP, x_scale=LOG_CHANGE, max_nfev=MAX_EVALUATIONS
        )
    return with_logs(result.x)
