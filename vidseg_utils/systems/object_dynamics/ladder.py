"""What limits the forecast: the same answer with more and more of it replaced by the truth; errors in world units."""

from collections.abc import Sequence

import numpy as np

from vidseg_utils.classes import SHAPES
from vidseg_utils.data.annotation import COURSE_FRAMES, Collision, Trajectory
from vidseg_utils.systems.object_dynamics.contact import PlanarConstants
from vidseg_utils.systems.object_dynamics.fitting import frame_seconds, worlds_at, yaw_of
from vidseg_utils.systems.object_dynamics.outline import read_outlines
from vidseg_utils.systems.object_dynamics.planar import Worlds, advance
from vidseg_utils.systems.object_dynamics.silhouette import CUBE, draw_masks
from vidseg_utils.systems.object_dynamics.system import ObjectDynamics
from vidseg_utils.systems.object_dynamics.tracking import FRAME_STEP

NOW, THEN = COURSE_FRAMES[10], COURSE_FRAMES[21]


def answers_from_masks(system: ObjectDynamics, past: np.ndarray) -> dict[str, np.ndarray]:
    """past: (B, 11, H, W), one class an object -> what each way to go on answers: name -> (B, H, W) uint8."""
    tracks, worlds = system.worlds_now(past)
    size = {"height": past.shape[2], "width": past.shape[3]}
    straight = mean_of(worlds, len(past))
    single = straight.copy()
    straight.position += (THEN - NOW) * straight.velocity
    advance(single, THEN - NOW, system.constants)
    return {
        "straight lines": draw_masks(tracks.class_id, straight.poses, tracks.class_id > 0, **size),
        "one world": draw_masks(tracks.class_id, single.poses, tracks.class_id > 0, **size),
        "many worlds": system.answer(tracks, worlds, **size),
    }


def answers_from_truth(
    system: ObjectDynamics, trajectories: Sequence[Trajectory], past: np.ndarray
) -> dict[str, np.ndarray]:
    """What the true states of frame 10, and of frame 21, would give; objects that no past mask shows are not drawn."""
    slots = max(len(trajectory.class_ids) for trajectory in trajectories)
    ids = np.stack([np.pad(t.class_ids, (0, slots - len(t.class_ids))) for t in trajectories])
    seen = np.stack([np.isin(row, masks) & (row > 0) for row, masks in zip(ids, past, strict=True)])
    seconds = frame_seconds(trajectories)
    size = {"height": past.shape[2], "width": past.shape[3]}
    everything, then = (worlds_at(trajectories, [frame] * len(trajectories), seconds) for frame in (NOW, THEN))
    known = everything.copy()
    known.active &= seen
    for worlds in (known, everything):
        advance(worlds, THEN - NOW, system.constants)
    return {
        "true state of what was seen": draw_masks(ids, known.poses, seen, **size),
        "true state of all objects": draw_masks(ids, everything.poses, seen, **size),
        "true state of frame 21": draw_masks(ids, then.poses, seen, **size),
    }


def mean_of(worlds: Worlds, clips: int) -> Worlds:
    """The mean of each clip's ensemble."""

    def of_clips(values: np.ndarray) -> np.ndarray:
        return values.reshape(clips, -1, *values.shape[1:])

    moving = (of_clips(getattr(worlds, name)).mean(axis=1) for name in ("position", "velocity", "yaw", "spin"))
    return Worlds(of_clips(worlds.shape)[:, 0], of_clips(worlds.active)[:, 0], *moving)


def state_errors(system: ObjectDynamics, trajectories: Sequence[Trajectory], past: np.ndarray) -> str:
    """Markdown, median and 90 % of the errors of: place (units) and a cube's turn (degrees) as read off each mask of
    past (B, 11, H, W), and the velocity (units a second) of the last frame, which all of them tell together.
    """
    places, turns, speeds = ({shape: [] for shape in range(len(SHAPES))} for _ in range(3))
    s = read_outlines(past)
    for clip, frame, class_id, pose in zip(s.clip, s.frame, s.class_id, s.pose, strict=True):
        trajectory, at, shape = trajectories[clip], COURSE_FRAMES[frame], (int(class_id) - 1) // 16
        for n in np.flatnonzero(trajectory.class_ids == class_id):  # none for a class that nobody has
            places[shape].append(np.linalg.norm(pose[:2] - trajectory.positions[at, n, :2]))
            if shape == CUBE:
                turn = pose[2] - yaw_of(np.array(shape), trajectory.rotations[at, n])
                turns[shape].append(np.degrees(abs((turn + np.pi / 4) % (np.pi / 2) - np.pi / 4)))
    tracks, worlds = system.worlds_now(past)
    velocity = mean_of(worlds, len(past)).velocity / frame_seconds(trajectories)
    for clip, slot in zip(*np.nonzero(tracks.class_id), strict=True):
        for n in np.flatnonzero(trajectories[clip].class_ids == tracks.class_id[clip, slot]):
            error = velocity[clip, slot] - trajectories[clip].velocities[NOW, n, :2]
            speeds[tracks.shape[clip, slot]].append(np.linalg.norm(error))

    def both(errors: list[float]) -> str:
        return " – ".join(f"{value:.3f}" for value in np.quantile(errors, (0.5, 0.9))) if errors else ""

    lines = ["| median – 90 % | sightings | place | turn (°) | velocity |", "|---|---|---|---|---|"]
    for shape, name in enumerate(SHAPES):
        columns = (name, str(len(places[shape])), both(places[shape]), both(turns[shape]), both(speeds[shape]))
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def rollout_errors(trajectories: Sequence[Trajectory], constants: PlanarConstants) -> list[float]:
    """Mean error of place (units) of the physics from the true state of frame 10, for each of the 11 frames ahead.

    Only of objects in view at both ends.
    """
    seconds, count = frame_seconds(trajectories), len(trajectories)
    worlds = worlds_at(trajectories, [NOW] * count, seconds)
    errors = []
    for at in COURSE_FRAMES[11:]:
        advance(worlds, FRAME_STEP, constants)
        end = worlds_at(trajectories, [at] * count, seconds)
        view = np.zeros_like(worlds.active)
        for n, trajectory in enumerate(trajectories):
            view[n, : len(trajectory.class_ids)] = trajectory.in_view[at] & trajectory.in_view[NOW]
        errors.append(float(np.linalg.norm(worlds.position - end.position, axis=-1)[view].mean()))
    return errors


def clean_collision(trajectories: Sequence[Trajectory], *, margin: int = 24) -> tuple[int, Collision]:
    """The fastest collision in full view, if possible `margin` video frames from any other: place of its trajectory,
    and the collision. Raises ValueError where nothing collides.
    """
    found = []
    for place, trajectory in enumerate(trajectories):
        for collision in trajectory.collisions:
            others = [c.frame for c in trajectory.collisions if c is not collision]
            alone = min(abs(frame - collision.frame) for frame in [*others, -1, len(trajectory.positions)])
            around = slice(max(collision.frame - margin, 0), collision.frame + margin)
            pair = list(collision.objects)
            before = trajectory.velocities[max(collision.frame - 2, 0), pair]
            speed = float(np.linalg.norm(before[0] - before[1]))
            found.append((min(alone, margin), trajectory.in_view[around, pair].all(), speed, place, collision))
    if not found:
        raise ValueError("nothing collides in these videos; take more")
    *_, place, collision = max(found, key=lambda entry: entry[:3])
    return place, collision
