"""Object tokens: train the transformer so that its possible futures scatter as the truth does, and roll it out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vidseg_utils.metrics import score_futures
from vidseg_utils.models.interaction_network import Objects
from vidseg_utils.models.object_tokens import NOISE
from vidseg_utils.profiles import Sizes, by_profile
from vidseg_utils.systems.object_dynamics.learned.recipe import (
    SCALE,
    TrajectoryRecipe,
    counted_objects,
    noisy_start,
)
from vidseg_utils.systems.object_dynamics.learned.rollout import copy_state, objects_from_worlds
from vidseg_utils.systems.object_dynamics.learned.windows import STATE_FIELDS, objects_at
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.loaders import fixed_seed

STEP_FRAMES = 3  # video frames of a step; a frame of a clip is two steps
FUTURES = 4  # possible futures of a window in a training step
BATCH = 32  # windows
VALIDATION_FUTURES, VALIDATION_SEED = 4, 0
_MIRROR = {"position": (1.0, -1.0), "velocity": (1.0, -1.0), "yaw": -1.0, "spin": -1.0}  # factors; swaps left and right

Noise = Callable[[int], Float[np.ndarray, "M N 4"]]  # of a step: standard normal numbers of each object


def roll_out_tokens(network: nn.Module, objects: Objects, steps: int) -> Iterator[Objects]:
    """Yields the objects after each of `steps` steps of a random future; the random numbers are torch's global ones."""
    for _ in range(steps):
        objects = network(objects, torch.randn(*objects.active.shape, NOISE, device=objects.position.device))
        yield objects


@torch.inference_mode()
def advance_with_tokens(
    worlds: Worlds,
    frames: int,
    network: nn.Module,
    class_ids: Integer[np.ndarray, "M N"],
    *,
    noise: Noise | None = None,
) -> None:
    """Move the worlds on by `frames` video frames, as `rigid_body.advance` does with fitted physics.

    noise: by default zeros, which give a usual future
    Raises ValueError for frames that are no whole number of steps.
    """
    if frames % STEP_FRAMES:
        raise ValueError(f"{frames} frames are no whole number of steps of {STEP_FRAMES} frames")
    objects = objects_from_worlds(worlds, class_ids)
    none = torch.zeros(*objects.active.shape, NOISE)
    for step in range(frames // STEP_FRAMES):
        drawn = none if noise is None else torch.from_numpy(noise(step)).float()
        objects = network(objects, drawn)
    copy_state(objects, worlds)


def repeat_objects(objects: Objects, count: int) -> Objects:
    """Every scene `count` times in a row."""
    return Objects(*(getattr(objects, f.name).repeat_interleave(count, dim=0) for f in fields(Objects)))


def _each_future(values: Tensor, futures: int) -> Tensor:
    """(M * K, …) -> (M, K, …)."""
    return values.unflatten(0, (-1, futures))


def _distance_of_vectors(first: Tensor, second: Tensor) -> Tensor:
    return torch.log1p((first - second).square().sum(-1))


def _distance_of_angles(first: Tensor, second: Tensor) -> Tensor:
    return torch.log1p((first - second).square())


def futures_loss(network: nn.Module, batch: dict[str, Tensor], *, n_futures: int) -> Float[Tensor, ""]:
    """The score of possible futures from a noisy start: the mean over objects and steps. Large errors count little."""
    start = noisy_start(batch)
    steps = (batch["yaw"].shape[1] - 1) // STEP_FRAMES
    moved = list(roll_out_tokens(network, repeat_objects(start, n_futures), steps))
    total = torch.zeros((), device=start.position.device)
    for name in STATE_FIELDS:
        futures = _each_future(torch.stack([getattr(after, name) for after in moved], dim=1), n_futures)
        truth = batch[name][:, STEP_FRAMES::STEP_FRAMES]  # (B, T, N) or (B, T, N, 2)

        distance = _distance_of_vectors if truth.ndim == 4 else _distance_of_angles
        score = score_futures(futures / SCALE[name], truth / SCALE[name], distance)
        total = total + (score * counted_objects(name, start)[:, None]).sum()
    return total / (start.active.sum() * steps)


def futures_error(network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
    """Of the positions after all frames, in world units: the energy score of possible futures, and their mean error."""
    scores, errors = [], []

    def distance(first: Tensor, second: Tensor) -> Tensor:
        return (first - second).norm(dim=-1)

    with fixed_seed(VALIDATION_SEED, device):
        for batch in loader:
            batch = {name: values.to(device) for name, values in batch.items()}
            start, steps = objects_at(batch, 0), (batch["yaw"].shape[1] - 1) // STEP_FRAMES
            *_, end = roll_out_tokens(network, repeat_objects(start, VALIDATION_FUTURES), steps)
            futures, truth = _each_future(end.position, VALIDATION_FUTURES), batch["position"][:, steps * STEP_FRAMES]
            scores.append(score_futures(futures, truth, distance)[start.active])
            errors.append(distance(futures, truth[:, None]).mean(dim=1)[start.active])
    return {"energy_score": torch.cat(scores).mean().item(), "rollout_error": torch.cat(errors).mean().item()}


@dataclass(frozen=True)
class TokenSizes(Sizes, group="tokens"):
    """Sizes of the network and of its training."""

    width: int = by_profile(16, 64, 64)
    epochs: int = by_profile(2, 60, 60)


@dataclass
class TokenRecipe(TrajectoryRecipe):
    """The transformer over object tokens; the energy score of held-out trajectories chooses the best epoch."""

    window_frames = 6 * STEP_FRAMES

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sizes = TokenSizes.for_profile(self.workspace.profile)

    @property
    def epochs(self) -> int:
        """Epochs of the profile."""
        return self.sizes.epochs

    def model(self) -> tuple[str, dict[str, Any]]:
        """The network at the width of the profile."""
        return "object_tokens", {"step_frames": STEP_FRAMES, "width": self.sizes.width}

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """See `futures_loss`; half of the batches are mirrored."""
        if torch.rand(()) < 0.5:
            mirror = {name: batch[name] * batch[name].new_tensor(factor) for name, factor in _MIRROR.items()}
            batch = {**batch, **mirror}
        return futures_loss(network, batch, n_futures=FUTURES)

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """See `futures_error`."""
        return futures_error(network, loader, device)

    def fit_config(self) -> FitConfig:
        """As that of the interaction network, with smaller batches."""
        return replace(super().fit_config(), batch_size=BATCH, monitor="energy_score")
