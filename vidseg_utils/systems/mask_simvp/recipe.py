"""How SimVP learns to forecast masks: representations, losses, which masks it sees, and what chooses its best epoch."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from vidseg_utils.checks import check_choice
from vidseg_utils.classes import BACKGROUND, N_CLASSES
from vidseg_utils.data.datasets import MaskDataset
from vidseg_utils.metrics.masks import confusion_matrix, jaccard_of
from vidseg_utils.models import build_model, checkpointed, rollout
from vidseg_utils.models.location_maps import Places, moved, paint, place_losses
from vidseg_utils.models.mask_simvp import decide, only_seen
from vidseg_utils.profiles import Profile
from vidseg_utils.systems.pseudo_labels import label_split
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import PAST_FRAMES
from vidseg_utils.training.checkpoint import train_or_load
from vidseg_utils.training.fit_config import ScheduledSampling
from vidseg_utils.training.loaders import seed_everything
from vidseg_utils.training.losses import build_loss, mean_of_frames
from vidseg_utils.training.weights import load_model

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
    return partial(mean_of_frames, last_frame_weight=last_frame_weight)


def train_mask_simvp(
    workspace: Workspace,
    *,
    run: Path | None = None,
    representation: str = "objects",
    train_on: str = "predicted",
    unlabeled: bool = True,
    last_frame_weight: float = 3.0,
    configuration: str | None = None,
    translator: str | None = None,
    ahead: int = PAST_FRAMES,
    epochs: int | None = None,
) -> tuple[nn.Module, list[dict]]:
    """Train SimVP from masks 0..10 to masks 11..21, or load it if its run is finished.

    run: the run folder, by default that of "mask_objects" and so on
    representation: "number" (MSE), "one_hot" or "objects" (cross-entropy)
    train_on: past masks that are "true" or "predicted" by U-Net, with a true future; unlabeled: with
    predicted masks, learn from the unlabelled videos too, whose future are pseudo-labels
    configuration: SimVP's sizes, such as "4_8_64_256_7", see `parse_configuration`; translator: "inception" or "gsta";
    these and epochs are the profile's unless given
    ahead: 11 frames at once, or fewer at a time, then fed back with scheduled sampling
    The best epoch is kept, as published by the validation loss first and then by the Jaccard index of frame 21, see
    `loss_then_jaccard`. Returns the model and its history, a row an epoch.
    """
    check_choice("train_on", train_on, TRAIN_ON)
    profile = workspace.profile
    own = representation == "objects"  # the published representations take the sizes of SimVP on frames
    config = {
        "representation": representation,
        **(parse_configuration(configuration) if configuration else default_sizes(profile, representation)),
        "translator": translator or ("gsta" if own else "inception"),
        "shrink": profile.mask_cell if own else profile.mask_shrink,
        "residual": own or profile.simvp_residual,
        **({"ahead": ahead} if own and ahead != PAST_FRAMES else {}),
    }
    criterion = mask_loss(representation, last_frame_weight)
    fit_config = workspace.fit_config(
        epochs=epochs or (profile.mask_epochs if own else profile.simvp_epochs),
        batch_size=profile.mask_batch_size if own else profile.simvp_batch_size,
        learning_rate=profile.mask_learning_rate if own else profile.simvp_learning_rate,
        scheduler="onecycle",
        clip_norm=1.0,
        monitor="loss_then_jaccard",
    )
    sampling = ScheduledSampling(fit_config.epochs)

    def step(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        past, future = batch["past"], batch["future"]
        if torch.rand(()) < 0.5:  # the camera looks along the world's plane of symmetry
            past, future = past.flip(-1), future.flip(-1)
        p = sampling.truth_probability
        loss, _ = forecast_loss(
            network, past, future, representation=representation, criterion=criterion, ahead=ahead, truth_probability=p
        )
        return loss

    train, val = mask_data(workspace, train_on=train_on, unlabeled=unlabeled)
    seed_everything(profile.seed)  # the first weights, too, are the seed's
    return train_or_load(
        build_model("mask_simvp", **config),
        train,
        val,
        step=step,
        validate=partial(score_masks, representation=representation, criterion=criterion, ahead=ahead),
        config=fit_config,
        run=run or workspace.run(f"mask_{representation}"),
        on_epoch=sampling.on_epoch,
        description=workspace.describe(
            "mask_simvp",
            config,
            task="mask forecasting",
            train_on=train_on,
            unlabeled=unlabeled,
            last_frame_weight=last_frame_weight,
            ahead=ahead,
        ),
    )


def parse_configuration(text: str) -> dict[str, int]:
    """The sizes of SimVP from the short form of the published tables, N_S_N_T_hid_S_hid_T_groups: "4_8_64_256_7"."""
    names = ("n_s", "n_t", "hid_s", "hid_t", "groups")
    sizes = text.split("_")
    if len(sizes) != len(names) or not all(size.isdecimal() for size in sizes):
        raise ValueError(f"configuration {text!r} is not of the form N_S_N_T_hid_S_hid_T_groups, such as 4_8_64_256_7")
    return dict(zip(names, map(int, sizes), strict=True))


def default_sizes(profile: Profile, representation: str) -> dict[str, int]:
    """The sizes of SimVP that the profile has for a representation."""
    if representation == "objects":
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
        MaskDataset(label_split(segmenter, split, n_frames=PAST_FRAMES, device=device), split.masks)
        for split in videos.values()
    )
    if unlabeled and workspace.profile.unlabeled:
        pseudo = label_split(segmenter, workspace.split("unlabeled"), device=device)
        train = ConcatDataset([train, MaskDataset(pseudo, pseudo)])
    return train, val


@torch.inference_mode()
def score_masks(
    model: nn.Module,
    loader: DataLoader,
    device: torch.device,
    *,
    representation: str,
    criterion: Callable,
    ahead: int = PAST_FRAMES,
) -> dict[str, float]:
    """`jaccard` in [0, 1] of frame 21 over all clips of the loader, from one confusion matrix, and `val_loss`."""
    confusion, total, n_clips = torch.zeros(N_CLASSES, N_CLASSES, dtype=torch.int64), 0.0, 0
    for batch in loader:
        past, future = batch["past"].to(device), batch["future"].to(device)
        loss, forecast = forecast_loss(
            model, past, future, representation=representation, criterion=criterion, ahead=ahead
        )
        total, n_clips = total + float(loss) * len(past), n_clips + len(past)
        confusion += confusion_matrix(last_mask(forecast, past).cpu(), future[:, -1].cpu())
    jaccard, loss = jaccard_of(confusion), total / n_clips
    return {"jaccard": jaccard, "val_loss": loss, "loss_then_jaccard": loss_then_jaccard(loss, jaccard)}


def loss_then_jaccard(loss: float, jaccard: float) -> float:
    """A number that is smaller for a smaller loss; losses with the same first two digits are a tie, which the larger
    Jaccard index in [0, 1] decides: (0.328, 0.24) comes before (0.326, 0.20), both after (0.31, 0.1).
    """
    last_digit = 10.0 ** (math.floor(math.log10(max(loss, 1e-12))) - 1)
    return (round(loss / last_digit) + 1 - jaccard) * last_digit


def forecast_loss(
    model: nn.Module,
    past: Tensor,
    future: Tensor,
    *,
    representation: str,
    criterion: Callable[..., Tensor],
    ahead: int = PAST_FRAMES,
    truth_probability: float = 0.0,
) -> tuple[Tensor, Tensor | Places]:
    """past, future: (B, 11, H, W) -> the loss by `mask_loss`, and the forecast, which `last_mask` turns into a mask."""
    truth, model = future.where(future < N_CLASSES, BACKGROUND), model if ahead == PAST_FRAMES else checkpointed(model)
    how = {"ahead": ahead, "truth": truth, "truth_probability": truth_probability}
    if representation == "objects":
        steps = forecast_places(model, past, **how)
        losses = [place_losses(*step) for step in zip(steps, future.split(ahead, dim=1), strict=True)]
        return criterion(torch.cat(losses)), steps[-1]
    scores = forecast_scores(model, past, **how)
    return criterion(scores, future), scores


def forecast_scores(
    model: nn.Module,
    past: Tensor,
    *,
    ahead: int = PAST_FRAMES,
    truth: Tensor | None = None,
    truth_probability: float = 0.0,
) -> Tensor:
    """past: (B, 11, H, W) class ids -> (B, 11, 49 or 1, H, W): all at once, or `ahead` masks at a time, fed back.

    truth: (B, 11, H, W) class ids, fed instead with probability `truth_probability`
    """
    if ahead == PAST_FRAMES:
        return model(past)
    how = {"ahead": ahead, "truth": truth, "truth_probability": truth_probability}
    if getattr(model, "representation", None) == "objects":
        return torch.cat([paint(places) for places in forecast_places(model, past, **how)], dim=1)
    return rollout(model, past, PAST_FRAMES, feedback=decide, **how)


def forecast_places(
    model: nn.Module,
    past: Tensor,
    *,
    ahead: int = PAST_FRAMES,
    truth: Tensor | None = None,
    truth_probability: float = 0.0,
) -> list[Places]:
    """As `forecast_scores`, for "objects": where they will be, in steps of `ahead` frames up to frame 21.

    What is fed back is each object's last mask, moved: painted chances would grow from step to step.
    """
    if ahead == PAST_FRAMES:
        return [model(past, as_places=True)]
    steps: list[Places] = []

    def next_masks(window: Tensor) -> Tensor:
        steps.append(model(window, last=ahead, as_places=True))
        return moved(steps[-1])

    rollout(next_masks, past, PAST_FRAMES, ahead=ahead, truth=truth, truth_probability=truth_probability)
    rest = PAST_FRAMES - ahead * (len(steps) - 1)  # the last step may reach beyond frame 21
    return [*steps[:-1], steps[-1]._replace(logits=steps[-1].logits[:, :rest])]


def forecast_last(model: nn.Module, past: Tensor, *, ahead: int = PAST_FRAMES) -> Tensor:
    """past: (B, 11, H, W) class ids -> (B, H, W), those of frame 21; logits go through the class filter first."""
    return last_mask(model(past, last=1) if ahead == PAST_FRAMES else forecast_scores(model, past, ahead=ahead), past)


def last_mask(forecast: Tensor | Places, past: Tensor) -> Tensor:
    """Scores (B, T, 49 or 1, H, W) or places -> the class ids (B, H, W) of the last frame, none that the past lacks."""
    last = paint(forecast, last=1) if isinstance(forecast, Places) else forecast[:, -1:]
    return decide(last if last.shape[2] == 1 else only_seen(last, past))[:, 0]
