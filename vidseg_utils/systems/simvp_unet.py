"""Predict the frames, then segment the last one: SimVP (Gao et al., CVPR 2022) followed by U-Net."""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, DataLoader

from vidseg_utils.data.datasets import ClipDataset
from vidseg_utils.data.transforms import to_float
from vidseg_utils.metrics.frames import FrameScore
from vidseg_utils.models import build_model, checkpointed, rollout
from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.unet_segmenter import train_segmenter
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import PAST_FRAMES
from vidseg_utils.training.checkpoint import train_or_load
from vidseg_utils.training.fit_config import ScheduledSampling
from vidseg_utils.training.loaders import seed_everything
from vidseg_utils.training.weights import load_model

LOSS_FRAMES = ("all", "last")  # which of the eleven future frames the loss looks at


def train_simvp(
    workspace: Workspace,
    *,
    run: Path | None = None,
    loss_frames: str = "all",
    epochs: int | None = None,
    unlabeled: bool = True,
    translator: str = "inception",
    ahead: int = PAST_FRAMES,
) -> tuple[nn.Module, list[dict]]:
    """Train SimVP from frames 0..10 to frames 11..21 with MSE, or load it if its run is finished.

    run: the run folder, by default that of "simvp"; loss_frames: "all" future frames or only the "last"; epochs: the
    profile's unless given; unlabeled: train on the unlabelled videos too (frames need no labels); translator:
    "inception" or "gsta"; ahead: 11 frames at once, or fewer at a time, then fed back with scheduled sampling (see
    `models.rollout`). The best epoch by validation MSE of frame 21 is kept. Returns the model and its history, a row an
    epoch.
    """
    if loss_frames not in LOSS_FRAMES:
        raise ValueError(f"unknown loss_frames {loss_frames!r}; choose from {list(LOSS_FRAMES)}")
    profile = workspace.profile
    config = {
        "in_shape": [PAST_FRAMES, 3, profile.height, profile.width],
        "hid_s": profile.simvp_hid_s,
        "hid_t": profile.simvp_hid_t,
        "n_s": profile.simvp_n_s,
        "n_t": profile.simvp_n_t,
        "translator": translator,
        "residual": profile.simvp_residual,
    }

    def step(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        frames = to_float(batch["frames"])
        past, target = frames[:, :PAST_FRAMES], frames[:, PAST_FRAMES:]
        if ahead == PAST_FRAMES:
            prediction = network(past)
        else:
            p = sampling.truth_probability
            prediction = rollout(
                checkpointed(network), past, PAST_FRAMES, ahead=ahead, truth=target, truth_probability=p
            )
        if loss_frames == "last":
            prediction, target = prediction[:, -1], target[:, -1]
        return F.mse_loss(prediction, target)

    sources = ["train", "unlabeled"] if unlabeled and profile.unlabeled else ["train"]
    fit_config = workspace.fit_config(
        epochs=epochs or profile.simvp_epochs,
        batch_size=profile.simvp_batch_size,
        learning_rate=profile.simvp_learning_rate,
        scheduler="onecycle",
        monitor="mse_last",
        mode="min",
    )
    sampling = ScheduledSampling(fit_config.epochs)
    seed_everything(profile.seed)  # the first weights, too, are the seed's
    return train_or_load(
        build_model("simvp", **config),
        ConcatDataset([ClipDataset(workspace.split(split), masks=False) for split in sources]),
        ClipDataset(workspace.split("val"), masks=False),
        step=step,
        validate=partial(score_prediction, ahead=ahead),
        config=fit_config,
        run=run or workspace.run("simvp"),
        on_epoch=sampling.on_epoch,
        description=workspace.describe(
            "simvp",
            config,
            task="frame prediction",
            loss_frames=loss_frames,
            train_on=sources,
            **({"ahead": ahead} if ahead != PAST_FRAMES else {}),
        ),
    )


@torch.inference_mode()
def score_prediction(
    model: nn.Module, loader: DataLoader, device: torch.device, *, ahead: int = PAST_FRAMES
) -> dict[str, float]:
    """`mse_last` and `mse_moving_last` of frame 21, and `mse_mean` over frames 11..21, a pixel in [0, 1]."""
    result = score_frames(model if ahead == PAST_FRAMES else Rollout(model, ahead), loader, device).result()
    mse = result["mse_per_pixel"]
    return {"mse_last": mse[-1], "mse_moving_last": result["mse_moving"][-1], "mse_mean": sum(mse) / len(mse)}


@torch.inference_mode()
def score_frames(model: nn.Module, loader: DataLoader, device: torch.device) -> FrameScore:
    """Score a model (B, 11, 3, H, W) -> (B, 11, 3, H, W) by horizon on all clips of the loader."""
    score = FrameScore()
    for batch in loader:
        frames = to_float(batch["frames"].to(device))
        score.update(model(frames[:, :PAST_FRAMES]), frames[:, PAST_FRAMES:], frames[:, PAST_FRAMES - 1])
    return score


class Rollout(nn.Module):
    """A predictor of `ahead` frames at a time, fed its own answers: 11 past frames -> 11 future frames."""

    def __init__(self, model: nn.Module, ahead: int = 1):
        super().__init__()
        self.model, self.ahead = model, ahead

    def forward(self, past: Tensor) -> Tensor:
        """past: (B, 11, C, H, W) -> (B, 11, C, H, W)."""
        return rollout(self.model, past, PAST_FRAMES, ahead=self.ahead)


class CopyLastFrame(nn.Module):
    """The last past frame again and again: what a predictor of frames has to beat."""

    def forward(self, past: Tensor) -> Tensor:
        """past: (B, T, C, H, W) -> (B, T, C, H, W)."""
        return past[:, -1:].expand_as(past)


class SimVPUnet(Forecaster):
    """SimVP predicts frames 11..21; U-Net segments frame 21."""

    name = "simvp_unet"
    parts = ("simvp", "unet")

    def __init__(self, predictor: nn.Module, segmenter: nn.Module):
        super().__init__(segmenter=segmenter)
        self.predictor = predictor

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net, then SimVP."""
        train_segmenter(workspace)
        train_simvp(workspace)

    @classmethod
    def load(cls, workspace: Workspace) -> "SimVPUnet":
        """Load both networks."""
        predictor, segmenter = (load_model(workspace.run(part), device=workspace.device) for part in cls.parts)
        return cls(predictor, segmenter)

    def forecast_frames(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, H, W)."""
        future = self.predictor(frames).clamp(0, 1)
        return self.segment(future[:, -1:])[:, 0]


class SimVPRolloutUnet(SimVPUnet):
    """SimVP predicts the next frame only, fed back eleven times (autoregressive); U-Net segments frame 21."""

    name = "simvp_rollout_unet"
    parts = ("simvp_rollout", "unet")

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net, then SimVP with scheduled sampling."""
        train_segmenter(workspace)
        train_simvp(workspace, run=workspace.run("simvp_rollout"), ahead=1)

    @classmethod
    def load(cls, workspace: Workspace) -> "SimVPRolloutUnet":
        """Load both networks."""
        system = super().load(workspace)
        system.predictor = Rollout(system.predictor)
        return system
