"""The physics constants, fitted to tracks: poses of objects in the frames of clips, measured in masks or annotated.

First objects that glide alone are played again, then pairs of objects that collide. What is unknown in a window (the
state at its start, the ratio of two masses, the bounce) is fitted with the constants. A prior around the shipped
constants decides where the tracks say little, so that few videos move them little.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from vidseg_utils.progress import ProgressBar
from vidseg_utils.systems.object_dynamics.perception.tracks import Tracks
from vidseg_utils.systems.object_dynamics.physics.bounce_law import Contacts, fit_bounce_law, fit_mass_spread
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.least_squares import WindowFit, fit_windows
from vidseg_utils.systems.object_dynamics.physics.rigid_body import advance
from vidseg_utils.systems.object_dynamics.physics.start_speed import start_distance_ratio
from vidseg_utils.systems.object_dynamics.physics.track_windows import (
    MIN_GLIDE,
    Windows,
    find_collisions,
    find_glides,
)
from vidseg_utils.systems.object_dynamics.physics.window_rollout import (
    COLLISION_MEAN,
    COLLISION_PRIOR,
    start_unknowns,
    unknown_bounds,
    unknown_steps,
    window_residuals,
    without_law,
    worlds_from_unknowns,
)
from vidseg_utils.task import FRAME_STEP
from vidseg_utils.world.solids import VERTICAL_INERTIA

# Standard deviation of a constant's logarithm before the tracks are seen.
GLIDING = {
    "sliding_friction": 0.3,
    "rolling_friction": 1.0,
    "linear_drag": 0.5,
    "quadratic_drag": 0.3,
    "spin_drag": 0.15,
}
CONTACT = {"contact_friction": 0.5, "half_side": 0.02, "radius": 0.02, "contact_delay": 0.5}
SPREAD_WEIGHT = 10.0  # collisions, or moving objects, that a shipped spread counts as
# Errors of the physics in world units and radians: while gliding, and in a window with a collision.
GLIDE_FLOOR, COLLISION_FLOOR = (1.5e-3, 0.01), (3e-3, 0.02)
OUTLIER = 4.0  # sum of squares a measured number, above which a window has less than half its weight
MOST_WINDOWS = (1500, 1000)  # with glides and with collisions in a fit; more do not change the result
LEAST_VARIANCE_SCALE = 0.04  # of the assumed errors' variance
LEAST_INFORMATION = 1e-6  # of a restitution or a logarithm of masses
MIN_IMPULSE = 2e-3  # units a frame, of a mass of 1: more than friction and drag take off in a frame
ITERATIONS_ALONE, ITERATIONS = 4, 12  # at most: of the unknowns alone, then with the constants


def fit_constants(tracks: Iterable[Tracks], *, progress: bool = True) -> PhysicsConstants:
    """Fit all constants but those of the labels to clips whose tracks come in any number of parts.

    Raises ValueError if no object glides in view.
    """
    parts = [(find_glides(part), find_collisions(part)) for part in tracks]
    if not sum(len(glides) for glides, _ in parts):
        raise ValueError(
            f"no object glides alone for {MIN_GLIDE} frames in the training videos: there is no motion to which object "
            "dynamics could be fitted; take more videos"
        )
    found = (Windows.join(column) for column in zip(*parts, strict=True))
    glides, collisions = (_limit(windows, most) for windows, most in zip(found, MOST_WINDOWS, strict=True))
    constants, starting = _fit_gliding(PhysicsConstants(), glides, progress)
    if len(collisions):
        constants = _fit_collisions(constants, collisions, progress)
    return replace(constants, **starting)


def _limit(windows: Windows, most: int) -> Windows:
    """At most that many windows, evenly from all clips."""
    count = len(windows)
    return windows if count <= most else windows[np.linspace(0, count - 1, most).astype(int)]


def _fit_gliding(
    start: PhysicsConstants, windows: Windows, progress: bool
) -> tuple[PhysicsConstants, dict[str, float]]:
    """Fit GLIDING; also returns the start speed and its spreads."""
    fit, _ = _fit(start, windows, GLIDING, floor=GLIDE_FLOOR, title="fit gliding", progress=progress)
    return fit.constants, _start_statistics(windows, fit)


def _fit_collisions(start: PhysicsConstants, windows: Windows, progress: bool) -> PhysicsConstants:
    """Fit CONTACT, then the law of the bounce and the spread of masses."""
    fit, numbers = _fit(start, windows, CONTACT, floor=COLLISION_FLOOR, title="fit collisions", progress=progress)
    contacts = measure_contacts(windows, fit, numbers)
    return replace(fit.constants, **fit_bounce_law(contacts), mass_spread=fit_mass_spread(contacts))


def _fit(
    start: PhysicsConstants,
    windows: Windows,
    widths: dict[str, float],
    *,
    floor: tuple[float, float],
    title: str,
    progress: bool,
) -> tuple[WindowFit, Float[np.ndarray, " W"]]:
    """Fit the unknowns of the windows, then the constants with them; also returns the measured numbers a window.

    Real labels scatter more than the outlines' sigmas say. Where the first fit leaves larger residuals than assumed,
    the second one takes all errors to be that much larger, so that such labels weigh less against the prior.
    """
    objects, unknowns, constants, scale = windows.shape.shape[1], start_unknowns(windows), start, 1.0
    fit, numbers = None, np.zeros(0)
    with ProgressBar(desc=title, total=ITERATIONS_ALONE + ITERATIONS, unit="step", disable=not progress) as bar:
        for names, iterations in (({}, ITERATIONS_ALONE), (widths, ITERATIONS)):
            residuals, numbers = window_residuals(windows, floor=floor, scale=scale)
            fit = fit_windows(
                residuals,
                constants,
                unknowns,
                steps=unknown_steps(objects),
                bounds=unknown_bounds(objects),
                prior={name: (getattr(PhysicsConstants(), name), width) for name, width in names.items()},
                tolerance=OUTLIER * numbers,
                max_iterations=iterations,
                after_iteration=bar.update,
            )
            constants, unknowns = fit.constants, fit.unknowns
            scale = max(scale, _variance_scale(fit, numbers) ** 0.5)
    assert fit is not None
    return fit, numbers


def measure_contacts(windows: Windows, fit: WindowFit, numbers: Float[np.ndarray, " W"]) -> Contacts:
    """Restitution, mass ratio and speed of approach of fitted windows."""
    values, variance = fit.unknowns[:, -2:], np.einsum("wuu->wu", fit.covariance)[:, -2:]
    # What the tracks alone say, without the prior of the rollouts.
    information = np.maximum(1 / variance - 1 / COLLISION_PRIOR**2, LEAST_INFORMATION)
    alone = (values / variance - COLLISION_MEAN / COLLISION_PRIOR**2) / information
    sigma = np.sqrt(_variance_scale(fit, numbers) / information)
    at_bound = (values[:, 1] <= 0) | (values[:, 1] >= 1)
    restitution = np.where(at_bound, values[:, 1], np.clip(alone[:, 1], 0, 1))
    approach = approach_speeds(windows, fit)
    weight = fit.weight * (approach > 0)
    return Contacts(windows.shape, approach, restitution, sigma[:, 1], alone[:, 0], sigma[:, 0], weight)


def _variance_scale(fit: WindowFit, numbers: np.ndarray) -> float:
    """The median squared residual a degree of freedom: how far the assumed errors are off."""
    freedom = np.maximum(numbers - fit.unknowns.shape[1], 1)
    return max(float(np.median(fit.square / freedom)), LEAST_VARIANCE_SCALE)


def approach_speeds(windows: Windows, fit: WindowFit) -> Float[np.ndarray, " W"]:
    """Speed of approach at the largest impulse of each window, in units a video frame; 0 where nothing touches.

    An impulse J changes the velocities by J / mass, the spins by J lever / inertia, and the speed of the points of
    contact along the normal by 1 + restitution times that of approach.
    """
    worlds, constants = worlds_from_unknowns(windows, fit.unknowns[None]), without_law(fit.constants)
    inertia = VERTICAL_INERTIA[worlds.shape] * worlds.mass
    largest, approach = np.full(len(windows), MIN_IMPULSE), np.zeros(len(windows))
    for _ in range((windows.pose.shape[1] - 1) * FRAME_STEP):
        velocity, spin = worlds.velocity.copy(), worlds.spin.copy()
        advance(worlds, 1, constants)
        impulse = np.linalg.norm((worlds.velocity - velocity) * worlds.mass[..., None], axis=-1).min(axis=1)
        turn = (inertia * (worlds.spin - spin) ** 2).sum(axis=1) / np.maximum(impulse, MIN_IMPULSE) ** 2
        speed = impulse * ((1 / worlds.mass).sum(axis=1) + turn) / (1 + fit.unknowns[:, -1])
        approach = np.where(impulse > largest, speed, approach)
        largest = np.maximum(largest, impulse)
    return approach


def _start_statistics(windows: Windows, fit: WindowFit) -> dict[str, float]:
    """The speed of the objects that move in the first frame, and the start angle of those that come into view later."""
    shipped = PhysicsConstants()
    position, velocity = fit.unknowns[:, :2], fit.unknowns[:, 3:5]
    speed = np.linalg.norm(velocity, axis=-1)
    noise = np.einsum("wii->w", fit.covariance[:, 3:5, 3:5]) / 2
    at_start = (windows.start == 0) & (fit.weight > 0.5)
    weight = at_start.sum() + SPREAD_WEIGHT
    mean = (speed[at_start].sum() + SPREAD_WEIGHT * shipped.start_speed) / weight
    square = ((speed[at_start] - mean) ** 2 - noise[at_start]).sum() + SPREAD_WEIGHT * shipped.start_speed_spread**2
    entering = np.flatnonzero(windows.first_seen & (windows.start > 0) & (fit.weight > 0.5))
    angle = _start_angles(windows[entering], position[entering], velocity[entering], fit.constants)
    angle_square = (angle**2).sum() + SPREAD_WEIGHT * shipped.start_angle_spread**2
    return {
        "start_speed": float(mean),
        "start_speed_spread": float(np.sqrt(max(square / weight, 1e-6))),
        "start_angle_spread": float(np.sqrt(angle_square / (len(angle) + SPREAD_WEIGHT))),
    }


def _start_angles(
    windows: Windows, position: np.ndarray, velocity: np.ndarray, constants: PhysicsConstants
) -> Float[np.ndarray, " W"]:
    """The angle between each object's direction and the direction to the origin, as it was in the first video frame."""
    cross = position[:, 0] * velocity[:, 1] - position[:, 1] * velocity[:, 0]
    angle, shape = np.arctan2(cross, -(position * velocity).sum(-1)), windows.shape[:, 0]
    for start in np.unique(windows.start):
        now = windows.start == start
        nearer = start_distance_ratio(position[now], shape[now], int(start) * FRAME_STEP, constants)
        angle[now] = np.arcsin(np.sin(angle[now]) / nearer)
    return angle
