"""How far objects that move from the first video frame on have come: their mean start speed, less friction and drag."""

import numpy as np
from jaxtyping import Float, Integer

from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.world.solids import OBJECT_RADIUS, SPHERE

MIN_SPEED = 1e-3  # units a frame: lower bound of a speed that friction is divided by


def ground_friction(shape: Integer[np.ndarray, " P"], constants: PhysicsConstants) -> Float[np.ndarray, " P"]:
    """Deceleration by friction on the ground, in units / frame^2."""
    return np.where(shape == SPHERE, constants.rolling_friction, constants.sliding_friction)


def start_speeds(
    shape: Integer[np.ndarray, " P"], frames: int, constants: PhysicsConstants
) -> Float[np.ndarray, "frames P"]:
    """The mean speed (units a frame) of objects that move from the first video frame on, in each of the first `frames`.

    It starts as the constant and loses friction and drag; at least MIN_SPEED.
    """
    speeds = np.empty((frames, len(shape)))
    speed, friction = np.full(len(shape), constants.start_speed), ground_friction(shape, constants)
    for frame in range(frames):
        speeds[frame] = speed
        speed = speed - friction - speed * (constants.linear_drag + constants.quadratic_drag * speed)
    return np.maximum(speeds, MIN_SPEED)


def start_distance_ratio(
    position: Float[np.ndarray, "P 2"], shape: Integer[np.ndarray, " P"], frames: int, constants: PhysicsConstants
) -> Float[np.ndarray, " P"]:
    """How many times as far from the origin objects were at the start, if they are at `position` `frames` frames later.

    frames: of the video. The objects are taken to have moved towards the origin.
    The nearer an object has come, the further past the origin its line points: the angle's sine grows by this ratio.
    """
    travelled = start_speeds(shape, frames, constants).sum(axis=0)
    distance = np.maximum(np.linalg.norm(position, axis=-1), OBJECT_RADIUS)
    return (distance + travelled) / distance
