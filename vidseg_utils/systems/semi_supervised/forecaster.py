"""The network of the last stages, a SimVP from frames to the mask of frame 21, and how each stage trains it further."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from vidseg_utils.classes import BACKGROUND, N_CLASSES
from vidseg_utils.data.datasets import ClipDataset
from vidseg_utils.data.transforms import to_float
from vidseg_utils.metrics.masks import MaskScore
from vidseg_utils.models import build_model
from vidseg_utils.profiles import Profile
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import PAST_FRAMES
from vidseg_utils.training.checkpoint import train_or_load
from vidseg_utils.training.losses import build_loss
from vidseg_utils.training.weights import weights_hash

BACKGROUND_WEIGHT = 0.6  # in the cross-entropy, published; every other class weighs 1
COPY_LOGIT = 5.0  # residual: what the class of frame 10 is ahead by before anything is learned


def forecaster_config(profile: Profile) -> dict:
    """What `build_model("simvp", …)` takes for a forecaster of that profile."""
    return {
        "in_shape": [PAST_FRAMES, 3, profile.height, profile.width],
        "out_channels": N_CLASSES,
        "hid_s": profile.simvp_hid_s,
        "hid_t": profile.simvp_hid_t,
        "n_s": profile.simvp_n_s,
        "n_t": profile.simvp_n_t,
    }


def fresh_forecaster(profile: Profile, *, start: nn.Module | None) -> nn.Module:
    """A SimVP with 49 classes at the end: encoder and translator are `start`'s, the decoder is new.

    start: a SimVP from frames to frames, or None for random weights all over
    """
    network = build_model("simvp", **forecaster_config(profile))
    if start is not None:
        network.encoder.load_state_dict(start.encoder.state_dict())
        network.translator.load_state_dict(start.translator.state_dict())
    if profile.simvp_residual:
        nn.init.zeros_(network.decoder.readout.weight)  # so that it begins as copy-last
        nn.init.zeros_(network.decoder.readout.bias)
    return network


def class_logits(network: nn.Module, past: Tensor, last_mask: Tensor, *, residual: bool) -> Tensor:
    """Score every class at every pixel of frame 21.

    past: (B, 11, 3, H, W) float in [0, 1]; last_mask: (B, H, W) class ids of frame 10, others count as background;
    residual: forecast what changes since `last_mask` (not published; what a few minutes of training need)
    returns: (B, 49, H, W)
    """
    logits = network(past, last=1)[:, 0]
    if not residual:
        return logits
    last_mask = last_mask.long().where(last_mask < N_CLASSES, BACKGROUND)
    return logits + COPY_LOGIT * F.one_hot(last_mask, N_CLASSES).movedim(-1, 1)


def train_forecaster(
    workspace: Workspace,
    network: nn.Module,
    train: Dataset,
    *,
    seen: np.ndarray,
    epochs: int,
    learning_rate: float,
    run: Path,
    description: dict,
) -> tuple[nn.Module, list[dict]]:
    """Train the network further on clips with masks, or load it if its run is finished.

    network: the model to start from; train: items as those of `ClipDataset`
    seen: (N, 11, H, W) the segmenter's masks of the validation videos' past frames
    description: what else decides the weights; the weights_hash of the weights to start from is added
    The best epoch by validation Jaccard of frame 21 is kept. Returns the model and its history, a row an epoch.
    """
    profile = workspace.profile
    val = workspace.split("val")
    criterion = build_loss("cross_entropy", class_weights=[BACKGROUND_WEIGHT] + [1.0] * (N_CLASSES - 1))

    def step(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        frames, masks = batch["frames"][:, :PAST_FRAMES], batch["masks"][:, [PAST_FRAMES - 1, -1]]
        if torch.rand(()) < 0.5:  # the camera sees the world's left and right alike
            frames, masks = frames.flip(-1), masks.flip(-1)
        logits = class_logits(network, to_float(frames), masks[:, 0], residual=profile.simvp_residual)
        return criterion(logits, masks[:, 1].long())

    def validate(network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        score = MaskScore()
        for batch in loader:
            places = np.searchsorted(val.numbers, batch["number"].numpy())
            last_mask = torch.from_numpy(seen[places, PAST_FRAMES - 1]).to(device)
            past = to_float(batch["frames"][:, :PAST_FRAMES].to(device))
            logits = class_logits(network, past, last_mask, residual=profile.simvp_residual)
            score.update(logits.argmax(dim=1), batch["masks"])
        return score.result()

    fit_config = workspace.fit_config(
        epochs=epochs,
        batch_size=profile.simvp_batch_size,
        learning_rate=learning_rate,
        scheduler="cosine",
        monitor="jaccard",
        mode="max",
    )
    return train_or_load(
        network,
        train,
        ClipDataset(val),
        step=step,
        validate=validate,
        config=fit_config,
        run=run,
        description=workspace.describe(
            "simvp",
            forecaster_config(profile),
            task="mask forecasting",
            residual=profile.simvp_residual,
            starts_from=weights_hash(network),
            **description,
        ),
    )
