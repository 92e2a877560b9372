"""Windows of tracks played again by the physics, from a state and with masses and a bounce that have to be found."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.least_squares import Residuals
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.systems.object_dynamics.physics.track_windows import Windows
from vidseg_utils.task import FRAME_STEP
from vidseg_utils.world.solids import CUBE, smallest_cube_yaw

# The unknowns of a window: STATE of each of its objects at its first frame, then COLLISION if there are two objects.
STATE = ("x", "y", "yaw", "velocity_x", "velocity_y", "spin")  # world units, radians and video frames
COLLISION = ("log_mass_ratio", "restitution")  # logarithm of the first object's mass over the second's
STATE_STEPS, COLLISION_STEPS = (1e-3, 1e-3, 1e-2, 2e-4, 2e-4, 1e-3), (0.05, 0.05)  # of finite differences
SPIN_PRIOR = 0.05  # radians a video frame: standard deviation, because a cube's yaw is only measured modulo 90 degrees
# Expected values and standard deviations of COLLISION in a rollout: wide, so that the tracks decide.
COLLISION_MEAN, COLLISION_PRIOR = np.array([0.0, 0.4]), np.array([0.4, 0.4])
NO_LAW = {name: 0.0 for name in vars(PhysicsConstants()) if name.startswith("restitution_") and "full" not in name}
RESTING_STEP = 0.012  # world units: an object that moves less in the first frame step starts at rest


def unknown_steps(objects: int) -> Float[np.ndarray, " U"]:
    """Steps of the finite differences of a window's unknowns."""
    return np.array(STATE_STEPS * objects + COLLISION_STEPS * (objects == 2))


def start_unknowns(windows: Windows) -> Float[np.ndarray, "W U"]:
    """The measured pose in the first frame, the velocity up to the second, no spin, and COLLISION_MEAN."""
    count, _, objects, _ = windows.pose.shape
    state = np.zeros((count, objects, len(STATE)))
    state[..., :3] = windows.pose[:, 0]
    step = windows.pose[:, 1, :, :2] - windows.pose[:, 0, :, :2]
    state[..., 3:5] = step / FRAME_STEP * (np.linalg.norm(step, axis=-1, keepdims=True) > RESTING_STEP)
    collision = np.tile(COLLISION_MEAN, (count, 1))[:, : len(COLLISION) * (objects == 2)]
    return np.concatenate([state.reshape(count, -1), collision], axis=1)


def unknown_bounds(objects: int) -> tuple[Float[np.ndarray, " U"], Float[np.ndarray, " U"]]:
    """Lowest and highest values of a window's unknowns."""
    collision = np.array([[-1.0, 0.0], [1.0, 1.0]])[:, : len(COLLISION) * (objects == 2)]
    state = np.full(len(STATE) * objects, np.inf)
    return np.concatenate([-state, collision[0]]), np.concatenate([state, collision[1]])


def worlds_from_unknowns(windows: Windows, unknowns: Float[np.ndarray, "C W U"]) -> Worlds:
    """C copies of each window at its first frame."""
    copies, count, _ = unknowns.shape
    objects = windows.shape.shape[1]
    worlds = Worlds.empty(copies * count, objects)
    worlds.active[:] = True
    worlds.shape[:] = np.tile(windows.shape, (copies, 1))
    flat = unknowns.reshape(copies * count, -1)
    state = flat[:, : objects * len(STATE)].reshape(-1, objects, len(STATE))
    worlds.position[:], worlds.yaw[:] = state[..., :2], state[..., 2]
    worlds.velocity[:], worlds.spin[:] = state[..., 3:5], state[..., 5] * (worlds.shape == CUBE)
    if objects == 2:
        half_ratio, restitution = flat[:, -2] / 2, flat[:, -1]
        worlds.mass[:] = np.exp(np.stack([half_ratio, -half_ratio], axis=1))
        worlds.bounce[:, 0, 1] = worlds.bounce[:, 1, 0] = restitution
    return worlds


def without_law(constants: PhysicsConstants) -> PhysicsConstants:
    """The same constants, but the restitution of each contact is the `bounce` of its pair at any speed."""
    return replace(constants, **NO_LAW)


def roll_out(
    windows: Windows, constants: PhysicsConstants, unknowns: Float[np.ndarray, "C W U"]
) -> Float[np.ndarray, "C W T S 3"]:
    """Poses in all frames of C copies of each window."""
    worlds, constants = worlds_from_unknowns(windows, unknowns), without_law(constants)
    poses = [worlds.poses]
    for _ in range(windows.pose.shape[1] - 1):
        advance(worlds, FRAME_STEP, constants)
        poses.append(worlds.poses)
    stacked = np.stack(poses, axis=1)
    return stacked.reshape(*unknowns.shape[:2], *stacked.shape[1:])


def window_residuals(
    windows: Windows, *, floor: tuple[float, float], scale: float = 1.0
) -> tuple[Residuals, Float[np.ndarray, " W"]]:
    """The residuals of rollouts, in standard deviations, and the number of measured numbers in each window.

    floor: error of the physics in world units and radians, added to that of the measurements
    scale: factor on the standard deviations of both
    """
    count, _, objects, _ = windows.pose.shape
    counted = windows.information[..., 0, 0] > 0
    cube = (windows.shape == CUBE)[:, None]
    covariance = np.linalg.inv(windows.information + 1e-9 * np.eye(3))
    covariance[..., 2, :2] *= cube[..., None]
    covariance[..., :2, 2] *= cube[..., None]
    whitening = np.linalg.cholesky(np.linalg.inv(covariance + np.diag([floor[0] ** 2, floor[0] ** 2, floor[1] ** 2])))
    whitening *= counted[..., None, None] / scale
    whitening[..., 2, :] *= cube[..., None]
    spin_columns = [len(STATE) * (n + 1) - 1 for n in range(objects)]

    def residuals(constants: PhysicsConstants, unknowns: np.ndarray) -> np.ndarray:
        difference = roll_out(windows, constants, unknowns) - windows.pose
        difference[..., 2] = smallest_cube_yaw(difference[..., 2])
        measured = np.einsum("wtsji,cwtsj->cwtsi", whitening, difference).reshape(len(unknowns), count, -1)
        parts = [measured, unknowns[..., spin_columns] / SPIN_PRIOR]
        if objects == 2:
            parts.append((unknowns[..., -2:] - COLLISION_MEAN) / COLLISION_PRIOR)
        return np.concatenate(parts, axis=-1)

    return residuals, 2.0 * counted.sum(axis=(1, 2)) + (counted & cube).sum(axis=(1, 2))
