"""Statistics of how objects move in many videos: the figures that are known for CLEVRER's annotations.

Generated and real trajectories are measured in the same way, so that a table can compare them.
"""

from collections.abc import Sequence

import numpy as np

from vidseg_utils.classes import shape_code
from vidseg_utils.simulator.bounce_statistics import bounce_statistics
from vidseg_utils.task import CLIP_VIDEO_FRAMES, PAST_FRAMES
from vidseg_utils.world.solids import OBJECT_RADIUS, SPHERE
from vidseg_utils.world.trajectory import Trajectory

PAST_VIDEO_FRAMES = list(CLIP_VIDEO_FRAMES[:PAST_FRAMES])  # 0, 6, …, 60
LAST_PAST_FRAME, TARGET_FRAME = PAST_VIDEO_FRAMES[-1], CLIP_VIDEO_FRAMES[-1]  # video frames 60 and 126
STILL_DISTANCE = 0.02  # world units; an object that moves less is still
FAST = 2.4  # units a second; decay is measured at this speed and above
MOVING = 0.3  # units a second; the ratio of step to velocity is measured at this speed and above
START_MOVING = 0.1  # units a second at frame 0, above which an object is a mover


def motion_statistics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Name -> figure; NaN where no object or collision can be measured. World units; speeds in units a second."""
    if not trajectories:
        raise ValueError("no trajectories; motion statistics need at least one video")
    movers, shift, late = [], [], []
    decay: dict[str, list[float]] = {"box": [], "sphere": []}
    for trajectory in trajectories:
        movers += _movers(trajectory)
        in_target = trajectory.in_view[TARGET_FRAME]
        in_past = np.any(trajectory.in_view[PAST_VIDEO_FRAMES], axis=0)
        late += (~in_past[in_target]).tolist()
        moved = np.linalg.norm(trajectory.positions[TARGET_FRAME] - trajectory.positions[LAST_PAST_FRAME], axis=-1)
        shift += moved[in_target & in_past].tolist()
        for shape, losses in _decays(trajectory):
            decay["sphere" if shape == SPHERE else "box"] += losses
    speed, miss, distance = np.array(movers or [(np.nan,) * 3]).T
    shift = np.array(shift or [np.nan])
    objects = sum(len(t.class_ids) for t in trajectories)
    return {
        "objects a video": objects / len(trajectories),
        "movers a video": len(movers) / len(trajectories),
        "slowest start": speed.min(),
        "fastest start": speed.max(),
        "nearest pass of the origin": miss.min(),
        "widest pass of the origin": miss.max(),
        "farthest start": distance.max(),
        "units a frame over velocity": float(np.median([_frame_over_velocity(t) for t in trajectories])),
        "decay a frame, cubes and cylinders": _mean(decay["box"]),
        "decay a frame, spheres": _mean(decay["sphere"]),
        "collisions a video": sum(len(t.collisions) for t in trajectories) / len(trajectories),
        **bounce_statistics(trajectories),
        "share still, frames 60 to 126": float((shift < STILL_DISTANCE).mean()),
        "share past a diameter, frames 60 to 126": float((shift > 2 * OBJECT_RADIUS).mean()),
        "median shift, frames 60 to 126": float(np.median(shift)),
        "objects in view at frame 126": len(late) / len(trajectories),
        "share late": _mean(late),
    }


def _mean(values: list) -> float:
    return float(np.mean(values)) if values else float("nan")


def _movers(trajectory: Trajectory) -> list[tuple[float, float, float]]:
    """For each object that moves at frame 0: its speed, the distance at which its line passes the origin, and its
    distance from the origin.
    """
    movers = []
    for (x, y), (vx, vy) in zip(trajectory.positions[0, :, :2], trajectory.velocities[0, :, :2], strict=True):
        if (speed := float(np.hypot(vx, vy))) > START_MOVING:
            movers.append((speed, abs(x * vy - y * vx) / speed, float(np.hypot(x, y))))
    return movers


def _frame_over_velocity(trajectory: Trajectory) -> float:
    """Median distance that a frame moves an object, divided by the mean of its velocities before and after."""
    step = np.linalg.norm(np.diff(trajectory.positions, axis=0), axis=-1)
    speed = np.linalg.norm(trajectory.velocities[:-1] + trajectory.velocities[1:], axis=-1) / 2
    ratio = (step / np.maximum(speed, 1e-9))[speed > MOVING]
    return float(np.median(ratio)) if len(ratio) else float("nan")


def _decays(trajectory: Trajectory) -> list[tuple[int, list[float]]]:
    """For each object: its shape code, and the share of its speed that it loses in each frame before its first
    collision, while it is fast.
    """
    speed = np.linalg.norm(trajectory.velocities, axis=-1)
    decays = []
    for n, shape in enumerate(shape_code(trajectory.class_ids).tolist()):
        end = min([c.frame for c in trajectory.collisions if n in c.objects], default=len(speed)) - 2
        v = speed[: max(end, 1), n]
        loss = 1 - v[1:] / np.maximum(v[:-1], 1e-9)
        decays.append((shape, loss[v[:-1] > FAST].tolist()))
    return decays
