"""The segmenter of all systems: a network that predicts the class of each pixel of one frame (U-Net or DeepLabV3)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from vidseg_utils.classes import IGNORE_INDEX, N_CLASSES
from vidseg_utils.data import FrameDataset, check_labels, to_float
from vidseg_utils.metrics import confusion_matrix, jaccard_from_confusion
from vidseg_utils.profiles import Sizes, by_profile
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.task import CLIP_FRAMES
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.losses import build_loss
from vidseg_utils.training.run_folder import is_finished, read_config
from vidseg_utils.training.weights import load_weights

VAL_FRAME_STEP = 11  # frames 0 and 11 of each validation video choose the best epoch: adjacent frames are similar


@dataclass(frozen=True)
class UNetSizes(Sizes, group="unet"):
    """Sizes of U-Net and of its training."""

    base_channels: int = by_profile(8, 16, 64, colab=32)
    # "flat": one output per class, as published; "factored": the sum of outputs for shape, material and colour
    head: str = by_profile("factored", "factored", "flat")
    epochs: int = by_profile(1, 20, 30, cpu_full=8, colab=25)  # cpu_full can start from the weights of cpu
    batch_size: int = by_profile(8, 16, 32)  # frames
    frames_every: int = by_profile(4, 2, 1)  # step between the frames taken from a training video
    learning_rate: float = by_profile(1e-3, 8e-3, 1e-3, cpu_full=4e-3)
    # Names of `data.transforms.AUGMENTATIONS`. "resample" helps on real frames and costs nothing on generated ones.
    # "real" helps more, but needs more epochs. Frames of 80x120 are averages of 2x2 pixels, so their sharpness hardly
    # depends on their origin.
    augmentation: tuple[str, ...] = by_profile(
        ("hflip", "object_crop"),
        ("hflip", "object_crop"),
        ("hflip", "vflip", "crop", "rotate"),
        cpu_full=("hflip", "object_crop", "resample"),
    )


@dataclass(kw_only=True)
class SegmenterRecipe(Recipe):
    """A network that predicts the class of each pixel, trained on the labelled frames of the training split.

    The validation Jaccard index chooses the best epoch. A finished run is loaded even if its epochs, augmentation and
    start differ from the defaults; it is refused only if one of them is given explicitly and differs.
    """

    network: str = "unet"  # or "deeplabv3"
    loss: str = "cross_entropy"  # see `training.losses`
    augmentation: tuple[str, ...] | None = None  # None: that of the profile
    start_from: str | None = None  # run of the same network, at any frame size, with the initial weights

    task = "segmentation"

    def __post_init__(self) -> None:
        self.sizes = UNetSizes.for_profile(self.workspace.profile)
        self.criterion = build_loss(self.loss)

    @property
    def run_name(self) -> str:
        """Each network has its own run folder."""
        return self.network

    def model(self) -> tuple[str, dict[str, Any]]:
        """U-Net at the size of the profile, or DeepLabV3, which has a single size."""
        config: dict[str, Any] = {"n_classes": N_CLASSES}
        if self.network == "unet":
            config |= {"base_channels": self.sizes.base_channels, "head": self.sizes.head}
        return self.network, config

    def data(self) -> tuple[FrameDataset, FrameDataset]:
        """Frames with masks: augmented ones of the training split, and those of the validation split."""
        from vidseg_utils.data import build_augmentation  # here, because torchvision takes two seconds to import

        names = self.sizes.augmentation if self.augmentation is None else self.augmentation
        train, val = self.workspace.split("train"), self.workspace.split("val")
        check_labels(train, frames=range(0, CLIP_FRAMES, self.sizes.frames_every))
        check_labels(val, frames=range(0, CLIP_FRAMES, VAL_FRAME_STEP))
        return (
            FrameDataset(train, transform=build_augmentation(*names), every=self.sizes.frames_every),
            FrameDataset(val, every=VAL_FRAME_STEP),
        )

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of the logits of a batch of frames."""
        return self.criterion(network(to_float(batch["frame"])), batch["mask"].long())

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """See `score_segmenter`."""
        return score_segmenter(network, loader, device)

    def fit_config(self) -> FitConfig:
        """Adam with a one-cycle schedule."""
        return FitConfig(
            epochs=self.sizes.epochs,
            batch_size=self.sizes.batch_size,
            learning_rate=self.sizes.learning_rate,
            scheduler="onecycle",
            monitor="jaccard",
            mode="max",
            **self.shared_fit_settings(),
        )

    def settings(self) -> dict[str, Any]:
        """The loss; augmentation and start if they are given explicitly."""
        settings: dict[str, Any] = {"loss": self.loss}
        if self.augmentation is not None:
            settings["augmentation"] = list(self.augmentation)
        if self.start_from:
            settings["start_from"] = self.start_from
        return settings

    def initialise_weights(self, network: nn.Module) -> None:
        """Load the weights of the run `start_from`."""
        if self.start_from:
            load_weights(self.workspace.runs / self.start_from, network)

    def train(self, run: Path | None = None) -> tuple[nn.Module, list[dict[str, Any]]]:
        """See `Recipe.train`; options that are not given explicitly are taken from a finished run."""
        run = run or self.workspace.run_folder(self.run_name)
        return Recipe.train(self._with_finished_options(run), run)

    def _with_finished_options(self, run: Path) -> "SegmenterRecipe":
        """This recipe, with epochs, augmentation and start of a finished run unless they are given explicitly."""
        if not is_finished(run):
            return self
        finished = read_config(run)
        epochs = finished.get("fit", {}).get("epochs", self.sizes.epochs)
        sizes = {"unet.epochs": epochs} | dict(self.workspace.profile.replaced)
        return replace(
            self,
            workspace=self.workspace.with_sizes(sizes),
            augmentation=finished.get("augmentation") if self.augmentation is None else self.augmentation,
            start_from=self.start_from or finished.get("start_from"),
        )


def score_segmenter(model: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
    """`jaccard` in [0, 1] over all frames of the loader, from one confusion matrix, and `val_loss` (cross-entropy)."""
    losses: list[Tensor] = []
    confusion = segmentation_confusion(model, loader, device, losses=losses)
    return {"jaccard": jaccard_from_confusion(confusion), "val_loss": float(torch.cat(losses).mean())}


@torch.inference_mode()
def segmentation_confusion(
    model: nn.Module, loader: DataLoader, device: torch.device, *, losses: list[Tensor] | None = None
) -> Tensor:
    """Confusion matrix (49, 49) of all pixels of the loader, row = truth.

    losses: a list to which the losses (B,) of each batch's frames are appended
    """
    confusion = torch.zeros(N_CLASSES, N_CLASSES, dtype=torch.int64)
    for batch in loader:
        logits, mask = model(to_float(batch["frame"].to(device))), batch["mask"].to(device)
        confusion += confusion_matrix(logits.argmax(dim=1), mask).cpu()
        if losses is not None:
            pixel_losses = F.cross_entropy(logits, mask.long(), ignore_index=IGNORE_INDEX, reduction="none")
            losses.append(pixel_losses.flatten(1).mean(dim=1).cpu())
    return confusion
