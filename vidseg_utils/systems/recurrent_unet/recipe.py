"""The recipe of the recurrent U-Net, a segmenter with memory, on generated clips or on Cityscapes.

As published: sequences of 5 frames with the labelled frame at a random position, accumulated gradients, Adam. Options
for what its authors left as future work: frame skipping, temporal consistency, mixup, starting from a trained model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from vidseg_utils.classes import IGNORE_INDEX, N_CLASSES
from vidseg_utils.data import (
    N_CITYSCAPES_CLASSES,
    CityscapesSequences,
    ClipSequences,
    check_labels,
    dataset_identity,
    to_float,
)
from vidseg_utils.data.sources.cityscapes import CLASS_NAMES as CITYSCAPES_CLASS_NAMES
from vidseg_utils.metrics import SequenceScore
from vidseg_utils.models import RecurrentUNet
from vidseg_utils.profiles import Sizes, by_profile
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.task import CLIP_FRAMES
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.losses import CrossEntropyLoss, still_pixels, temporal_consistency
from vidseg_utils.training.weights import load_model

VAL_SEQUENCE_STEP = 10  # every tenth validation sequence is used to choose the best epoch


@dataclass(frozen=True)
class RecurrentUNetSizes(Sizes, group="recurrent"):
    """Sizes of the recurrent U-Net and of its training."""

    size: str = by_profile("small_shallow", "small_deep", "original")  # a key of `models.RECURRENT_SIZES`
    head: str = by_profile("factored", "factored", "flat")  # as for U-Net
    length: int = by_profile(3, 5, 5)  # frames of a training sequence
    val_length: int = by_profile(4, 12, 12)
    frame_epochs: int = by_profile(1, 14, 100)  # on single frames, before the sequences
    frame_windows: int = by_profile(1, 8, 1)  # times that such an epoch uses each clip, with another random frame
    frame_learning_rate: float = by_profile(1e-3, 8e-3, 3e-4)
    epochs: int = by_profile(1, 5, 100)  # on sequences
    learning_rate: float = by_profile(1e-3, 1e-3, 3e-4)
    batch_size: int = by_profile(2, 8, 4)  # sequences
    accumulation: int = by_profile(1, 1, 4)  # batches per step
    scheduler: str = by_profile("onecycle", "onecycle", "plateau")
    # names of `data.transforms.AUGMENTATIONS`
    augmentation: tuple[str, ...] = by_profile(("hflip", "object_crop"), ("hflip", "object_crop"), ("hflip", "crop"))
    cityscapes_height: int = by_profile(64, 128, 512)  # working height of the frames; the width is twice the height


@dataclass(kw_only=True)
class RecurrentUNetRecipe(Recipe):
    """A recurrent U-Net, trained on sequences of generated clips (49 classes) or of Cityscapes (20 classes).

    The validation mIoU chooses the best epoch.
    """

    block: str = "vanilla"  # or "resnet", "convnext"
    cell: str = "gru"  # or "rnn"; "none" has no memory (the frame-wise baseline)
    labels: str = "all"  # labelled frames of each generated clip: "all" or "one"
    noise: float = 0.0  # standard deviation of sensor noise added to generated clips, in [0, 1]
    frame_step: int = 1  # step between the frames of a sequence (frame skipping)
    consistency: float = 0.0  # weight of the temporal-consistency loss
    mixup: float = 0.0  # sequences are mixed in pairs with a share from Beta(mixup, mixup); 0: no mixup
    start_from: str | None = None  # run of a network without a cell, with the initial weights, see `for_single_frames`
    seed: int = 0  # not that of the profile: lessons train several seeds on the same data
    cityscapes: Path | str | None = None  # root of Cityscapes, to train on it instead of the clips
    windows: int = 1  # times that an epoch uses each clip, each time with another random start

    task = "video segmentation"

    def __post_init__(self) -> None:
        if not (0 <= self.consistency < float("inf") and 0 <= self.mixup < float("inf")):
            raise ValueError(f"consistency {self.consistency} and mixup {self.mixup} must be numbers of at least 0")
        self.sizes = RecurrentUNetSizes.for_profile(self.workspace.profile)
        self.criterion = CrossEntropyLoss()

    @property
    def run_name(self) -> str:
        """The training on single frames has its own run folder."""
        return "recurrent_frames" if self.sizes.length == 1 else "recurrent_unet"

    def for_single_frames(self) -> "RecurrentUNetRecipe":
        """The recipe that trains the same network without a cell on single labelled frames, before the sequences.

        A frame costs a fraction of the time of a sequence. Pass the name of this run to `start_from`.
        """
        sizes = self.sizes
        workspace = self.workspace.with_sizes(
            {
                "recurrent.length": 1,
                "recurrent.val_length": sizes.length,  # shorter, because there is no memory
                "recurrent.epochs": sizes.frame_epochs,
                "recurrent.learning_rate": sizes.frame_learning_rate,
            }
        )
        single = {"cell": "none", "frame_step": 1, "consistency": 0.0, "mixup": 0.0, "start_from": None}
        return replace(self, workspace=workspace, windows=sizes.frame_windows, **single)

    def model(self) -> tuple[str, dict[str, Any]]:
        """The recurrent U-Net at the size of the profile."""
        return "recurrent_unet", {
            "block": self.block,
            "cell": self.cell,
            "size": self.sizes.size,
            "n_classes": N_CITYSCAPES_CLASSES if self.cityscapes else N_CLASSES,
            "head": "flat" if self.cityscapes else self.sizes.head,
        }

    def sequences(self) -> tuple[Dataset, CityscapesSequences | ClipSequences]:
        """Training sequences, with the labelled frame at a random position, and all validation sequences."""
        from vidseg_utils.data import build_augmentation  # here, because torchvision takes two seconds to import

        sizes, transform = self.sizes, build_augmentation(*self.sizes.augmentation)
        if self.cityscapes:
            shared = {"step": self.frame_step, "size": (sizes.cityscapes_height, 2 * sizes.cityscapes_height)}
            return (
                CityscapesSequences(
                    self.cityscapes, "train", sizes.length, random_position=True, transform=transform, **shared
                ),
                CityscapesSequences(self.cityscapes, "val", sizes.val_length, **shared),
            )
        train, val = self.workspace.split("train"), self.workspace.split("val")
        for labelled in (train, val):
            check_labels(labelled, frames=range(CLIP_FRAMES))
        train_sequences = ClipSequences(
            train,
            sizes.length,
            step=self.frame_step,
            labels=self.labels,
            random_start=True,
            noise=self.noise,
            transform=transform,
        )
        return train_sequences, ClipSequences(val, sizes.val_length, noise=self.noise)

    def data(self) -> tuple[Dataset, Dataset]:
        """The training sequences, `windows` times, and every VAL_SEQUENCE_STEP-th validation sequence."""
        train, val = self.sequences()
        return ConcatDataset([train] * self.windows), Subset(val, range(0, len(val), VAL_SEQUENCE_STEP))

    def data_identity(self) -> dict[str, str]:
        """The identity of the clips or of Cityscapes."""
        return dataset_identity(self.cityscapes or self.workspace.root)

    def class_names(self) -> Sequence[str]:
        """The names of the classes of the clips or of Cityscapes."""
        return CITYSCAPES_CLASS_NAMES if self.cityscapes else super().class_names()

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Cross-entropy of the labelled frames, with mixup and temporal consistency if they are switched on.

        batch: frames (B, T, 3, H, W) uint8, masks (B, T, H, W) uint8, 255 = no label
        """
        frames, masks, share = to_float(batch["frames"]), batch["masks"].long(), 1.0
        if self.mixup:  # Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018)
            share = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
            frames = share * frames + (1 - share) * frames.roll(1, dims=0)
        logits, _ = network(frames)
        loss = share * self._cross_entropy(logits, masks)
        if self.mixup:
            loss = loss + (1 - share) * self._cross_entropy(logits, masks.roll(1, dims=0))
        if self.consistency:
            loss = loss + self.consistency * temporal_consistency(logits, frames)
        return loss

    def _cross_entropy(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Of the labelled frames. logits: (B, T, K, H, W); masks: (B, T, H, W) -> scalar."""
        labelled = (masks != IGNORE_INDEX).any(dim=-1).any(dim=-1).nonzero(as_tuple=True)  # (B, T)
        return self.criterion(logits[labelled], masks[labelled])

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """The metrics of `SequenceScore`."""
        return score_sequences(network, loader, device).result()

    def fit_config(self) -> FitConfig:
        """Adam with accumulated gradients."""
        return FitConfig(
            epochs=self.sizes.epochs,
            batch_size=self.sizes.batch_size,
            accumulation_steps=self.sizes.accumulation,
            learning_rate=self.sizes.learning_rate,
            scheduler=self.sizes.scheduler,
            monitor="miou",
            mode="max",
            **self.shared_fit_settings(),
        )

    def settings(self) -> dict[str, Any]:
        """The options of the recipe, and the kind of data."""
        names = ("block", "cell", "labels", "noise", "frame_step", "consistency", "mixup", "start_from", "seed")
        options = {name: getattr(self, name) for name in names}
        return {"recipe": options, "data": "cityscapes" if self.cityscapes else "clips"}

    def initialise_weights(self, network: nn.Module) -> None:
        """Load the weights of the run `start_from`, whose network has no cell."""
        if not self.start_from:
            return
        frame_wise = load_model(self.workspace.runs / self.start_from)
        if not isinstance(frame_wise, RecurrentUNet):
            raise ValueError(f"run {self.start_from} holds a {type(frame_wise).__name__}, not a recurrent U-Net")
        assert isinstance(network, RecurrentUNet)
        network.start_from(frame_wise)


@torch.inference_mode()
def score_sequences(model: nn.Module, loader: DataLoader, device: torch.device) -> SequenceScore:
    """Score the segmentation of all sequences of the loader. Raises ValueError for an empty loader."""
    score = None
    for batch in loader:
        frames = to_float(batch["frames"].to(device))
        logits, _ = model(frames)
        score = score or SequenceScore(logits.shape[2])
        score.update(logits.argmax(dim=2), batch["masks"], still_pixels(frames))
    if score is None:
        raise ValueError("there are no sequences to score")
    return score
