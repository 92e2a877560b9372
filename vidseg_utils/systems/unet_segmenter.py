"""The first half of every system: a network that names the class of each pixel of one frame (U-Net's recipe)."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from vidseg_utils.classes import IGNORE_INDEX, N_CLASSES
from vidseg_utils.data.datasets import FrameDataset
from vidseg_utils.data.transforms import build_augmentation, to_float
from vidseg_utils.metrics.masks import confusion_matrix, jaccard_of
from vidseg_utils.models import build_model
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.training.checkpoint import train_or_load
from vidseg_utils.training.loaders import seed_everything
from vidseg_utils.training.losses import build_loss
from vidseg_utils.training.run_folder import WEIGHTS, is_finished, read_config
from vidseg_utils.training.weights import read_weights

VAL_EVERY = 11  # frames 0 and 11 of each validation video choose the best epoch: neighbours look alike


def train_segmenter(
    workspace: Workspace,
    *,
    run: Path | None = None,
    model: str = "unet",
    loss: str = "cross_entropy",
    epochs: int | None = None,
    augmentation: tuple[str, ...] | None = None,
    start_from: str | None = None,
) -> tuple[nn.Module, list[dict]]:
    """Train a segmenter on the labelled frames of the training split, or load it if its run is finished.

    run: the run folder, by default that of "unet"; model: "unet" or "deeplabv3"; loss: see `training.losses`;
    epochs, augmentation (names of `data.transforms`): the profile's unless given; start_from: name of a finished run of
    the same network, at whatever size of frames, whose weights it begins with. What of these three is not given does
    not matter to a finished run. The best epoch by validation Jaccard is kept. Returns the model and its history, a row
    an epoch.
    """
    profile, run = workspace.profile, run or workspace.run("unet")
    finished = read_config(run) if is_finished(run) else {}
    if epochs is None:
        epochs = finished.get("fit", {}).get("epochs", profile.unet_epochs)
    augmentation = finished.get("augmentation") if augmentation is None else augmentation
    start_from = start_from or finished.get("start_from")
    config = {"n_classes": N_CLASSES}
    if model == "unet":
        config |= {"base_channels": profile.unet_base_channels, "head": profile.unet_head}
    criterion = build_loss(loss)

    def step(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return criterion(network(to_float(batch["frame"])), batch["mask"].long())

    train = FrameDataset(
        workspace.split("train"),
        transform=build_augmentation(*(profile.unet_augmentation if augmentation is None else augmentation)),
        every=profile.unet_frames_every,
    )
    val = FrameDataset(workspace.split("val"), every=VAL_EVERY)
    fit_config = workspace.fit_config(
        epochs=epochs,
        batch_size=profile.unet_batch_size,
        learning_rate=profile.unet_learning_rate,
        scheduler="onecycle",
        monitor="jaccard",
        mode="max",
    )
    seed_everything(profile.seed)  # the first weights, too, are the seed's
    network = build_model(model, **config)
    if start_from and not finished:
        read_weights(workspace.runs / start_from / WEIGHTS, network)
    return train_or_load(
        network,
        train,
        val,
        step=step,
        validate=score_segmenter,
        config=fit_config,
        run=run,
        description=workspace.describe(
            model,
            config,
            task="segmentation",
            loss=loss,
            **({} if augmentation is None else {"augmentation": list(augmentation)}),
            **({"start_from": start_from} if start_from else {}),
        ),
    )


def score_segmenter(model: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
    """`jaccard` in [0, 1] over all frames of the loader, from one confusion matrix, and `val_loss` (cross-entropy)."""
    losses: list[Tensor] = []
    confusion = segmentation_confusion(model, loader, device, losses=losses)
    return {"jaccard": jaccard_of(confusion), "val_loss": float(torch.cat(losses).mean())}


@torch.inference_mode()
def segmentation_confusion(
    model: nn.Module, loader: DataLoader, device: torch.device, *, losses: list[Tensor] | None = None
) -> Tensor:
    """(49, 49) counts of pixels over all frames of the loader, row = truth; `losses` collects each frame's loss."""
    confusion = torch.zeros(N_CLASSES, N_CLASSES, dtype=torch.int64)
    for batch in loader:
        logits, mask = model(to_float(batch["frame"].to(device))), batch["mask"].to(device)
        confusion += confusion_matrix(logits.argmax(dim=1), mask).cpu()
        if losses is not None:
            pixel_losses = F.cross_entropy(logits, mask.long(), ignore_index=IGNORE_INDEX, reduction="none")
            losses.append(pixel_losses.flatten(1).mean(dim=1).cpu())
    return confusion
