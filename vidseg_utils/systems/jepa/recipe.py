"""Training of the JEPA without labels, and of the decoder that reads masks off its embeddings."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data import ClipDataset, check_labels, to_float
from vidseg_utils.metrics import MaskScore
from vidseg_utils.models import JEPA, JEPAForecaster, collapse_losses
from vidseg_utils.models.layers import pick_frames
from vidseg_utils.models.transport import CONTEXT_FRAMES
from vidseg_utils.profiles import Sizes, by_profile
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.task import CLIP_FRAMES, FUTURE_FRAMES, PAST_FRAMES
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.losses import build_loss
from vidseg_utils.training.weights import weights_hash

LONG_FROM = 0.6  # of the training, from which on all horizons are learned; before, the longest one grows
HORIZONS_A_STEP = 4  # how many of them a training step predicts
BACKGROUND_WEIGHT = 0.6  # in the decoder's cross-entropy, as published for semi-supervised SimVP
BETWEEN = 2  # horizons between 0 and 11 that a step of the decoder's training shows too


@dataclass(frozen=True)
class JEPASizes(Sizes, group="jepa"):
    """Sizes of the JEPA, of its decoder and of their trainings."""

    channels: int = by_profile(8, 64, 128)  # of an embedding
    hidden: int = by_profile(8, 64, 128)  # of the encoder's maps
    predictor_hidden: int = by_profile(8, 64, 128)
    decoder_hidden: int = by_profile(8, 96, 128)
    epochs: int = by_profile(1, 24, 30)
    decoder_epochs: int = by_profile(1, 30, 20)
    batch_size: int = by_profile(2, 4, 16)  # clips
    decoder_batch_size: int = by_profile(2, 2, 8)  # clips; each shows four frames
    learning_rate: float = by_profile(2e-3, 2e-3, 1e-3)
    momentum: float = by_profile(0.9, 0.99, 0.998)  # of the target encoder: the share that stays in a step
    # of the terms against collapse, beside the prediction error: as published, but the variance term counts four times
    variance_weight: float = by_profile(4.0, 4.0, 4.0)
    covariance_weight: float = by_profile(0.04, 0.04, 0.04)

    @property
    def network(self) -> dict[str, int]:
        """The settings of the model "jepa"."""
        return {name: getattr(self, name) for name in ("channels", "hidden", "predictor_hidden")}


def longest_horizon(epoch: int, epochs: int) -> int:
    """How many frames ahead an epoch learns to predict at most.

    At first few: content then arrives near its true place, so the error tells in which direction to correct it.
    """
    return min(FUTURE_FRAMES, math.ceil(FUTURE_FRAMES * epoch / epochs / LONG_FROM))


def random_window(horizon: int) -> tuple[int, int]:
    """First given frame, and the frame after the last one to predict, of a batch of training clips."""
    first = int(torch.randint(CLIP_FRAMES - CONTEXT_FRAMES - horizon + 1, ()))
    return first, first + CONTEXT_FRAMES + horizon


def mirror_half(*videos: Tensor) -> list[Tensor]:
    """The videos, in half of the batches mirrored: such videos are as likely."""
    return [video.flip(-1) for video in videos] if torch.rand(()) < 0.5 else list(videos)


@dataclass
class JEPARecipe(Recipe):
    """Encoder and predictor, trained on all videos without labels. The last epoch is kept.

    The prediction errors of two epochs cannot be compared: their embeddings differ.
    """

    task = "prediction of embeddings"

    def __post_init__(self) -> None:
        self.sizes = JEPASizes.for_profile(self.workspace.profile)
        self.epoch = self.sizes.epochs

    @property
    def run_name(self) -> str:
        """The run of encoder and predictor."""
        return "jepa_embeddings"

    @property
    def splits(self) -> list[str]:
        """The splits of the training data: without "unlabeled" where the data have no such videos."""
        return ["train", "unlabeled"] if self.workspace.has_videos("unlabeled") else ["train"]

    def model(self) -> tuple[str, dict[str, Any]]:
        """The JEPA at the size of the profile."""
        return "jepa", self.sizes.network

    def data(self) -> tuple[Dataset, Dataset]:
        """Clips without masks."""
        if "unlabeled" not in self.splits:
            self.log_missing_unlabelled()
        clips = [ClipDataset(self.workspace.split(split), masks=False) for split in self.splits]
        return ConcatDataset(clips), ClipDataset(self.workspace.split("val"), masks=False)

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Squared error of the predicted embeddings, and the terms against collapse."""
        assert isinstance(network, JEPA)
        network.update_target(self.sizes.momentum)
        longest = longest_horizon(self.epoch, self.sizes.epochs)
        first, end = random_window(longest)
        horizons = (1 + torch.randperm(longest)[:HORIZONS_A_STEP]).tolist()
        (frames,) = mirror_half(batch["frames"][:, first:end])
        embeddings = network(to_float(frames), horizons)
        variance, covariance = collapse_losses(embeddings.context)
        error = F.mse_loss(embeddings.predicted, embeddings.target.float())
        return error + self.sizes.variance_weight * variance + self.sizes.covariance_weight * covariance

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """See `score_embeddings`; and the number of the epoch, which chooses the last one."""
        return {**score_embeddings(network, loader, device), "trained_epochs": self.epoch}

    def fit_config(self) -> FitConfig:
        """AdamW with a one-cycle schedule and clipped gradients."""
        return FitConfig(
            epochs=self.sizes.epochs,
            batch_size=self.sizes.batch_size,
            learning_rate=self.sizes.learning_rate,
            weight_decay=1e-4,
            optimiser="adamw",
            scheduler="onecycle",
            clip_norm=1.0,
            monitor="trained_epochs",
            mode="max",
            **self.shared_fit_settings(),
        )

    def settings(self) -> dict[str, Any]:
        """Splits, momentum and the weights of the terms against collapse."""
        names = ("momentum", "variance_weight", "covariance_weight")
        return {"train_on": self.splits, **{name: getattr(self.sizes, name) for name in names}}

    def on_epoch(self, epoch: int) -> None:
        """Note the epoch."""
        self.epoch = epoch


