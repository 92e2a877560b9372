"""Train the interaction network on the trajectories of the training videos: no simulator's settings are read.

Each sample is a short stretch of one video with a collision in it, or any stretch. The network rolls it out from a
slightly wrong start, and the whole rollout is held against the truth, so it learns not to drift.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vidseg_utils.models.interaction_network import InteractionNetwork, Objects
from vidseg_utils.profiles import Sizes, by_profile
from vidseg_utils.systems.object_dynamics.learned.rollout import objects_from_worlds, roll_out_objects
from vidseg_utils.systems.object_dynamics.physics.fitting import seconds_per_frame, worlds_from_trajectories
from vidseg_utils.systems.object_dynamics.system import load_training_trajectories
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.run_folder import is_finished, read_history
from vidseg_utils.training.weights import load_model
from vidseg_utils.world.solids import CUBE
from vidseg_utils.world.trajectory import Trajectory

LENGTH = 16  # video frames of a training rollout
LEAD = 10  # it starts up to so many frames before a collision
NOISE = {"position": 1e-3, "velocity": 1e-4, "yaw": 2e-3, "spin": 5e-4}  # of the start, in units, radians and frames
SCALE = {"position": 1e-2, "velocity": 2e-3, "yaw": 4e-2, "spin": 1e-2}  # errors from where on the loss flattens
BATCH, LEARNING_RATE = 64, 3e-3
HELD_OUT = 10  # one training video in so many chooses the best epoch
VAL_STARTS, VAL_FRAMES = (0, 30, 60), 66  # the answer lies 66 video frames after the last past one
_STATE = ("position", "velocity", "yaw", "spin")
_WHO = ("shape", "material", "inertia", "active")


class TrajectoryWindows(Dataset):
    """Stretches of trajectories: dict of (N, ...) constants and (length + 1, N, ...) states, N the most objects.

    starts: of each stretch the number of its trajectory, and the video frames between which it begins at random.
    """

    def __init__(self, trajectories: Sequence[Trajectory], starts: Sequence[tuple[int, int, int]], *, length: int):
        self.starts, self.length = list(starts), length
        seconds = seconds_per_frame(trajectories)
        slots = max(len(t.class_ids) for t in trajectories)
        self.films = [_film(trajectory, seconds, slots) for trajectory in trajectories]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, low, high = self.starts[index]
        start = low + int(torch.randint(high - low + 1, ()))
        film = self.films[number]
        states = {name: film[name][start : start + self.length + 1] for name in _STATE}
        return {name: film[name][0] for name in _WHO} | states


def _film(trajectory: Trajectory, seconds: float, slots: int) -> dict[str, Tensor]:
    """All frames of a trajectory as (T, slots, ...) tensors."""
    frames = range(len(trajectory.positions))
    worlds = worlds_from_trajectories([trajectory] * len(frames), frames, seconds)
    cube = worlds.shape == CUBE
    worlds.yaw = np.where(cube, np.unwrap(worlds.yaw, axis=0), 0.0)
    ids = np.broadcast_to(trajectory.class_ids, worlds.active.shape)
    film = {name: getattr(objects_from_worlds(worlds, ids), name) for name in (*_WHO, *_STATE)}
    empty = slots - len(trajectory.class_ids)

    def padded(name: str, values: Tensor) -> Tensor:
        filler = {"shape": 1, "inertia": 1.0, "position": 99.0}.get(name, 0)
        return torch.cat([values, values.new_full((len(values), empty, *values.shape[2:]), filler)], dim=1)

    return {name: padded(name, values) for name, values in film.items()}


def training_windows(trajectories: Sequence[Trajectory]) -> TrajectoryWindows:
    """A stretch around each collision, and one from anywhere for each video."""
    starts = []
    for number, trajectory in enumerate(trajectories):
        last = len(trajectory.positions) - LENGTH - 1
        starts.append((number, 0, last))
        for collision in trajectory.collisions:
            low = min(max(collision.frame - LEAD, 0), last)
            starts.append((number, low, min(max(collision.frame - 1, low), last)))
    return TrajectoryWindows(trajectories, starts, length=LENGTH)


def objects_at(batch: dict[str, Tensor], frame: int) -> Objects:
    """The objects of a batch of windows at one of their frames."""
    return Objects(**{name: batch[name] for name in _WHO}, **{name: batch[name][:, frame] for name in _STATE})


def rollout_loss(network: InteractionNetwork, batch: dict[str, Tensor]) -> Tensor:
    """The training step: a robust distance of a noisy rollout from the truth, the mean over objects and frames."""
    start = objects_at(batch, 0)
    active = start.active
    moving = active & (start.velocity.square().sum(-1) > 1e-8)
    noisy = {}
    for name in _STATE:
        value = getattr(start, name)
        on = active if name in ("position", "yaw") else moving
        noisy[name] = value + NOISE[name] * torch.randn_like(value) * (on[..., None] if value.ndim == 3 else on)
    objects = Objects(**{name: getattr(start, name) for name in _WHO}, **noisy)
    moved = list(roll_out_objects(network, objects, batch["yaw"].shape[1] - 1))
    total = 0.0
    for name in _STATE:
        error = torch.stack([getattr(after, name) for after in moved], dim=1) - batch[name][:, 1:]
        square = (error / SCALE[name]).square()
        square = square.sum(-1) if square.ndim == 4 else square  # (B, T, N)
        counted = active & (start.shape == CUBE) if name in ("yaw", "spin") else active  # a disc's turn shows nowhere
        total = total + (torch.log1p(square) * counted[:, None]).sum()
    return total / (active.sum() * len(moved))


def rollout_error(network: InteractionNetwork, loader: DataLoader, device: torch.device) -> dict[str, float]:
    """Mean distance from the truth, in world units and at most 1, after all frames of the windows."""
    errors = []
    for batch in loader:
        batch = {name: values.to(device) for name, values in batch.items()}
        *_, end = roll_out_objects(network, objects_at(batch, 0), batch["yaw"].shape[1] - 1)
        error = (end.position - batch["position"][:, -1]).norm(dim=-1)
        errors.append(error[batch["active"]].clamp(max=1.0))
    errors = torch.cat(errors)
    return {"rollout_error": errors.mean().item(), "rollout_error_median": errors.median().item()}


@dataclass(frozen=True)
class InteractionSizes(Sizes, group="interaction"):
    """Sizes of the training."""

    epochs: int = by_profile(2, 30, 30)


@dataclass
class InteractionRecipe(Recipe):
    """The interaction network, trained on trajectories; one in HELD_OUT of them chooses the best epoch."""

    _: KW_ONLY
    trajectories: Sequence[Trajectory] | None = None  # None: the annotations of the training split

    task = "object dynamics, learned"

    @property
    def run_name(self) -> str:
        """The network's run."""
        return "interaction_network"

    def model(self) -> tuple[str, dict[str, Any]]:
        """The network has one size."""
        return "interaction_network", {}

    def data(self) -> tuple[TrajectoryWindows, TrajectoryWindows]:
        """Windows of the trajectories. Raises ValueError where there are fewer than two."""
        trajectories = self._trajectories()
        if len(trajectories) < 2:
            raise ValueError(
                f"{len(trajectories)} trajectories; the interaction network needs at least 2 to learn from"
            )
        held_out = trajectories[::HELD_OUT]
        train = training_windows([t for n, t in enumerate(trajectories) if n % HELD_OUT])
        length = min(VAL_FRAMES, *(len(t.positions) - 1 for t in held_out))
        starts = [(n, f, f) for n, t in enumerate(held_out) for f in VAL_STARTS if f + length < len(t.positions)]
        return train, TrajectoryWindows(held_out, starts, length=length)

    def _trajectories(self) -> Sequence[Trajectory]:
        if self.trajectories is None:
            self.trajectories = load_training_trajectories(self.workspace)
        return self.trajectories

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """See `rollout_loss`."""
        return rollout_loss(network, batch)

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """See `rollout_error`."""
        return rollout_error(network, loader, device)

    def fit_config(self) -> FitConfig:
        """AdamW with a one-cycle schedule, in float32."""
        return FitConfig(
            epochs=InteractionSizes.for_profile(self.workspace.profile).epochs,
            batch_size=BATCH,
            learning_rate=LEARNING_RATE,
            optimiser="adamw",
            scheduler="onecycle",
            clip_norm=1.0,
            seed=self.seed,
            monitor="rollout_error",
            channels_last=False,
        )

    def settings(self) -> dict[str, Any]:
        """How many trajectories it learned from."""
        return {"trajectories": len(self._trajectories())}

    def train(self, run: Path | None = None) -> tuple[nn.Module, list[dict[str, Any]]]:
        """See `Recipe.train`; a finished run is loaded without looking at the trajectories."""
        run = run or self.workspace.run_folder(self.run_name)
        return (load_model(run), read_history(run)) if is_finished(run) else super().train(run)
