"""How far objects that move from the first video frame on have come: their mean start speed, less friction and drag."""

import numpy as np
from jaxtyping import Float, Integer

from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.world.solids import OBJECT_RADIUS, SPHERE

MIN_SPEED = 1e-3  # units a frame: lower bound of a speed that friction is divided by


def ground_friction(shape: Integer[np.ndarray, " P"], constants: PhysicsConstants) -> Float[np.ndarray, " P"]:
    """Deceleration by friction on the ground, in units / frame^2."""
    return np.where(shape == SPHERE, constants.rolling_friction, constants.sliding_friction)


def remaining_start_speed(
    shape: Integer[np.ndarray, " P"], frames: int, constants: PhysicsConstants
) -> Float[np.ndarray, " P"]:
    """The mean start speed (units a frame) after that many video frames of friction and drag; at least MIN_SPEED."""
    speed = np.full(len(shape), constants.start_speed)
    friction = ground_friction(shape, constants)
    for _ in range(frames):
        speed = speed - friction - speed * (constants.linear_drag + constants.quadratic_drag * speed)
    return np.maximum(speed, MIN_SPEED)


def start_distance_ratio(
    position: Float[np.ndarray, "P 2"], shape: Integer[np.ndarray, " P"], frames: int, constants: PhysicsConstants
) -> Float[np.ndarray, " P"]:
    """How many times as far from the origin objects were at the start, if they are at `position` `frames` frames later.

    frames: of the video. The objects are taken to have moved towards the origin.
    The nearer an object has come, the further past the origin its line points: the angle's sine grows by this ratio.
    """
    travelled = sum((remaining_start_speed(shape, frame, constants) for frame in range(frames)), np.zeros(len(shape)))
    distance = np.maximum(np.linalg.norm(position, axis=-1), OBJECT_RADIUS)
    return (distance + travelled) / distance
