"""How the objects of many videos move, in the figures that CLEVRER's annotations are known by.

The same measurement serves generated and real trajectories, so that a table can hold one against the other.
"""

from collections.abc import Sequence

import numpy as np

from vidseg_utils.classes import class_attributes
from vidseg_utils.task import CLIP_VIDEO_FRAMES, PAST_FRAMES
from vidseg_utils.world.solids import OBJECT_RADIUS
from vidseg_utils.world.trajectory import Trajectory

INPUTS, LAST_INPUT = (
    list(CLIP_VIDEO_FRAMES[:PAST_FRAMES]),
    CLIP_VIDEO_FRAMES[PAST_FRAMES - 1],
)  # video frames 0, 6, …, 60
ANSWER = CLIP_VIDEO_FRAMES[-1]  # video frame 126
STILL = 0.02  # an object that moves less than this many units has not moved
FAST = 2.4  # decay is compared at this speed and above, units a second


def motion_statistics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Name -> figure; NaN where no object or collision tells. Distances in world units, speeds in units a second."""
    if not trajectories:
        raise ValueError("no trajectories; motion statistics need at least one video")
    movers, shift, late, restitution = [], [], [], []
    decay: dict[str, list[float]] = {"box": [], "sphere": []}
    for trajectory in trajectories:
        movers += _movers(trajectory)
        at_end = trajectory.in_view[ANSWER]
        seen = trajectory.in_view[INPUTS].any(axis=0)
        late += (~seen[at_end]).tolist()
        moved = np.linalg.norm(trajectory.positions[ANSWER] - trajectory.positions[LAST_INPUT], axis=-1)
        shift += moved[at_end & seen].tolist()
        restitution += _restitutions(trajectory)
        for shape, values in _decays(trajectory):
            decay["sphere" if shape == "sphere" else "box"] += values
    speed, miss, distance = np.array(movers or [(np.nan,) * 3]).T
    shift = np.array(shift or [np.nan])
    objects = sum(len(t.class_ids) for t in trajectories)
    return {
        "objects a video": objects / len(trajectories),
        "share of movers at frame 0": len(movers) / objects,
        "slowest start": speed.min(),
        "fastest start": speed.max(),
        "nearest pass of the origin": miss.min(),
        "widest pass of the origin": miss.max(),
        "farthest start": distance.max(),
        "units a frame over velocity": float(np.median([_frame_over_velocity(t) for t in trajectories])),
        "decay a frame, cubes and cylinders": _mean(decay["box"]),
        "decay a frame, spheres": _mean(decay["sphere"]),
        "collisions a video": sum(len(t.collisions) for t in trajectories) / len(trajectories),
        "restitution of spheres": _mean(restitution),
        "share still, frames 60 to 126": float((shift < STILL).mean()),
        "share past a diameter, frames 60 to 126": float((shift > 2 * OBJECT_RADIUS).mean()),
        "median shift, frames 60 to 126": float(np.median(shift)),
        "objects in view at frame 126": len(late) / len(trajectories),
        "share late": _mean(late),
    }


def _mean(values: list) -> float:
    return float(np.mean(values)) if values else float("nan")


def _movers(trajectory: Trajectory) -> list[tuple[float, float, float]]:
    """Of each object that moves at frame 0: speed, distance at which its line passes the origin, distance from it."""
    found = []
    for (x, y), (vx, vy) in zip(trajectory.positions[0, :, :2], trajectory.velocities[0, :, :2], strict=True):
        if (speed := float(np.hypot(vx, vy))) > 0.1:
            found.append((speed, abs(x * vy - y * vx) / speed, float(np.hypot(x, y))))
    return found


def _frame_over_velocity(trajectory: Trajectory) -> float:
    """How far a frame moves an object, over the mean of its velocities before and after."""
    step = np.linalg.norm(np.diff(trajectory.positions, axis=0), axis=-1)
    speed = np.linalg.norm(trajectory.velocities[:-1] + trajectory.velocities[1:], axis=-1) / 2
    return float(np.median((step / np.maximum(speed, 1e-9))[speed > 0.3])) if (speed > 0.3).any() else float("nan")


def _decays(trajectory: Trajectory) -> list[tuple[str, list[float]]]:
    """Of each object: its shape, and the share of speed lost in each frame before its first collision, while fast."""
    speed = np.linalg.norm(trajectory.velocities, axis=-1)
    found = []
    for n, id_ in enumerate(trajectory.class_ids):
        end = min([c.frame for c in trajectory.collisions if n in c.objects], default=len(speed)) - 2
        v = speed[: max(end, 1), n]
        lost = 1 - v[1:] / np.maximum(v[:-1], 1e-9)
        found.append((class_attributes(int(id_))[0], lost[v[:-1] > FAST].tolist()))
    return found


def _restitutions(trajectory: Trajectory) -> list[float]:
    """Speed of parting over speed of meeting along the line of centres, where a sphere met a sphere or a cylinder."""
    found = []
    for collision in trajectory.collisions:
        a, b = collision.objects
        shapes = {class_attributes(int(trajectory.class_ids[n]))[0] for n in (a, b)}
        before, after = collision.frame - 1, collision.frame + 3
        if "sphere" not in shapes or "cube" in shapes or before < 0 or after >= len(trajectory.positions):
            continue
        others = [c for c in trajectory.collisions if c is not collision and {a, b} & set(c.objects)]
        if any(before - 2 <= c.frame <= after for c in others):
            continue
        kick = trajectory.velocities[after, a] - trajectory.velocities[before, a]
        normal = kick / np.linalg.norm(kick)  # nearly all of the impulse is along the line of centres
        meeting, parting = (
            (trajectory.velocities[t, a] - trajectory.velocities[t, b]) @ normal for t in (before, after)
        )
        found.append(float(-parting / meeting))
    return found
