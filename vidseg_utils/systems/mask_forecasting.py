"""How SimVP learns to forecast masks: media, losses, which masks it sees, and what chooses its best epoch."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data.datasets import MaskDataset
from vidseg_utils.data.layout import PAST
from vidseg_utils.evaluation.masks import confusion_matrix, jaccard_of
from vidseg_utils.models import build_model, rollout
from vidseg_utils.models.blocks import check_choice
from vidseg_utils.models.mask_simvp import decide, only_seen, own_channels, seen_ids
from vidseg_utils.profiles import Profile
from vidseg_utils.systems.pseudo_labels import label_split
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.training.checkpoint import load_model, train_or_load
from vidseg_utils.training.config import FitConfig, ScheduledSampling
from vidseg_utils.training.loaders import seed_everything
from vidseg_utils.training.losses import build_loss

TRAIN_ON = ("true", "predicted")  # which masks stand for the past
BACKGROUND_WEIGHT = 0.35  # see `mask_loss`


def mask_loss(medium: str, last_frame_weight: float) -> Callable[[Tensor, Tensor], Tensor]:
    """MSE for class numbers, cross-entropy for the others; the last frame's loss counts so many times.

    The Jaccard index asks for a pixel as soon as its class is likelier than J / (1 + J), 0.2 to 0.3 here, not 0.5: so
    "objects" weighs the background by BACKGROUND_WEIGHT. "one_hot" is as published.
    """
    if medium == "number":
        mse = build_loss("mse", last_frame_weight=last_frame_weight)
        return lambda numbers, masks: mse(numbers, masks.where(masks < N_CLASSES, 0)[:, :, None].float())
    if medium == "one_hot":
        return build_loss("cross_entropy", last_frame_weight=last_frame_weight)

    def weighted(logits: Tensor, channels: Tensor) -> Tensor:
        weights = [BACKGROUND_WEIGHT] + [1.0] * (logits.shape[2] - 1)
        return build_loss("cross_entropy", last_frame_weight=last_frame_weight, class_weights=weights)(logits, channels)

    return weighted


def train_mask_simvp(
    workspace: Workspace,
    *,
    run: Path | None = None,
    medium: str = "objects",
    train_on: str = "predicted",
    unlabeled: bool = True,
    last_frame_weight: float = 3.0,
    configuration: str | None = None,
    translator: str | None = None,
    ahead: int = PAST,
    epochs: int | None = None,
) -> tuple[nn.Module, list[dict]]:
    """Train SimVP from masks 0..10 to masks 11..21, or load it if its run is finished.

    run: the run folder, by default that of "mask_objects" and so on; medium: "number" (MSE), "one_hot" or "objects"
    (cross-entropy); train_on: past masks that are "true" or "predicted" by U-Net, with a true future; unlabeled: with
    predicted masks, learn from the unlabelled videos too, whose future are pseudo-labels
    configuration: SimVP's sizes, such as "4_8_64_256_7", see `parse_configuration`; translator: "inception" or "gsta";
    these and epochs are the profile's unless given
    ahead: 11 frames at once, or fewer at a time, then fed back with scheduled sampling
    The best epoch by validation Jaccard of frame 21 is kept. Returns the model and its history, a row an epoch.
    """
    check_choice("train_on", train_on, TRAIN_ON)
    profile = workspace.profile
    own = medium == "objects"  # the published media take the sizes of SimVP on frames
    config = {
        "medium": medium,
        **(parse_configuration(configuration) if configuration else default_sizes(profile, medium)),
        "translator": translator or ("gsta" if own else "inception"),
        "shrink": profile.mask_shrink,
        "residual": own or profile.simvp_residual,
    }
    criterion = mask_loss(medium, last_frame_weight)
    fit_config = FitConfig(
        epochs=epochs or (profile.mask_epochs if own else profile.simvp_epochs),
        batch_size=profile.mask_batch_size if own else profile.simvp_batch_size,
        learning_rate=profile.mask_learning_rate if own else profile.simvp_learning_rate,
        scheduler="onecycle",
        precision=profile.precision,
        clip_norm=1.0,
        num_workers=profile.workers,
        seed=profile.seed,
        monitor="jaccard",
        mode="max",
        channels_last=True,
    )
    sampling = ScheduledSampling(fit_config.epochs)

    def step(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        past, future = batch["past"], batch["future"]
        if torch.rand(()) < 0.5:  # the camera looks along the world's plane of symmetry
            past, future = past.flip(-1), future.flip(-1)
        p = sampling.truth_probability
        loss, _ = forecast_loss(
            network, past, future, medium=medium, criterion=criterion, ahead=ahead, truth_probability=p
        )
        return loss

    train, val = mask_data(workspace, train_on=train_on, unlabeled=unlabeled)
    seed_everything(profile.seed)  # the first weights, too, are the seed's
    return train_or_load(
        build_model("mask_simvp", **config),
        train,
        val,
        step=step,
        validate=partial(score_masks, medium=medium, criterion=criterion, ahead=ahead),
        config=fit_config,
        run=run or workspace.run(f"mask_{medium}"),
        on_epoch=sampling.on_epoch,
        description={
            "model": {"name": "mask_simvp", "config": config},
            "task": "mask forecasting",
            "train_on": train_on,
            "unlabeled": unlabeled,
            "last_frame_weight": last_frame_weight,
            "ahead": ahead,
            "profile": profile.name,
            "size": [profile.height, profile.width],
        },
    )


def parse_configuration(text: str) -> dict[str, int]:
    """The sizes of SimVP from the short form of the published tables, N_S_N_T_hid_S_hid_T_groups: "4_8_64_256_7"."""
    names = ("n_s", "n_t", "hid_s", "hid_t", "groups")
    sizes = text.split("_")
    if len(sizes) != len(names) or not all(size.isdecimal() for size in sizes):
        raise ValueError(f"configuration {text!r} is not of the form N_S_N_T_hid_S_hid_T_groups, such as 4_8_64_256_7")
    return dict(zip(names, map(int, sizes), strict=True))


def default_sizes(profile: Profile, medium: str) -> dict[str, int]:
    """The sizes of SimVP that the profile has for a medium."""
    if medium == "objects":
        return parse_configuration(profile.mask_configuration)
    names = ("n_s", "n_t", "hid_s", "hid_t")
    return {name: getattr(profile, f"simvp_{name}") for name in names}


def mask_data(workspace: Workspace, *, train_on: str, unlabeled: bool) -> tuple[Dataset, Dataset]:
    """Training and validation clips of masks: a past that is true or predicted, and a true future.

    unlabeled: with predicted masks, add the unlabelled videos, whose future is predicted too.
    """
    videos = {split: workspace.split(split) for split in ("train", "val")}
    if train_on == "true":
        train, val = (MaskDataset(split.masks, split.masks) for split in videos.values())
        return train, val
    segmenter, device = load_model(workspace.run("unet"), device=workspace.device), workspace.device
    train, val = (
        MaskDataset(label_split(segmenter, split, n_frames=PAST, device=device), split.masks)
        for split in videos.values()
    )
    if unlabeled and workspace.profile.unlabeled:
        pseudo = label_split(segmenter, workspace.split("unlabeled"), device=device)
        train = ConcatDataset([train, MaskDataset(pseudo, pseudo)])
    return train, val


@torch.inference_mode()
def score_masks(
    model: nn.Module, loader: DataLoader, device: torch.device, *, medium: str, criterion: Callable, ahead: int = PAST
) -> dict[str, float]:
    """`jaccard` in [0, 1] of frame 21 over all clips of the loader, from one confusion matrix, and `val_loss`."""
    confusion, total, n_clips = torch.zeros(N_CLASSES, N_CLASSES, dtype=torch.int64), 0.0, 0
    for batch in loader:
        past, future = batch["past"].to(device), batch["future"].to(device)
        loss, mask = forecast_loss(model, past, future, medium=medium, criterion=criterion, ahead=ahead)
        total, n_clips = total + float(loss) * len(past), n_clips + len(past)
        confusion += confusion_matrix(mask.cpu(), future[:, -1].cpu())
    return {"jaccard": jaccard_of(confusion), "val_loss": total / n_clips}


def forecast_loss(
    model: nn.Module,
    past: Tensor,
    future: Tensor,
    *,
    medium: str,
    criterion: Callable[[Tensor, Tensor], Tensor],
    ahead: int = PAST,
    truth_probability: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """past, future: (B, 11, H, W) -> the loss, and the mask (B, H, W) of frame 21.

    "objects" answer for the classes of the past alone, so pixels of any other class don't count.
    """
    if medium == "objects" and ahead == PAST:
        logits, class_ids = model(past, own=True)
        mask = class_ids.gather(1, logits[:, -1].argmax(dim=1).flatten(1)).view(past[:, -1].shape)
        return criterion(logits, own_channels(future, class_ids)), mask
    scores = forecast_scores(model, past, ahead=ahead, truth=future, truth_probability=truth_probability)
    target = own_channels(future, seen_ids(past)) if medium == "objects" else future
    return criterion(scores, target), _last_mask(scores, past)


def forecast_scores(
    model: nn.Module, past: Tensor, *, ahead: int = PAST, truth: Tensor | None = None, truth_probability: float = 0.0
) -> Tensor:
    """past: (B, 11, H, W) class ids -> (B, 11, 49 or 1, H, W): all at once, or `ahead` masks at a time, fed back.

    truth: (B, 11, H, W), fed instead with probability `truth_probability` (unknown pixels as background).
    """
    if ahead == PAST:
        return model(past)
    truth = None if truth is None else truth.where(truth < N_CLASSES, 0)
    return rollout(model, past, PAST, ahead=ahead, feedback=decide, truth=truth, truth_probability=truth_probability)


def forecast_last(model: nn.Module, past: Tensor, *, ahead: int = PAST) -> Tensor:
    """past: (B, 11, H, W) class ids -> (B, H, W), those of frame 21; logits go through the class filter first."""
    return _last_mask(model(past, last=1) if ahead == PAST else forecast_scores(model, past, ahead=ahead), past)


def _last_mask(scores: Tensor, past: Tensor) -> Tensor:
    last = scores[:, -1:]
    return decide(last if last.shape[2] == 1 else only_seen(last, past))[:, 0]
