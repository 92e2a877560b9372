"""Segment with memory: the recurrent U-Net's recipe, on generated clips or on Cityscapes.

As published: sequences of 5 frames with the labelled one at a random place, accumulated gradients, Adam; and as
switches what its authors left for later: frame skipping, temporal consistency, mixup, starting from a trained model.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from vidseg_utils.classes import IGNORE_INDEX, N_CLASSES
from vidseg_utils.data.sequences import ClipSequences
from vidseg_utils.data.sources.cityscapes import N_CITYSCAPES_CLASSES, CityscapesSequences
from vidseg_utils.data.transforms import build_augmentation, to_float
from vidseg_utils.metrics.sequences import SequenceScore
from vidseg_utils.models import build_model
from vidseg_utils.models.recurrent_unet import RecurrentUNet
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.training.checkpoint import train_or_load
from vidseg_utils.training.loaders import seed_everything
from vidseg_utils.training.losses import CrossEntropy, still_pixels, temporal_consistency
from vidseg_utils.training.weights import load_model

VAL_EVERY = 10  # of the validation sequences that many-th choose the best epoch


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how; sizes and epochs are the profile's."""

    block: str = "vanilla"  # or "resnet", "convnext"
    cell: str = "gru"  # or "rnn"; "none" has no memory: the frame-wise baseline
    size: str | None = None  # small_shallow, small_deep or original; None: the profile's
    labels: str = "all"  # of each generated clip, or "one" frame's
    noise: float = 0.0  # of the sensor, standard deviation in [0, 1], on generated clips
    step: int = 1  # take every step-th frame: frame skipping
    consistency: float = 0.0  # weight of the temporal-consistency loss
    mixup: float = 0.0  # sequences are mixed in pairs by Beta(mixup, mixup); 0: not
    start_from: str | None = None  # run of a trained model without a cell to start from, see `train_on_frames`
    seed: int = 0


def train_recurrent_unet(
    workspace: Workspace,
    recipe: Recipe | None = None,
    *,
    run: Path | None = None,
    cityscapes: Path | str | None = None,
    windows: int = 1,
) -> tuple[RecurrentUNet, list[dict]]:
    """Train a recurrent U-Net on sequences, or load it if its run is finished.

    run: the run folder, by default that of "recurrent_unet"; cityscapes: root of that data set, to train on it (20
    classes) in place of the workspace's clips (49); windows: how often an epoch takes each clip, at another random
    place every time. The best epoch by validation mIoU is kept. Returns the model and its history, a row an epoch.
    """
    recipe, profile = recipe or Recipe(), workspace.profile
    train, val = build_sequences(workspace, recipe, cityscapes=cityscapes)
    config = {
        "block": recipe.block,
        "cell": recipe.cell,
        "size": recipe.size or profile.recurrent_size,
        "n_classes": N_CITYSCAPES_CLASSES if cityscapes else N_CLASSES,
        "head": "flat" if cityscapes else profile.recurrent_head,
    }
    fit_config = workspace.fit_config(
        epochs=profile.recurrent_epochs,
        batch_size=profile.recurrent_batch_size,
        accumulation_steps=profile.recurrent_accumulation,
        learning_rate=profile.recurrent_learning_rate,
        scheduler=profile.recurrent_scheduler,
        seed=recipe.seed,
        monitor="miou",
        mode="max",
    )
    seed_everything(recipe.seed)  # the first weights, too, are the seed's
    model = build_model("recurrent_unet", **config)
    if recipe.start_from:
        model.start_from(load_model(workspace.runs / recipe.start_from))
    return train_or_load(
        model,
        ConcatDataset([train] * windows),
        Subset(val, range(0, len(val), VAL_EVERY)),
        step=SequenceStep(consistency=recipe.consistency, mixup=recipe.mixup),
        validate=lambda network, loader, device: score_sequences(network, loader, device).result(),
        config=fit_config,
        run=run or workspace.run("recurrent_unet"),
        description=workspace.describe(
            "recurrent_unet",
            config,
            task="video segmentation",
            recipe=asdict(recipe),
            data="cityscapes" if cityscapes else "clips",
        ),
    )


