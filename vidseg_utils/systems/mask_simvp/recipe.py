"""How SimVP learns to forecast masks: representations, losses, which masks it sees, and what chooses its best epoch."""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from vidseg_utils.checks import check_choice
from vidseg_utils.classes import BACKGROUND, N_CLASSES
from vidseg_utils.data import MaskDataset
from vidseg_utils.data.datasets import labelled_masks
from vidseg_utils.metrics import confusion_matrix, jaccard_from_confusion
from vidseg_utils.models import LocationMaps, checkpointed, location_losses
from vidseg_utils.profiles import Sizes, by_profile
from vidseg_utils.systems.mask_simvp.forecast import forecast_location_maps, forecast_scores, last_mask
from vidseg_utils.systems.pseudo_labels import label_split
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.systems.simvp_unet import SimVPSizes
from vidseg_utils.task import FUTURE_FRAMES, PAST_FRAMES
from vidseg_utils.training.fit_config import FitConfig, truth_probability
from vidseg_utils.training.losses import build_loss, weighted_frame_mean

TRAIN_ON = ("true", "predicted")  # which masks stand for the past


def mask_loss(representation: str, last_frame_weight: float) -> Callable[..., Tensor]:
    """MSE for class numbers, cross-entropy for one-hot masks: (forecast, masks) -> scalar. For "objects", whose losses
    of the single frames are cross-entropies of places, their mean: (T,) -> scalar.

    In all of them frame 21 counts so many times.
    """
    if representation == "number":
        mse = build_loss("mse", last_frame_weight=last_frame_weight)
        return lambda numbers, masks: mse(numbers, masks.where(masks < N_CLASSES, 0)[:, :, None].float())
    if representation == "one_hot":
        return build_loss("cross_entropy", last_frame_weight=last_frame_weight)
    return partial(weighted_frame_mean, last_frame_weight=last_frame_weight)


@dataclass(frozen=True)
class MaskSimVPSizes(Sizes, group="mask"):
    """Sizes of the forecaster of single objects; the published representations have the sizes of SimVP."""

    configuration: str = by_profile("2_2_4_8_1", "2_3_8_64_1", "2_8_64_256_8")  # see `parse_configuration`
    cell: int = by_profile(2, 4, 4, cpu_full=8)  # side of a cell of the objects' map, pixels of the working size
    shrink: int = by_profile(2, 4, 1)  # the published representations are forecast at 1/shrink, as published at 1
    epochs: int = by_profile(1, 8, 25)
    batch_size: int = by_profile(2, 2, 8)  # clips
    learning_rate: float = by_profile(1e-3, 2e-3, 1e-3)


@dataclass
class MaskSimVPRecipe(Recipe):
    """SimVP from masks 0..10 to masks 11..21.

    The best epoch is kept, as published by the validation loss first and then by the Jaccard index of frame 21, see
    `loss_then_jaccard`.
    """

    _: KW_ONLY
    representation: str = "objects"  # or "one_hot" (both with cross-entropy), or "number" (with MSE)
    train_on: str = "predicted"  # past masks predicted by U-Net, or "true"; the future is true
    unlabeled: bool = True  # with predicted masks, add the unlabelled videos, whose future is pseudo-labels
    last_frame_weight: float = 3.0  # of frame 21 in the loss
    configuration: str | None = None  # SimVP's sizes, see `parse_configuration`; None: the profile's
    translator: str | None = None  # "inception" or "gsta"; None: gsta for objects, else inception
    ahead: int = FUTURE_FRAMES  # all masks at once, or fewer at a time, then fed back with scheduled sampling

    task = "mask forecasting"

    def __post_init__(self) -> None:
        check_choice("train_on", self.train_on, TRAIN_ON)
        profile = self.workspace.profile
        self.sizes, self.simvp_sizes = MaskSimVPSizes.for_profile(profile), SimVPSizes.for_profile(profile)
        self.criterion = mask_loss(self.representation, self.last_frame_weight)
        self.truth_probability = 1.0  # of a rollout in training

    @property
    def by_object(self) -> bool:
        """Whether each object is forecast by itself."""
        return self.representation == "objects"

    @property
    def run_name(self) -> str:
        """Every representation has a run folder of its own, and so has its rollout."""
        return f"mask_{self.representation}" + ("" if self.ahead == FUTURE_FRAMES else "_rollout")

    def model(self) -> tuple[str, dict[str, Any]]:
        """SimVP on masks."""
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
        """Clips of masks: a past that is true or predicted, and a true future."""
        train, val = (self.workspace.split(split) for split in ("train", "val"))
        train_masks, val_masks = labelled_masks(train), labelled_masks(val)
        if self.train_on == "true":
            return MaskDataset(train_masks, train_masks), MaskDataset(val_masks, val_masks)
        label = partial(label_split, self.workspace.load_network("unet"), device=self.workspace.device)
        clips: Dataset = MaskDataset(label(train, n_frames=PAST_FRAMES), train_masks)
        val_clips = MaskDataset(label(val, n_frames=PAST_FRAMES), val_masks)
        if self.unlabeled and self.workspace.profile.unlabeled:
            pseudo_labels = label(self.workspace.split("unlabeled"))
            clips = ConcatDataset([clips, MaskDataset(pseudo_labels, pseudo_labels)])
        return clips, val_clips

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of a batch, half of the batches mirrored."""
        past, future = batch["past"], batch["future"]
        if torch.rand(()) < 0.5:  # the camera looks along the world's plane of symmetry
            past, future = past.flip(-1), future.flip(-1)
        return self.forecast_loss(network, past, future, truth_probability=self.truth_probability)[0]

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """`jaccard` in [0, 1] of frame 21 over all clips, `val_loss`, and `loss_then_jaccard`, which decides."""
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
        """past, future: (B, 11, H, W) -> the loss by `mask_loss`, and the forecast for `last_mask`.

        truth_probability: how often a rollout is fed the truth
        """
        truth = future.where(future < N_CLASSES, BACKGROUND)
        model = network if self.ahead == FUTURE_FRAMES else checkpointed(network)
        rollout_settings = {"ahead": self.ahead, "truth": truth, "truth_probability": truth_probability}
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
        """Which masks it learns from, and how."""
        names = ("train_on", "unlabeled", "last_frame_weight", "ahead")
        return {name: getattr(self, name) for name in names}

    def on_epoch(self, epoch: int) -> None:
        """Feed a rollout its own output more often."""
        self.truth_probability = truth_probability(epoch, self.fit_config().epochs)


def parse_configuration(text: str) -> dict[str, int]:
    """The sizes of SimVP from the short form of the published tables, N_S_N_T_hid_S_hid_T_groups: "4_8_64_256_7"."""
    names = ("n_s", "n_t", "hid_s", "hid_t", "groups")
    sizes = text.split("_")
    if len(sizes) != len(names) or not all(size.isdecimal() for size in sizes):
        raise ValueError(f"configuration {text!r} is not of the form N_S_N_T_hid_S_hid_T_groups, such as 4_8_64_256_7")
    return dict(zip(names, map(int, sizes), strict=True))


def loss_then_jaccard(loss: float, jaccard: float) -> float:
    """A number that is smaller for a smaller loss; losses with the same first two digits are a tie, which the larger
    Jaccard index in [0, 1] decides: (0.328, 0.24) comes before (0.326, 0.20), both after (0.31, 0.1).
    """
    last_digit = 10.0 ** (math.floor(math.log10(max(loss, 1e-12))) - 1)
    return (round(loss / last_digit) + 1 - jaccard) * last_digit