@torch.inference_mode()
def score_embeddings(network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
    """Of frame 21: `error` of the predicted embeddings, `copy_error` of those of frame 10 in their place (means of
    squares); of both frames `embedding_std`: the standard deviation of the embeddings over all videos, less the mean of
    each cell, averaged over channels.
    """
    assert isinstance(network, JEPA)
    errors, n_clips = torch.zeros(2, dtype=torch.float64), 0
    cell_sums, squares = (torch.zeros((), dtype=torch.float64) for _ in range(2))
    for batch in loader:
        frames = to_float(batch["frames"].to(device))
        encoded = network.encode(pick_frames(frames, [PAST_FRAMES - 1, CLIP_FRAMES - 1]))
        given, last = encoded.unbind(dim=1)
        predicted = network.predict(frames[:, :PAST_FRAMES])[:, -1]
        errors += len(frames) * torch.stack([F.mse_loss(predicted, last), F.mse_loss(given, last)]).double().cpu()
        cell_sums = cell_sums + encoded.double().sum(dim=(0, 1)).cpu()  # (D, h, w)
        squares = squares + encoded.double().square().sum(dim=(0, 1)).mean(dim=(1, 2)).cpu()  # (D,)
        n_clips += len(frames)
    variances = squares / (2 * n_clips) - (cell_sums / (2 * n_clips)).square().mean(dim=(1, 2))
    std = variances.clamp_min(0).sqrt().mean()
    return dict(zip(("error", "copy_error", "embedding_std"), (*(errors / n_clips).tolist(), std.item()), strict=True))


@dataclass
class JEPADecoderRecipe(Recipe):
    """The decoder, trained on the embeddings of labelled frames, most of them predicted; the JEPA stays as it is.

    The validation Jaccard index of frame 21 chooses the best epoch.
    """

    task = "masks from embeddings"

    def __post_init__(self) -> None:
        self.sizes = JEPASizes.for_profile(self.workspace.profile)
        self.criterion = build_loss("cross_entropy", class_weights=[BACKGROUND_WEIGHT] + [1.0] * (N_CLASSES - 1))

    @property
    def run_name(self) -> str:
        """The run of the decoder, which holds the JEPA too."""
        return "jepa_decoder"

    def model(self) -> tuple[str, dict[str, Any]]:
        """JEPA and decoder at the size of the profile."""
        return "jepa_forecaster", {**self.sizes.network, "decoder_hidden": self.sizes.decoder_hidden}

    def load_jepa(self) -> nn.Module:
        """The trained JEPA."""
        return self.workspace.load_network("jepa_embeddings")

    def build(self) -> nn.Module:
        """The trained JEPA, and a new decoder."""
        network = super().build()
        assert isinstance(network, JEPAForecaster)
        network.jepa.load_state_dict(self.load_jepa().state_dict())
        return network

    def data(self) -> tuple[Dataset, Dataset]:
        """Clips with masks."""
        train, val = self.workspace.split("train"), self.workspace.split("val")
        for split in (train, val):
            check_labels(split, frames=[CLIP_FRAMES - 1])
        return ClipDataset(train), ClipDataset(val)

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Cross-entropy of a random frame itself, of the frame eleven steps after it and of some between them."""
        last_given = int(torch.randint(CONTEXT_FRAMES - 1, PAST_FRAMES, ()))
        between = (1 + torch.randperm(FUTURE_FRAMES - 1)[:BETWEEN]).tolist()
        horizons = [0, *between, FUTURE_FRAMES]
        shown = pick_frames(batch["masks"], [last_given + horizon for horizon in horizons])
        frames, masks = mirror_half(batch["frames"], shown)
        given = to_float(frames[:, last_given + 1 - CONTEXT_FRAMES : last_given + 1])
        return self.criterion(network(given, horizons).flatten(0, 1), masks.flatten(0, 1).long())

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """The metrics of `MaskScore`."""
        score = MaskScore()
        for batch in loader:
            logits = network(to_float(batch["frames"][:, :PAST_FRAMES].to(device)))[:, 0]
            score.update(logits.argmax(dim=1), batch["masks"])
        return score.result()

    def fit_config(self) -> FitConfig:
        """AdamW with a one-cycle schedule."""
        return FitConfig(
            epochs=self.sizes.decoder_epochs,
            batch_size=self.sizes.decoder_batch_size,
            learning_rate=self.sizes.learning_rate,
            optimiser="adamw",
            scheduler="onecycle",
            monitor="jaccard",
            mode="max",
            **self.shared_fit_settings(),
        )

    def settings(self) -> dict[str, Any]:
        """The weights of the JEPA."""
        return {"jepa": weights_hash(self.load_jepa())}