def train_on_frames(
    workspace: Workspace, recipe: Recipe | None = None, *, run: Path | None = None, cityscapes: Path | str | None = None
) -> str:
    """Train the network without a cell on labelled frames alone, for `Recipe.start_from`; returns its run's name.

    A frame costs a fraction of a sequence, so what can be learned from it is learned first. The recipe's block, size,
    labels, noise and seed count; run: the run folder, by default that of "recurrent_frames".
    """
    recipe, profile, run = recipe or Recipe(), workspace.profile, run or workspace.run("recurrent_frames")
    frames = replace(
        profile,
        recurrent_length=1,
        recurrent_val_length=profile.recurrent_length,  # shorter: there is nothing to remember
        recurrent_epochs=profile.recurrent_frame_epochs,
        recurrent_learning_rate=profile.recurrent_frame_learning_rate,
    )
    recipe = replace(recipe, cell="none", step=1, consistency=0.0, mixup=0.0, start_from=None)
    workspace, windows = replace(workspace, profile=frames), profile.recurrent_frame_windows
    train_recurrent_unet(workspace, recipe, run=run, cityscapes=cityscapes, windows=windows)
    return run.relative_to(workspace.runs).as_posix()


def build_sequences(
    workspace: Workspace, recipe: Recipe, *, cityscapes: Path | str | None = None
) -> tuple[Dataset, Dataset]:
    """Training sequences, with the label at a random place, and validation sequences, all on the same footing."""
    profile = workspace.profile
    transform = build_augmentation(*profile.recurrent_augmentation)
    if cityscapes:
        shared = {"step": recipe.step, "size": (profile.cityscapes_height, 2 * profile.cityscapes_height)}
        length, val_length = profile.recurrent_length, profile.recurrent_val_length
        return (
            CityscapesSequences(cityscapes, "train", length, random_place=True, transform=transform, **shared),
            CityscapesSequences(cityscapes, "val", val_length, **shared),
        )
    train = ClipSequences(
        workspace.split("train"),
        profile.recurrent_length,
        step=recipe.step,
        labels=recipe.labels,
        random_start=True,
        noise=recipe.noise,
        transform=transform,
    )
    return train, ClipSequences(workspace.split("val"), profile.recurrent_val_length, noise=recipe.noise)


class SequenceStep:
    """(model, batch of frames and masks) -> the loss: cross-entropy of the labelled frames, and what is added to it."""

    def __init__(self, *, consistency: float = 0.0, mixup: float = 0.0):
        if not (0 <= consistency < float("inf") and 0 <= mixup < float("inf")):
            raise ValueError(f"consistency {consistency} and mixup {mixup} must be numbers of at least 0")
        self.consistency, self.mixup = consistency, mixup
        self.criterion = CrossEntropy()

    def __call__(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """batch: frames (B, T, 3, H, W) uint8, masks (B, T, H, W) uint8, 255 = no label -> scalar."""
        frames, masks, share = to_float(batch["frames"]), batch["masks"].long(), 1.0
        if self.mixup:  # Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018)
            share = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
            frames = share * frames + (1 - share) * frames.roll(1, dims=0)
        logits, _ = network(frames)
        loss = share * self._supervised(logits, masks)
        if self.mixup:
            loss = loss + (1 - share) * self._supervised(logits, masks.roll(1, dims=0))
        if self.consistency:
            loss = loss + self.consistency * temporal_consistency(logits, frames)
        return loss

    def _supervised(self, logits: Tensor, masks: Tensor) -> Tensor:
        labelled = (masks != IGNORE_INDEX).any(dim=-1).any(dim=-1)  # (B, T)
        return self.criterion(logits[labelled], masks[labelled])


@torch.inference_mode()
def score_sequences(model: nn.Module, loader: DataLoader, device: torch.device) -> SequenceScore:
    """Segment every sequence of the loader from zero memory on, and score it."""
    score = None
    for batch in loader:
        frames = to_float(batch["frames"].to(device))
        logits, _ = model(frames)
        score = score or SequenceScore(logits.shape[2])
        score.update(logits.argmax(dim=2), batch["masks"], still_pixels(frames))
    return score
