"""The constants of the world, fitted to the trajectories of the training videos: no simulator's settings are read.

Gliding and collisions are fitted apart: all objects for 20 frames from three moments, then every collision that has its
moment to itself, from 2 frames before it to 8 after. Robust least squares, because some windows hold a second event.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np
from scipy.optimize import least_squares
from tqdm.auto import tqdm

from vidseg_utils.classes import shape_code
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.world.solids import CUBE
from vidseg_utils.world.trajectory import Trajectory

GLIDE_STARTS, GLIDE_FRAMES = (0, 40, 80), 20
BEFORE, AFTER = 2, 8  # video frames around a collision
MOST_WINDOWS = 1500  # collisions that are fitted; more tell nothing new
GLIDING = ("sliding_friction", "rolling_friction", "linear_drag", "quadratic_drag")
STARTING = ("start_speed", "start_speed_spread", "start_angle_spread")
CONTACT = tuple(field.name for field in fields(PhysicsConstants) if field.name not in GLIDING + STARTING)


def seconds_per_frame(trajectories: Sequence[Trajectory]) -> float:
    """How far a video frame moves an object, over its annotated velocity."""
    ratios = []
    for trajectory in trajectories:
        step = np.linalg.norm(np.diff(trajectory.positions[..., :2], axis=0), axis=-1)
        speed = np.linalg.norm((trajectory.velocities[1:] + trajectory.velocities[:-1])[..., :2], axis=-1) / 2
        ratios.append((step / np.maximum(speed, 1e-9))[speed > 0.5])
    ratios = np.concatenate(ratios)
    if not len(ratios):
        raise ValueError("no object moves in the training trajectories: there is no motion to fit")
    return float(np.median(ratios))


def _starts(trajectories: Sequence[Trajectory], seconds: float) -> dict[str, float]:
    """How the objects that move at frame 0 move, and where those that are still out of sight are bound for."""
    speeds, angles = [], []
    for trajectory in trajectories:
        position, velocity = trajectory.positions[0, :, :2], trajectory.velocities[0, :, :2] * seconds
        speed = np.linalg.norm(velocity, axis=-1)
        moving = speed > 0.01
        speeds.append(speed[moving])
        cross = position[:, 0] * velocity[:, 1] - position[:, 1] * velocity[:, 0]
        ahead = -(position * velocity).sum(-1)
        angles.append(np.arctan2(cross, ahead)[moving & ~trajectory.in_view[0]])
    speeds, angles = np.concatenate(speeds), np.concatenate(angles)
    spread = max(float(speeds.std()), 1e-3)
    angle = float(np.sqrt((angles**2).mean())) if len(angles) else PhysicsConstants().start_angle_spread
    return {"start_speed": float(speeds.mean()), "start_speed_spread": spread, "start_angle_spread": angle}


def yaw_from_rotations(shape: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Angle about the vertical: shape (N,), rotations (..., N, 3, 3) -> (..., N); 0 but for cubes."""
    return np.where(shape == CUBE, np.arctan2(rotations[..., 1, 0], rotations[..., 0, 0]), 0.0)


def worlds_from_trajectories(
    trajectories: Sequence[Trajectory], frames: Sequence[int], seconds: float, *, picks: Sequence | None = None
) -> Worlds:
    """One world a trajectory, at its frame of `frames`; picks: which objects of each (all by default)."""
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
    """Fit all constants; what no trajectory shows keeps its starting value. Raises ValueError without motion."""
    if not trajectories:
        raise ValueError("no training trajectories; object dynamics is fitted to annotation.json of the train split")
    seconds = seconds_per_frame(trajectories)
    some = trajectories[:400]
    starts = [worlds_from_trajectories(some, [f] * len(some), seconds) for f in GLIDE_STARTS]
    ends = [worlds_from_trajectories(some, [f + GLIDE_FRAMES] * len(some), seconds) for f in GLIDE_STARTS]

    def gliding(constants: PhysicsConstants) -> np.ndarray:
        errors = []
        for start, end in zip(starts, ends, strict=True):
            moved = start.copy()
            advance(moved, GLIDE_FRAMES, constants)
            errors.append((moved.position - end.position)[start.active].ravel())
        return np.concatenate(errors) / 1e-3

    constants = replace(PhysicsConstants(), **_starts(trajectories, seconds))
    constants = _fit(constants, GLIDING, gliding, "fit gliding", progress)
    before, after = collision_windows(trajectories, seconds)
    if not len(before.active):
        return constants  # nothing bounces there: the guesses by eye have to do

    def colliding(constants: PhysicsConstants) -> np.ndarray:
        moved = before.copy()
        advance(moved, BEFORE + AFTER, constants)
        turn = (moved.spin - after.spin) * (moved.shape == CUBE)
        parts = ((moved.velocity - after.velocity) / 1e-3, (moved.position - after.position) / 1e-2, turn / 1e-2)
        return np.concatenate([part.ravel() for part in parts])

    return _fit(constants, CONTACT, colliding, "fit collisions", progress)


def collision_windows(trajectories: Sequence[Trajectory], seconds: float) -> tuple[Worlds, Worlds]:
    """The two objects of each collision that is alone in its time, shortly before and shortly after it."""
    found = []
    for trajectory in trajectories:
        for collision in trajectory.collisions:
            others = [c.frame for c in trajectory.collisions if c is not collision]
            first, last = collision.frame - BEFORE, collision.frame + AFTER
            alone = all(abs(frame - collision.frame) > AFTER + BEFORE for frame in others)
            if alone and first >= 0 and last < len(trajectory.positions):
                found.append((trajectory, first, collision.objects))
    found = found[:MOST_WINDOWS]
    if not found:
        return Worlds.empty(0, 2), Worlds.empty(0, 2)
    chosen, frames, picks = zip(*found, strict=True)
    return (
        worlds_from_trajectories(chosen, frames, seconds, picks=picks),
        worlds_from_trajectories(chosen, [frame + BEFORE + AFTER for frame in frames], seconds, picks=picks),
    )


def _fit(
    start: PhysicsConstants,
    names: Sequence[str],
    residuals: Callable[[PhysicsConstants], np.ndarray],
    title: str,
    progress: bool,
) -> PhysicsConstants:
    """Robust least squares over the logarithms of the constants called `names`."""
    with tqdm(desc=title, unit="trial", disable=not progress) as bar:

        def trial(logs: np.ndarray) -> np.ndarray:
            bar.update()
            return residuals(with_logs(logs))

        def with_logs(logs: np.ndarray) -> PhysicsConstants:
            return replace(start, **{name: float(np.exp(log)) for name, log in zip(names, logs, strict=True)})

        logs = np.log([getattr(start, name) for name in names])
        # steps of 1 % carry the slope over the jitter of single contacts
        result = least_squares(trial, logs, loss="cauchy", diff_step=1e-2, x_scale=0.1, max_nfev=25)
    return with_logs(result.x)
