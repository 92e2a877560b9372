"""What limits the forecast: the same answer with more and more of it replaced by the truth; errors in world units."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vidseg_utils.classes import SHAPES, shape_code
from vidseg_utils.systems.object_dynamics.perception.outlines import measure_poses
from vidseg_utils.systems.object_dynamics.physics.fitting import (
    seconds_per_frame,
    worlds_from_trajectories,
    yaw_from_rotations,
)
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.systems.object_dynamics.system import ObjectDynamics
from vidseg_utils.task import CLIP_VIDEO_FRAMES, FRAME_STEP, FUTURE_FRAMES, PAST_FRAMES
from vidseg_utils.world.silhouettes import draw_masks
from vidseg_utils.world.solids import CUBE, OBJECT_RADIUS
from vidseg_utils.world.trajectory import Collision, Trajectory

LAST_PAST_VIDEO_FRAME, TARGET_VIDEO_FRAME = CLIP_VIDEO_FRAMES[PAST_FRAMES - 1], CLIP_VIDEO_FRAMES[-1]
Move = Callable[[Worlds, np.ndarray], None]  # lets a course frame pass, in place; the class ids are (M, N), 0 = none


def forecasts_from_masks(
    system: ObjectDynamics, past: np.ndarray, *, height: int | None = None, width: int | None = None
) -> dict[str, np.ndarray]:
    """past: (B, 11, H, W), one class an object -> what each way to go on answers: name -> (B, H, W) uint8.

    height, width: of the answers; by default those of the masks.
    """
    tracks, worlds = system.estimate_worlds(past)
    size = {"height": height or past.shape[2], "width": width or past.shape[3]}
    straight = ensemble_mean(worlds, len(past))
    single = straight.copy()
    straight.position += (TARGET_VIDEO_FRAME - LAST_PAST_VIDEO_FRAME) * straight.velocity
    advance(single, TARGET_VIDEO_FRAME - LAST_PAST_VIDEO_FRAME, system.constants)
    return {
        "straight lines": draw_masks(tracks.class_id, straight.poses, tracks.class_id > 0, **size),
        "one world": draw_masks(tracks.class_id, single.poses, tracks.class_id > 0, **size),
        "many worlds": system.forecast_from_worlds(tracks, worlds, **size),
    }


def forecasts_from_truth(
    system: ObjectDynamics, trajectories: Sequence[Trajectory], past: np.ndarray
) -> dict[str, np.ndarray]:
    """What the true states of frame 10, and of frame 21, would give; objects that no past mask shows are not drawn."""
    slots = max(len(trajectory.class_ids) for trajectory in trajectories)
    ids = np.stack([np.pad(t.class_ids, (0, slots - len(t.class_ids))) for t in trajectories])
    seen = np.stack([np.isin(row, masks) & (row > 0) for row, masks in zip(ids, past, strict=True)])
    seconds = seconds_per_frame(trajectories)
    size = {"height": past.shape[2], "width": past.shape[3]}
    everything, then = (
        worlds_from_trajectories(trajectories, [frame] * len(trajectories), seconds)
        for frame in (LAST_PAST_VIDEO_FRAME, TARGET_VIDEO_FRAME)
    )
    known = everything.copy()
    known.active &= seen
    for worlds in (known, everything):
        advance(worlds, TARGET_VIDEO_FRAME - LAST_PAST_VIDEO_FRAME, system.constants)
    return {
        "true state of what was seen": draw_masks(ids, known.poses, seen, **size),
        "true state of all objects": draw_masks(ids, everything.poses, seen, **size),
        "true state of frame 21": draw_masks(ids, then.poses, seen, **size),
    }


def ensemble_mean(worlds: Worlds, clips: int) -> Worlds:
    """The mean of each clip's ensemble."""

    def of_clips(values: np.ndarray) -> np.ndarray:
        return values.reshape(clips, -1, *values.shape[1:])

    moving = (of_clips(getattr(worlds, name)).mean(axis=1) for name in ("position", "velocity", "yaw", "spin"))
    return Worlds(of_clips(worlds.shape)[:, 0], of_clips(worlds.active)[:, 0], *moving)


