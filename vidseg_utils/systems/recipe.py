"""`Recipe`, the base class of all recipes: how one network is trained, from its data to its run folder."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vidseg_utils.classes import CLASS_NAMES
from vidseg_utils.data import dataset_identity
from vidseg_utils.models import build_model
from vidseg_utils.run_folders import TRAINED_ON, read_history
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.loaders import seed_everything
from vidseg_utils.training.loop import fit
from vidseg_utils.training.retraining import is_asked_to_train_anew
from vidseg_utils.training.run_folder import is_finished
from vidseg_utils.training.shipped import is_shipped

logger = logging.getLogger(__name__)


@dataclass
class Recipe(ABC):
    """How one network is trained. A subclass is a dataclass whose fields are the options of the recipe.

    Its sizes (epochs, channels, …) are in a subclass of `profiles.Sizes` in the same file.
    """

    workspace: Workspace

    task: ClassVar[str]  # what the network learns, for config.json

    @property
    @abstractmethod
    def run_name(self) -> str:
        """Name of the default run folder without the profile: "unet" for runs/unet-cpu."""

    @abstractmethod
    def model(self) -> tuple[str, dict[str, Any]]:
        """Name and settings of the model, the arguments of `build_model`."""

    @abstractmethod
    def data(self) -> tuple[Dataset, Dataset]:
        """The training data, and the validation data, which choose the best epoch."""

    def data_identity(self) -> dict[str, str]:
        """The identity of the data set of `data`."""
        return dataset_identity(self.workspace.root)

    def class_names(self) -> Sequence[str]:
        """The names of the classes in the data, class 0 first."""
        return CLASS_NAMES

    @abstractmethod
    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss (a scalar) of one batch, which is on the device."""

    @abstractmethod
    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """Metrics over the validation data; `FitConfig.monitor` names the one that chooses the best epoch."""

    @abstractmethod
    def fit_config(self) -> FitConfig:
        """Epochs, optimiser and schedule of the training."""

    def settings(self) -> dict[str, Any]:
        """Further options that affect the weights, beside `model` and `fit_config`; written to config.json."""
        return {}

    def initialise_weights(self, network: nn.Module) -> None:  # noqa: B027 - optional
        """Change the random weights of a new network before training, for example to those of another run."""

    def on_epoch(self, epoch: int) -> None:  # noqa: B027
        """Called at the start of each epoch with its number, from 1."""

    @property
    def seed(self) -> int:
        """Seed of the initial weights, the order and the augmentation."""
        return self.workspace.profile.training_seed

    def shared_fit_settings(self) -> dict[str, Any]:
        """Precision, loader processes and seed, for `FitConfig`."""
        profile = self.workspace.profile
        return {"precision": profile.precision, "num_workers": profile.workers, "seed": self.seed}

    def log_missing_unlabelled(self) -> None:
        """Say that the data have no unlabelled videos, so that the recipe trains on the training videos alone."""
        logger.warning(
            f"{self.run_name}: {self.workspace.root} has no unlabelled videos; training on its training videos alone"
        )

    def build(self) -> nn.Module:
        """A new network with random weights from the seed."""
        name, config = self.model()
        seed_everything(self.seed)
        return build_model(name, **config)

    def train(self, run: Path | None = None) -> tuple[nn.Module, list[dict[str, Any]]]:
        """Train the network, resume an interrupted training, or load a finished one.

        run: the run folder; by default that of `run_name` in the workspace. A shipped one is loaded as it is.
        returns: the network with the weights of its best epoch, in eval mode, and the history, one dict per epoch
        Raises what `training.fit` raises.
        """
        profile, (name, config) = self.workspace.profile, self.model()
        run = run or self.workspace.run_folder(self.run_name)
        if is_shipped(run):
            return self.workspace.load_network(run), read_history(run)
        train_data, val_data = self.data()
        network = self.build()
        if not is_finished(run) or is_asked_to_train_anew():
            self.initialise_weights(network)
        description = {
            "model": {"name": name, "config": config},
            "profile": profile.name,
            "size": [profile.height, profile.width],
            "task": self.task,
            TRAINED_ON: self.data_identity(),
            "classes": list(self.class_names()),
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
            device=self.workspace.device,
            on_epoch=self.on_epoch,
        )
        if (now := self.data_identity()) != description[TRAINED_ON]:
            before = description[TRAINED_ON]["text"]
            logger.warning(
                f"{run.name}: {self.workspace.root} has changed during the training ({before}; now {now['text']}); "
                "it was trained on the videos that it opened"
            )
        return network.eval(), history
