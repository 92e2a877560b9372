"""Trajectories that the tests of the renderer draw."""

import numpy as np
from scipy.spatial.transform import Rotation

from vidseg_utils.classes import class_id
from vidseg_utils.world.trajectory import Trajectory

STANDING_CYLINDER = Rotation.from_euler("x", 90, degrees=True).as_matrix()  # a cylinder's axis is its own y
METAL_CUBE = class_id("cube", "metal", "red")
RUBBER_SPHERE = class_id("sphere", "rubber", "blue")
RUBBER_CUBE = class_id("cube", "rubber", "green")
METAL_CYLINDER = class_id("cylinder", "metal", "cyan")


def still_trajectory(class_ids, positions, rotations=None, n_frames: int = 1) -> Trajectory:
    """The same poses in every frame. positions: (N, 3); rotations: (N, 3, 3) or one (3, 3) for all, else none."""
    shape = (n_frames, len(class_ids), 3)
    rotations = np.eye(3) if rotations is None else rotations
    zeros = np.zeros(shape)
    return Trajectory(
        np.array(class_ids, np.uint8),
        positions=np.broadcast_to(positions, shape),
        rotations=np.broadcast_to(rotations, (*shape, 3)),
        velocities=zeros,
        angular_velocities=zeros,
        in_view=np.ones(shape[:2], bool),
    )


def random_trajectory(seed: int, n_frames: int = 12) -> Trajectory:
    """Five objects of all shapes at any orientation, some in front of others."""
    rng = np.random.default_rng(seed)
    others = class_id("cube", "rubber", "gray"), class_id("cylinder", "rubber", "red")
    class_ids = np.array([METAL_CUBE, RUBBER_SPHERE, METAL_CYLINDER, *others])
    ground_positions, heights = rng.uniform(-2, 2, (n_frames, 5, 2)), rng.uniform(0.2, 0.6, (n_frames, 5, 1))
    positions = np.concatenate([ground_positions, heights], axis=2)
    rotations = Rotation.random(n_frames * 5, random_state=seed).as_matrix().reshape(n_frames, 5, 3, 3)
    zeros = np.zeros_like(positions)
    return Trajectory(class_ids, positions, rotations, zeros, zeros, np.ones((n_frames, 5), bool))