def state_error_table(
    system: ObjectDynamics, trajectories: Sequence[Trajectory], sources: Mapping[str, np.ndarray]
) -> str:
    """A markdown table of how well the state is read, a row a source of masks and shape.

    sources: name -> past masks (B, 11, H, W). Cells hold median / mean / 90 % of the errors of: place (units) and a
    cube's turn (degrees) as read off each mask by itself; place and velocity (units a second) at the last past frame,
    which all of them tell together. Tracked: the share of the objects in view at that frame that are then known by
    their right class, no more than their radius from where they are.
    """
    lines = [
        "| masks | shape | sightings | place, one mask | turn (°) | place, frame 10 | velocity | tracked |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for source, past in sources.items():
        sightings, place, turn = _sighting_errors(trajectories, past)
        state, velocity, tracked = _track_errors(system, trajectories, past)
        for shape, name in enumerate(SHAPES):
            cells = [_spread(errors[shape]) for errors in (place, turn, state, velocity)]
            share = f"{np.mean(tracked[shape]):.3f}" if tracked[shape] else ""
            lines.append(f"| {source} | {name} | {sightings[shape]} | {' | '.join(cells)} | {share} |")
    return "\n".join(lines)


def _spread(errors: list[float]) -> str:
    if not errors:
        return ""
    median, most = np.quantile(errors, (0.5, 0.9))
    return f"{median:.3f} / {np.mean(errors):.3f} / {most:.3f}"


def _sighting_errors(trajectories: Sequence[Trajectory], past: np.ndarray) -> tuple[np.ndarray, list, list]:
    """By shape: how many objects were sighted, and the errors of place and turn of those of a right class."""
    places, turns = ([[] for _ in SHAPES] for _ in range(2))
    s = measure_poses(past)
    for clip, frame, class_id, pose in zip(s.clip, s.frame, s.class_id, s.pose, strict=True):
        trajectory, at, shape = trajectories[clip], CLIP_VIDEO_FRAMES[frame], int(shape_code(class_id))
        for n in np.flatnonzero(trajectory.class_ids == class_id):  # none for a class that nobody has
            places[shape].append(np.linalg.norm(pose[:2] - trajectory.positions[at, n, :2]))
            if shape == CUBE:
                turn = pose[2] - yaw_from_rotations(np.array(shape), trajectory.rotations[at, n])
                turns[shape].append(np.degrees(abs((turn + np.pi / 4) % (np.pi / 2) - np.pi / 4)))
    return np.bincount(s.shape, minlength=len(SHAPES)), places, turns


def _track_errors(
    system: ObjectDynamics, trajectories: Sequence[Trajectory], past: np.ndarray
) -> tuple[list, list, list]:
    """By shape, of the objects in view at the last past frame: errors of place and velocity, and who was tracked."""
    places, speeds, tracked = ([[] for _ in SHAPES] for _ in range(3))
    tracks, worlds = system.estimate_worlds(past)
    mean, seconds = ensemble_mean(worlds, len(past)), seconds_per_frame(trajectories)
    for clip, trajectory in enumerate(trajectories):
        for n in np.flatnonzero(trajectory.in_view[LAST_PAST_VIDEO_FRAME]):
            class_id = trajectory.class_ids[n]
            shape, slot = int(shape_code(class_id)), np.flatnonzero(tracks.class_id[clip] == class_id)
            if not len(slot):
                tracked[shape].append(False)
                continue
            apart = mean.position[clip, slot[0]] - trajectory.positions[LAST_PAST_VIDEO_FRAME, n, :2]
            slip = mean.velocity[clip, slot[0]] / seconds - trajectory.velocities[LAST_PAST_VIDEO_FRAME, n, :2]
            places[shape].append(np.linalg.norm(apart))
            speeds[shape].append(np.linalg.norm(slip))
            tracked[shape].append(places[shape][-1] < OBJECT_RADIUS)
    return places, speeds, tracked


def rollout_errors(
    trajectories: Sequence[Trajectory], move: Move, *, starts: Sequence[int] = (LAST_PAST_VIDEO_FRAME,)
) -> list[np.ndarray]:
    """Errors of place (units) of rollouts from the true state, after 1, 2, ... 11 course frames: 11 arrays.

    move: lets a course frame pass; starts: the video frames from which each trajectory is rolled out. One error for
    each start and object that is in view at both ends.
    """
    seconds, count = seconds_per_frame(trajectories), len(trajectories)
    slots = max(len(trajectory.class_ids) for trajectory in trajectories)
    ids = np.stack([np.pad(t.class_ids, (0, slots - len(t.class_ids))) for t in trajectories])
    errors: list[list[np.ndarray]] = [[] for _ in range(FUTURE_FRAMES)]
    for start in starts:
        worlds = worlds_from_trajectories(trajectories, [start] * count, seconds)
        for horizon in range(FUTURE_FRAMES):
            move(worlds, ids)
            at = start + FRAME_STEP * (horizon + 1)
            end = worlds_from_trajectories(trajectories, [at] * count, seconds)
            view = np.zeros_like(worlds.active)
            for n, trajectory in enumerate(trajectories):
                view[n, : len(trajectory.class_ids)] = trajectory.in_view[at] & trajectory.in_view[start]
            errors[horizon].append(np.linalg.norm(worlds.position - end.position, axis=-1)[view])
    return [np.concatenate(of_all_starts) for of_all_starts in errors]


def find_clear_collision(trajectories: Sequence[Trajectory], *, margin: int = 24) -> tuple[int, Collision]:
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
