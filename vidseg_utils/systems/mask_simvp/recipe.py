"""Training of SimVP on masks: representations, losses, true or predicted masks, and the choice of the best epoch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from vidseg_utils.checks import check_choice
from vidseg_utils.classes import BACKGROUND, N_CLASSES
from vidseg_utils.data import MaskDataset, check_labels
from vidseg_utils.data.datasets import labelled_masks
from vidseg_utils.metrics import confusion_matrix, jaccard_from_confusion
from vidseg_utils.models import LocationMaps, checkpointed, location_losses
from vidseg_utils.profiles import Sizes, by_profile
from vidseg_utils.systems.mask_simvp.forecast import forecast_location_maps, forecast_scores, last_mask
from vidseg_utils.systems.pseudo_labels import label_split
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.systems.simvp_unet import SimVPSizes
from vidseg_utils.task import CLIP_FRAMES, FUTURE_FRAMES, PAST_FRAMES
from vidseg_utils.training.fit_config import FitConfig, truth_probability
from vidseg_utils.training.losses import build_loss, weighted_frame_mean

TRAIN_ON = ("true", "predicted")  # kinds of past masks


def mask_loss(representation: str, last_frame_weight: float) -> Callable[..., Tensor]:
    """The loss of a representation.

    "number": MSE of the class numbers, (forecast, masks) -> scalar
    "one_hot": cross-entropy, (forecast, masks) -> scalar
    "objects": mean of the cross-entropies of the locations in each frame, (T,) -> scalar
    last_frame_weight: weight of frame 21; the other frames have weight 1
    """
    if representation == "number":
        mse = build_loss("mse", last_frame_weight=last_frame_weight)
        return lambda numbers, masks: mse(numbers, masks.where(masks < N_CLASSES, 0)[:, :, None].float())
    if representation == "one_hot":
        return build_loss("cross_entropy", last_frame_weight=last_frame_weight)
    return partial(weighted_frame_mean, last_frame_weight=last_frame_weight)


@dataclass(frozen=True)
class MaskSimVPSizes(Sizes, group="mask"):
    """Sizes for the representation "objects"; the published representations use those of SimVP."""

    configuration: str = by_profile("2_2_4_8_1", "2_3_8_64_1", "2_8_64_256_8")  # see `parse_configuration`
    cell: int = by_profile(2, 4, 4, cpu_full=8)  # side of a cell of the location maps, in working pixels
    shrink: int = by_profile(2, 4, 1, colab=2)  # "one_hot", "number": forecast at 1/shrink of the size; published: 1
    epochs: int = by_profile(1, 8, 25, colab=15)
    batch_size: int = by_profile(2, 2, 8, colab=8)  # clips
    learning_rate: float = by_profile(1e-3, 2e-3, 1e-3)


@dataclass(kw_only=True)
class MaskSimVPRecipe(Recipe):
    """SimVP from masks 0..10 to masks 11..21.

    As published, the validation loss chooses the best epoch, and the Jaccard index of frame 21 decides ties, see
    `loss_then_jaccard`.
    """

    representation: str = "objects"  # or "one_hot", or "number", see `mask_loss`
    train_on: str = "predicted"  # past masks by U-Net, or "true" ones; future masks are true
    unlabeled: bool = True  # with predicted masks: add the unlabelled videos, with pseudo-labels as future masks
    last_frame_weight: float = 3.0  # weight of frame 21 in the loss
    configuration: str | None = None  # SimVP's sizes, see `parse_configuration`; None: those of the profile
    translator: str | None = None  # None: "gsta" for "objects", else "inception"
    ahead: int = FUTURE_FRAMES  # frames per step of a rollout, trained with scheduled sampling; 11: all at once

    task = "mask forecasting"

    def __post_init__(self) -> None:
        check_choice("train_on", self.train_on, TRAIN_ON)
        profile = self.workspace.profile
        self.sizes, self.simvp_sizes = MaskSimVPSizes.for_profile(profile), SimVPSizes.for_profile(profile)
        self.criterion = mask_loss(self.representation, self.last_frame_weight)
        self.truth_probability = 1.0  # of scheduled sampling, falls from epoch to epoch

    @property
    def by_object(self) -> bool:
        """Whether each object is forecast separately."""
        return self.representation == "objects"

    @property
    def run_name(self) -> str:
        """Every representation has its own run folder, and so does its rollout."""
        return f"mask_{self.representation}" + ("" if self.ahead == FUTURE_FRAMES else "_rollout")

    @property
    def uses_unlabelled(self) -> bool:
        """Whether unlabelled videos are trained on: they are asked for, and the data have some."""
        return self.unlabeled and self.train_on == "predicted" and self.workspace.has_videos("unlabeled")

    def model(self) -> tuple[str, dict[str, Any]]:
        """SimVP on masks, at the size of the configuration or the profile."""
        if self.configuration or self.by_object:
            network = parse_configuration(self.configuration or self.sizes.configuration)
        else:
            network = self.simvp_sizes.network
        config = {
            "representation": self.representation,
            **network,
            "translator": self.translator or ("gsta" if self.by_object else "inception"),
            "shrink": self.sizes.cell if self.by_object else self.sizes.shrink,
            "residual": self.by_object or self.simvp_sizes.residual,
        }
        if self.by_object and self.ahead != FUTURE_FRAMES:
            config["ahead"] = self.ahead
        return "mask_simvp", config

    def data(self) -> tuple[Dataset, Dataset]:
        """Clips of masks: true or predicted past masks, and true future masks."""
        train, val = self.workspace.split("train"), self.workspace.split("val")
        check_labels(train, frames=range(PAST_FRAMES, CLIP_FRAMES))
        check_labels(val, frames=[CLIP_FRAMES - 1])
        true_train, true_val = labelled_masks(train), labelled_masks(val)
        if self.train_on == "true":
            return MaskDataset(true_train, true_train), MaskDataset(true_val, true_val)
        unet = self.workspace.load_network("unet")

        def label(split: str, n_frames: int) -> np.memmap:
            return label_split(unet, self.workspace.split(split), n_frames=n_frames, device=self.workspace.device)

        clips: Dataset = MaskDataset(label("train", PAST_FRAMES), true_train)
        val_clips = MaskDataset(label("val", PAST_FRAMES), true_val)
        if self.unlabeled and not self.uses_unlabelled:
            self.log_missing_unlabelled()
        if self.uses_unlabelled:
            pseudo_labels = label("unlabeled", CLIP_FRAMES)
            clips = ConcatDataset([clips, MaskDataset(pseudo_labels, pseudo_labels)])
        return clips, val_clips

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of a batch; half of the batches are mirrored."""
        past, future = batch["past"], batch["future"]
        if torch.rand(()) < 0.5:  # a mirrored video is as likely: the camera looks along the plane of symmetry
            past, future = past.flip(-1), future.flip(-1)
        return self.forecast_loss(network, past, future, truth_probability=self.truth_probability)[0]

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """`jaccard` in [0, 1] of frame 21 over all clips, `val_loss`, and `loss_then_jaccard`."""
        confusion, total, n_clips = torch.zeros(N_CLASSES, N_CLASSES, dtype=torch.int64), 0.0, 0
        for batch in loader:
            past, future = batch["past"].to(device), batch["future"].to(device)
            loss, forecast = self.forecast_loss(network, past, future)
            total, n_clips = total + float(loss) * len(past), n_clips + len(past)
            confusion += confusion_matrix(last_mask(forecast, past).cpu(), future[:, -1].cpu())
        jaccard, loss = jaccard_from_confusion(confusion), total / n_clips
        return {"jaccard": jaccard, "val_loss": loss, "loss_then_jaccard": loss_then_jaccard(loss, jaccard)}

    def forecast_loss(
        self, network: nn.Module, past: Tensor, future: Tensor, *, truth_probability: float = 0.0
    ) -> tuple[Tensor, Tensor | LocationMaps]:
        """The loss by `mask_loss`, and the forecast, as `last_mask` takes it.

        past, future: (B, 11, H, W) class ids
        truth_probability: of true masks as input of a rollout step
        """
        truth = future.where(future < N_CLASSES, BACKGROUND)
        model = network if self.ahead == FUTURE_FRAMES else checkpointed(network)
        rollout_settings: dict[str, Any] = {"ahead": self.ahead, "truth": truth, "truth_probability": truth_probability}
        if self.by_object:
            steps = forecast_location_maps(model, past, **rollout_settings)
            losses = [location_losses(*step) for step in zip(steps, future.split(self.ahead, dim=1), strict=True)]
            return self.criterion(torch.cat(losses)), steps[-1]
        scores = forecast_scores(model, past, **rollout_settings)
        return self.criterion(scores, future), scores

    def fit_config(self) -> FitConfig:
        """Adam with a one-cycle schedule and clipped gradients."""
        sizes = self.sizes if self.by_object else self.simvp_sizes
        return FitConfig(
            epochs=sizes.epochs,
            batch_size=sizes.batch_size,
            learning_rate=sizes.learning_rate,
            scheduler="onecycle",
            clip_norm=1.0,
            monitor="loss_then_jaccard",
            **self.shared_fit_settings(),
        )

    def settings(self) -> dict[str, Any]:
        """Masks, weight of the last frame, and frames per step of a rollout."""
        names = ("train_on", "unlabeled", "last_frame_weight", "ahead")
        settings = {name: getattr(self, name) for name in names}
        if self.train_on == "predicted":
            settings["unlabeled"] = self.uses_unlabelled
        return settings

    def on_epoch(self, epoch: int) -> None:
        """Lower the probability of true masks in a rollout."""
        self.truth_probability = truth_probability(epoch, self.fit_config().epochs)


def parse_configuration(text: str) -> dict[str, int]:
    """The sizes of SimVP from the notation of the published tables, N_S_N_T_hid_S_hid_T_groups: "4_8_64_256_7"."""
    names = ("n_s", "n_t", "hid_s", "hid_t", "groups")
    sizes = text.split("_")
    if len(sizes) != len(names) or not all(size.isdecimal() for size in sizes):
        raise ValueError(f"configuration {text!r} is not of the form N_S_N_T_hid_S_hid_T_groups, such as 4_8_64_256_7")
    return dict(zip(names, map(int, sizes), strict=True))


def loss_then_jaccard(loss: float, jaccard: float) -> float:
    """A combined metric: smaller for a smaller loss and, if two losses have the same first two digits, for a larger
    Jaccard index in [0, 1]. So (0.328, 0.24) is better than (0.326, 0.20), and (0.31, 0.1) is better than both.
    """
    last_digit = 10.0 ** (math.floor(math.log10(max(loss, 1e-12))) - 1)
    return (round(loss / last_digit) + 1 - jaccard) * last_digit
