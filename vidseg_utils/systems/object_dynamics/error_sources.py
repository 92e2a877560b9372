"""What limits the forecast: experiments that replace one step after another by the truth, and errors of the state.

Each experiment forecasts with more knowledge than the one before. Errors are in world units.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial

import numpy as np
from jaxtyping import Float, Integer, UInt8

from vidseg_utils.classes import SHAPES, shape_code
from vidseg_utils.systems.object_dynamics.perception.outlines import measure_poses
from vidseg_utils.systems.object_dynamics.physics.annotated_states import (
    seconds_per_frame,
    worlds_from_trajectories,
    yaw_from_rotations,
)
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.systems.object_dynamics.system import ObjectDynamics
from vidseg_utils.task import CLIP_VIDEO_FRAMES, FRAME_STEP, FUTURE_FRAMES, PAST_FRAMES
from vidseg_utils.world.label_offset import LabelOffset
from vidseg_utils.world.mask_drawing import draw_masks
from vidseg_utils.world.solids import CUBE, OBJECT_RADIUS, smallest_cube_yaw
from vidseg_utils.world.trajectory import Collision, Trajectory

LAST_PAST_VIDEO_FRAME, TARGET_VIDEO_FRAME = CLIP_VIDEO_FRAMES[PAST_FRAMES - 1], CLIP_VIDEO_FRAMES[-1]
HORIZON_VIDEO_FRAMES = TARGET_VIDEO_FRAME - LAST_PAST_VIDEO_FRAME
FIXED = ("shape", "active")  # fields of `Worlds` that are equal in all members of an ensemble
# Moves worlds on by a clip frame, in place. The array has the class ids (M, N) of their objects, 0 = none.
Move = Callable[[Worlds, np.ndarray], None]


def forecasts_from_masks(
    system: ObjectDynamics,
    past: Integer[np.ndarray, "B T H W"],
    *,
    height: int | None = None,
    width: int | None = None,
) -> dict[str, UInt8[np.ndarray, "B h w"]]:
    """Forecast the last frame from past masks in which an object has one class, in three ways of moving the state on.

    height, width: of the forecasts; by default those of the masks
    """
    tracks, worlds = system.estimate_worlds(past)
    rows, columns = height or past.shape[2], width or past.shape[3]
    draw = partial(draw_masks, height=rows, width=columns, offset=system.constants.label_offset)
    straight = ensemble_mean(worlds, len(past))
    single = straight.copy()
    straight.position += HORIZON_VIDEO_FRAMES * straight.velocity
    advance(single, HORIZON_VIDEO_FRAMES, system.constants)
    return {
        "straight lines": draw(tracks.class_id, straight.poses, tracks.class_id > 0),
        "one world": draw(tracks.class_id, single.poses, tracks.class_id > 0),
        "many worlds": system.forecast_from_worlds(tracks, worlds, height=rows, width=columns),
    }


def forecasts_from_truth(
    system: ObjectDynamics, trajectories: Sequence[Trajectory], past: Integer[np.ndarray, "B T H W"]
) -> dict[str, UInt8[np.ndarray, "B H W"]]:
    """Forecasts from the true states of frame 10 and of frame 21; objects that no past mask shows are not drawn."""
    ids = _padded_class_ids(trajectories)
    seen = np.stack([np.isin(row, masks) & (row > 0) for row, masks in zip(ids, past, strict=True)])
    seconds = seconds_per_frame(trajectories)
    draw = partial(draw_masks, height=past.shape[2], width=past.shape[3], offset=system.constants.label_offset)
    everything, target = (
        worlds_from_trajectories(trajectories, [frame] * len(trajectories), seconds)
        for frame in (LAST_PAST_VIDEO_FRAME, TARGET_VIDEO_FRAME)
    )
    known = everything.copy()
    known.active &= seen
    for worlds in (known, everything):
        advance(worlds, HORIZON_VIDEO_FRAMES, system.constants)
    return {
        "true state of what was seen": draw(ids, known.poses, seen),
        "true state of all objects": draw(ids, everything.poses, seen),
        "true state of frame 21": draw(ids, target.poses, seen),
    }


def _padded_class_ids(trajectories: Sequence[Trajectory]) -> np.ndarray:
    """(M, N): the class ids of each trajectory, 0 in empty slots."""
    slots = max(len(trajectory.class_ids) for trajectory in trajectories)
    return np.stack([np.pad(t.class_ids, (0, slots - len(t.class_ids))) for t in trajectories])


def ensemble_mean(worlds: Worlds, clips: int) -> Worlds:
    """The mean of each clip's ensemble: one world a clip."""

    def by_clip(values: np.ndarray) -> np.ndarray:
        return values.reshape(clips, -1, *values.shape[1:])

    means = {f.name: by_clip(getattr(worlds, f.name)).mean(axis=1) for f in fields(Worlds) if f.name not in FIXED}
    return Worlds(**{name: by_clip(getattr(worlds, name))[:, 0] for name in FIXED}, **means)


