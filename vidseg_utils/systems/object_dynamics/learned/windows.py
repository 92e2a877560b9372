"""Training data of a learned law of motion: short windows of trajectories, most of them around a collision."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.utils.data import Dataset

from vidseg_utils.models.interaction_network import Objects
from vidseg_utils.systems.object_dynamics.learned.rollout import objects_from_worlds
from vidseg_utils.systems.object_dynamics.physics.annotated_states import seconds_per_frame, worlds_from_trajectories
from vidseg_utils.world.solids import CUBE, SPHERE
from vidseg_utils.world.trajectory import Trajectory

MAX_LEAD = 10  # video frames before a collision at which its window begins, at most
STATE_FIELDS = ("position", "velocity", "yaw", "spin")  # the fields of `Objects` that change in time
FIXED_FIELDS = ("shape", "material", "inertia", "active")
# Values in empty slots, which are far from everything; other fields are 0.
_PADDING = {
    "shape": SPHERE,
    "inertia": 1.0,
    "position": 99.0,
}


class TrajectoryWindows(Dataset):
    """Windows of trajectories: dicts of fixed fields (N, …) and states (length + 1, N, …), with N slots for objects.

    starts: for each window the index of its trajectory, and the first and last video frame at which it may begin; the
    frame is drawn at random (torch's generator)
    """

    def __init__(self, trajectories: Sequence[Trajectory], starts: Sequence[tuple[int, int, int]], *, length: int):
        self.starts, self.length = list(starts), length
        seconds = seconds_per_frame(trajectories)
        slots = max(len(t.class_ids) for t in trajectories)
        self.tables = [_table(trajectory, seconds, slots) for trajectory in trajectories]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> dict[str, Shaped[Tensor, "..."]]:
        number, earliest, latest = self.starts[index]
        start = earliest + int(torch.randint(latest - earliest + 1, ()))
        table = self.tables[number]
        states = {name: table[name][start : start + self.length + 1] for name in STATE_FIELDS}
        return {name: table[name][0] for name in FIXED_FIELDS} | states


def _table(trajectory: Trajectory, seconds: float, slots: int) -> dict[str, Tensor]:
    """All frames of a trajectory as (T, slots, …) tensors."""
    frames = range(len(trajectory.positions))
    worlds = worlds_from_trajectories([trajectory] * len(frames), frames, seconds)
    worlds.yaw = np.where(worlds.shape == CUBE, np.unwrap(worlds.yaw, axis=0), 0.0)
    ids = np.broadcast_to(trajectory.class_ids, worlds.active.shape)
    objects = objects_from_worlds(worlds, ids)
    empty = slots - len(trajectory.class_ids)

    def padded(name: str) -> Tensor:
        values = getattr(objects, name)
        padding = values.new_full((len(values), empty, *values.shape[2:]), _PADDING.get(name, 0))
        return torch.cat([values, padding], dim=1)

    return {name: padded(name) for name in (*FIXED_FIELDS, *STATE_FIELDS)}


def training_windows(trajectories: Sequence[Trajectory], *, length: int) -> TrajectoryWindows:
    """A window around each collision, and one from anywhere in each video. length: in video frames."""
    starts = []
    for index, trajectory in enumerate(trajectories):
        last = len(trajectory.positions) - length - 1
        starts.append((index, 0, last))
        for collision in trajectory.collisions:
            earliest = min(max(collision.frame - MAX_LEAD, 0), last)
            starts.append((index, earliest, min(max(collision.frame - 1, earliest), last)))
    return TrajectoryWindows(trajectories, starts, length=length)


def objects_at(batch: dict[str, Shaped[Tensor, "..."]], frame: int) -> Objects:
    """The objects of a batch of windows at one of their frames."""
    return Objects(
        **{name: batch[name] for name in FIXED_FIELDS}, **{name: batch[name][:, frame] for name in STATE_FIELDS}
    )
