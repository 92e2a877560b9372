"""True states of annotated videos: as worlds at any video frame, and as tracks to which the physics can be fitted."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer

from vidseg_utils.classes import shape_code
from vidseg_utils.systems.object_dynamics.perception.tracks import Tracks
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds
from vidseg_utils.task import FRAME_STEP
from vidseg_utils.world.solids import CUBE
from vidseg_utils.world.trajectory import Trajectory

MIN_MEASURED_SPEED = 0.5  # units a second; the steps of slower objects are too short to measure a frame's duration
ANNOTATION_SIGMA = 1e-3  # world units and radians: assumed error of an annotated pose, which has four decimals


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


def tracks_from_trajectory(trajectory: Trajectory) -> Tracks:
    """The true poses in the frames of the clip, as if they were measured; objects count where they are in view."""
    frames = np.arange(0, len(trajectory.positions), FRAME_STEP)
    yaw = yaw_from_rotations(shape_code(trajectory.class_ids), trajectory.rotations[frames])
    pose = np.concatenate([trajectory.positions[frames, :, :2], yaw[..., None]], axis=-1)[None]
    return Tracks(
        class_id=trajectory.class_ids.astype(np.uint8)[None],
        seen=trajectory.in_view[frames][None],
        pose=pose,
        information=np.broadcast_to(np.eye(3) / ANNOTATION_SIGMA**2, (*pose.shape, 3)).copy(),
    )