def state_error_table(
    system: ObjectDynamics, trajectories: Sequence[Trajectory], sources: Mapping[str, np.ndarray]
) -> str:
    """A markdown table of the errors of measured and filtered states, one row for each source of masks and shape.

    sources: name -> past masks (B, 11, H, W). Cells hold median / mean / 90 % quantile of the errors: position (world
    units) and a cube's yaw (degrees) as measured in one mask; position and velocity (units a second) of the filter at
    the last past frame. Tracked: the share of the objects in view at that frame that have a track of their class, no
    further than their radius from their true position.
    """
    lines = [
        "| masks | shape | measurements | position, one mask | yaw (°) | position, frame 10 | velocity | tracked |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for source, past in sources.items():
        counts, measured_position, yaw = _measurement_errors(trajectories, past, system.constants.label_offset)
        position, velocity, tracked = _track_errors(system, trajectories, past)
        for shape, name in enumerate(SHAPES):
            cells = [_spread(errors[shape]) for errors in (measured_position, yaw, position, velocity)]
            share = f"{np.mean(tracked[shape]):.3f}" if tracked[shape] else ""
            lines.append(f"| {source} | {name} | {counts[shape]} | {' | '.join(cells)} | {share} |")
    return "\n".join(lines)


def _spread(errors: list[float]) -> str:
    if not errors:
        return ""
    median, most = np.quantile(errors, (0.5, 0.9))
    return f"{median:.3f} / {np.mean(errors):.3f} / {most:.3f}"


def _measurement_errors(
    trajectories: Sequence[Trajectory], past: np.ndarray, offset: LabelOffset
) -> tuple[np.ndarray, list, list]:
    """By shape: the number of measurements, and the errors of position and yaw of those with a true class."""
    positions, yaws = ([[] for _ in SHAPES] for _ in range(2))
    m = measure_poses(past, offset=offset)
    for clip, frame, class_id, pose in zip(m.clip, m.frame, m.class_id, m.pose, strict=True):
        trajectory, video_frame, shape = trajectories[clip], CLIP_VIDEO_FRAMES[frame], int(shape_code(class_id))
        for n in np.flatnonzero(trajectory.class_ids == class_id):  # none if no object has that class
            positions[shape].append(np.linalg.norm(pose[:2] - trajectory.positions[video_frame, n, :2]))
            if shape == CUBE:
                turn = pose[2] - yaw_from_rotations(np.array(shape), trajectory.rotations[video_frame, n])
                yaws[shape].append(np.degrees(abs(smallest_cube_yaw(turn))))
    return np.bincount(m.shape, minlength=len(SHAPES)), positions, yaws


def _track_errors(
    system: ObjectDynamics, trajectories: Sequence[Trajectory], past: np.ndarray
) -> tuple[list, list, list]:
    """By shape, of the objects in view at the last past frame: errors of position and velocity, and whether tracked."""
    positions, velocities, tracked = ([[] for _ in SHAPES] for _ in range(3))
    tracks, worlds = system.estimate_worlds(past)
    mean, seconds = ensemble_mean(worlds, len(past)), seconds_per_frame(trajectories)
    for clip, trajectory in enumerate(trajectories):
        for n in np.flatnonzero(trajectory.in_view[LAST_PAST_VIDEO_FRAME]):
            class_id = trajectory.class_ids[n]
            shape, slot = int(shape_code(class_id)), np.flatnonzero(tracks.class_id[clip] == class_id)
            if not len(slot):
                tracked[shape].append(False)
                continue
            position = trajectory.positions[LAST_PAST_VIDEO_FRAME, n, :2]
            velocity = trajectory.velocities[LAST_PAST_VIDEO_FRAME, n, :2]
            positions[shape].append(np.linalg.norm(mean.position[clip, slot[0]] - position))
            velocities[shape].append(np.linalg.norm(mean.velocity[clip, slot[0]] / seconds - velocity))
            tracked[shape].append(positions[shape][-1] < OBJECT_RADIUS)
    return positions, velocities, tracked


def rollout_errors(
    trajectories: Sequence[Trajectory], move: Move, *, starts: Sequence[int] = (LAST_PAST_VIDEO_FRAME,)
) -> list[Float[np.ndarray, " E"]]:
    """Position errors (world units) of rollouts from the true state, after 1, 2, … 11 clip frames: 11 arrays.

    starts: the video frames from which each trajectory is rolled out
    Each array has one error for each start and each object that is in view at the start and at the end.
    """
    seconds, count = seconds_per_frame(trajectories), len(trajectories)
    ids = _padded_class_ids(trajectories)
    errors: list[list[np.ndarray]] = [[] for _ in range(FUTURE_FRAMES)]
    for start in starts:
        worlds = worlds_from_trajectories(trajectories, [start] * count, seconds)
        for horizon in range(FUTURE_FRAMES):
            move(worlds, ids)
            end_frame = start + FRAME_STEP * (horizon + 1)
            end = worlds_from_trajectories(trajectories, [end_frame] * count, seconds)
            in_view = np.zeros_like(worlds.active)
            for n, trajectory in enumerate(trajectories):
                in_view[n, : len(trajectory.class_ids)] = trajectory.in_view[end_frame] & trajectory.in_view[start]
            errors[horizon].append(np.linalg.norm(worlds.position - end.position, axis=-1)[in_view])
    return [np.concatenate(all_starts) for all_starts in errors]


def find_clear_collision(trajectories: Sequence[Trajectory], *, margin: int = 24) -> tuple[int, Collision]:
    """The fastest collision in full view, if possible `margin` video frames away from any other.

    returns: the index of its trajectory, and the collision. Raises ValueError if nothing collides.
    """
    found = []
    for index, trajectory in enumerate(trajectories):
        for collision in trajectory.collisions:
            others = [c.frame for c in trajectory.collisions if c is not collision]
            distance = min(abs(frame - collision.frame) for frame in [*others, -1, len(trajectory.positions)])
            window = slice(max(collision.frame - margin, 0), collision.frame + margin)
            pair = list(collision.objects)
            before = trajectory.velocities[max(collision.frame - 2, 0), pair]
            speed = float(np.linalg.norm(before[0] - before[1]))
            found.append((min(distance, margin), trajectory.in_view[window, pair].all(), speed, index, collision))
    if not found:
        raise ValueError("nothing collides in these videos; take more")
    *_, index, collision = max(found, key=lambda entry: entry[:3])
    return index, collision
