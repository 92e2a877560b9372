"""Train a law of motion on the trajectories of the training videos; the simulator's settings are not read.

A network rolls a window of a trajectory out from a slightly wrong start. The loss compares the whole rollout with the
truth, so the network learns not to drift. The interaction network's recipe is here, that of object tokens in `tokens`.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vidseg_utils.models.interaction_network import Objects
from vidseg_utils.profiles import Sizes, by_profile
from vidseg_utils.run_folders import TRAINED_ON, read_history
from vidseg_utils.systems.object_dynamics.filter import MIN_MOVING_SPEED
from vidseg_utils.systems.object_dynamics.learned.rollout import roll_out_objects
from vidseg_utils.systems.object_dynamics.learned.windows import (
    STATE_FIELDS,
    TrajectoryWindows,
    objects_at,
    training_windows,
)
from vidseg_utils.systems.object_dynamics.training import load_training_trajectories
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.task import FRAME_STEP, FUTURE_FRAMES
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.run_folder import is_finished, read_config
from vidseg_utils.training.weights import load_model
from vidseg_utils.world.solids import CUBE
from vidseg_utils.world.trajectory import Trajectory

NOISE = {"position": 1e-3, "velocity": 1e-4, "yaw": 2e-3, "spin": 5e-4}  # of the start, in units, radians and frames
SCALE = {"position": 1e-2, "velocity": 2e-3, "yaw": 4e-2, "spin": 1e-2}  # the loss flattens at larger errors
WINDOW_FRAMES = 16  # video frames of a training rollout
BATCH, LEARNING_RATE = 64, 3e-3
HELD_OUT = 10  # every tenth training video is held out to choose the best epoch
VAL_STARTS, VAL_FRAMES = (0, 30, 60), FUTURE_FRAMES * FRAME_STEP  # video frames
MAX_ERROR = 1.0  # world units: larger validation errors are clipped


def noisy_start(batch: dict[str, Tensor]) -> Objects:
    """The objects of a batch of windows at their first frame, slightly wrong."""
    start = objects_at(batch, 0)
    active = start.active
    moving = active & (start.velocity.square().sum(-1) > MIN_MOVING_SPEED**2)
    noisy = {}
    for name in STATE_FIELDS:
        value = getattr(start, name)
        with_noise = active if name in ("position", "yaw") else moving
        noise = NOISE[name] * torch.randn_like(value)
        noisy[name] = value + noise * (with_noise[..., None] if value.ndim == 3 else with_noise)
    return replace(start, **noisy)


def counted_objects(name: str, objects: Objects) -> Bool[Tensor, "M N"]:
    """Whose field of that name counts in a loss: a disc's turn is invisible."""
    return objects.active & (objects.shape == CUBE) if name in ("yaw", "spin") else objects.active


def rollout_loss(network: nn.Module, batch: dict[str, Tensor]) -> Float[Tensor, ""]:
    """Robust distance of a rollout with a noisy start from the truth: the mean over objects and frames."""
    start = noisy_start(batch)
    active = start.active
    moved = list(roll_out_objects(network, start, batch["yaw"].shape[1] - 1))
    total = torch.zeros((), device=active.device)
    for name in STATE_FIELDS:
        error = torch.stack([getattr(after, name) for after in moved], dim=1) - batch[name][:, 1:]
        square = (error / SCALE[name]).square()
        square = square.sum(-1) if square.ndim == 4 else square  # (B, T, N)
        total = total + (torch.log1p(square) * counted_objects(name, start)[:, None]).sum()
    return total / (active.sum() * len(moved))


def rollout_error(network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
    """Mean and median distance from the truth after all frames, in world units and at most MAX_ERROR each."""
    errors = []
    for batch in loader:
        batch = {name: values.to(device) for name, values in batch.items()}
        *_, end = roll_out_objects(network, objects_at(batch, 0), batch["yaw"].shape[1] - 1)
        error = (end.position - batch["position"][:, -1]).norm(dim=-1)
        errors.append(error[batch["active"]].clamp(max=MAX_ERROR))
    errors = torch.cat(errors)
    return {"rollout_error": errors.mean().item(), "rollout_error_median": errors.median().item()}


@dataclass
class TrajectoryRecipe(Recipe):
    """A law of motion, trained on trajectories; every HELD_OUT-th of them chooses the best epoch."""

    _: KW_ONLY
    trajectories: Sequence[Trajectory] | None = None  # None: the annotations of the training split

    task = "object dynamics, learned"
    window_frames: ClassVar[int] = WINDOW_FRAMES

    def __post_init__(self) -> None:
        self._given = self.trajectories

    @property
    @abstractmethod
    def epochs(self) -> int:
        """Epochs of the profile."""

    @property
    def run_name(self) -> str:
        """The run of the network has its name."""
        return self.model()[0]

    def data(self) -> tuple[TrajectoryWindows, TrajectoryWindows]:
        """Windows of the trajectories. Raises ValueError where there are fewer than two."""
        trajectories = self._trajectories()
        if len(trajectories) < 2:
            raise ValueError(f"{len(trajectories)} trajectories; a law of motion needs at least 2 to learn from")
        held_out = trajectories[::HELD_OUT]
        train = training_windows([t for n, t in enumerate(trajectories) if n % HELD_OUT], length=self.window_frames)
        length = min(VAL_FRAMES, *(len(t.positions) - 1 for t in held_out))
        starts = [(n, f, f) for n, t in enumerate(held_out) for f in VAL_STARTS if f + length < len(t.positions)]
        return train, TrajectoryWindows(held_out, starts, length=length)

    def data_identity(self) -> dict[str, str]:
        """The identity of the data set, or of the trajectories that were given."""
        if self._given is None:
            return super().data_identity()
        digest = hashlib.sha256(b"".join(trajectory.positions.tobytes() for trajectory in self._given))
        return {"id": digest.hexdigest()[:12], "text": f"{len(self._given)} trajectories"}

    def _trajectories(self) -> Sequence[Trajectory]:
        if self.trajectories is None:
            self.trajectories = load_training_trajectories(self.workspace)
        return self.trajectories

    def fit_config(self) -> FitConfig:
        """AdamW with a one-cycle schedule, in float32."""
        return FitConfig(
            epochs=self.epochs,
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
        """See `Recipe.train`; a finished run of the same data is loaded without looking at the trajectories."""
        run = run or self.workspace.run_folder(self.run_name)
        if is_finished(run) and read_config(run).get(TRAINED_ON) == self.data_identity():
            return load_model(run), read_history(run)
        return super().train(run)


@dataclass(frozen=True)
class InteractionSizes(Sizes, group="interaction"):
    """Sizes of the training."""

    epochs: int = by_profile(2, 30, 30)


@dataclass
class InteractionRecipe(TrajectoryRecipe):
    """The interaction network."""

    @property
    def epochs(self) -> int:
        """Epochs of the profile."""
        return InteractionSizes.for_profile(self.workspace.profile).epochs

    def model(self) -> tuple[str, dict[str, Any]]:
        """The network has one size."""
        return "interaction_network", {}

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """See `rollout_loss`."""
        return rollout_loss(network, batch)

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """See `rollout_error`."""
        return rollout_error(network, loader, device)
