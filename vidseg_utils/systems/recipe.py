"""What a recipe is: how one network comes to be, from its model and data to its trained weights in a run folder."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vidseg_utils.models import build_model
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.loaders import seed_everything
from vidseg_utils.training.loop import fit
from vidseg_utils.training.run_folder import is_finished


@dataclass
class Recipe(ABC):
    """How one network is trained. A subclass is a dataclass whose fields are the options of the recipe.

    Its sizes (epochs, channels, …) stand beside it in a subclass of `profiles.Sizes`.
    """

    workspace: Workspace

    task: ClassVar[str]  # what the network learns, for config.json

    @property
    @abstractmethod
    def run_name(self) -> str:
        """Name of the usual run folder, without the profile: "unet" stands for runs/unet-cpu."""

    @abstractmethod
    def model(self) -> tuple[str, dict[str, Any]]:
        """Name and settings of the model, as `build_model` takes them."""

    @abstractmethod
    def data(self) -> tuple[Dataset, Dataset]:
        """The data to train on, and those that choose the best epoch."""

    @abstractmethod
    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of one batch on the device: a scalar."""

    @abstractmethod
    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """The metrics of an epoch over the validation data; one of them chooses the best epoch."""

    @abstractmethod
    def fit_config(self) -> FitConfig:
        """Epochs, optimiser and schedule of the fit."""

    def settings(self) -> dict[str, Any]:
        """The options that decide the weights beside model, data and fit; they go into config.json."""
        return {}

    def start_weights(self, network: nn.Module) -> None:  # noqa: B027 - a hook that most recipes leave empty
        """Change the fresh network's weights before training, such as to those of another run."""

    def on_epoch(self, epoch: int) -> None:  # noqa: B027
        """Called as an epoch begins, with its number from 1."""

    @property
    def seed(self) -> int:
        """Seed of the first weights, the order and the augmentation."""
        return self.workspace.profile.seed

    def shared_fit_settings(self) -> dict[str, Any]:
        """Precision, loader processes and seed, for `FitConfig`."""
        profile = self.workspace.profile
        return {"precision": profile.precision, "num_workers": profile.workers, "seed": self.seed}

    def build(self) -> nn.Module:
        """The fresh network; the seed decides its weights."""
        name, config = self.model()
        seed_everything(self.seed)
        return build_model(name, **config)

    def train(self, run: Path | None = None) -> tuple[nn.Module, list[dict[str, Any]]]:
        """Train the network, continue an interrupted training, or load a finished one.

        run: the run folder, by default the usual one
        returns: the network with the weights of its best epoch, in eval mode, and the history, one dict an epoch
        Raises what `training.loop.fit` raises.
        """
        profile, (name, config) = self.workspace.profile, self.model()
        run = run or self.workspace.run_folder(self.run_name)
        train_data, val_data = self.data()
        network = self.build()
        if not is_finished(run):
            self.start_weights(network)
        description = {
            "model": {"name": name, "config": config},
            "profile": profile.name,
            "size": [profile.height, profile.width],
            "task": self.task,
            **self.settings(),
        }
        history = fit(
            network,
            train_data,
            val_data,
            step=self.step,
            validate=self.validate,
            config=self.fit_config(),
            run=run,
            description=description,
            on_epoch=self.on_epoch,
        )
        return network.eval(), history
