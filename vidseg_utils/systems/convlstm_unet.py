"""Draw frame 21 at once, then segment it: a ConvLSTM reconstructor (Shi et al., NeurIPS 2015) followed by U-Net."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from vidseg_utils.data.datasets import ClipDataset
from vidseg_utils.data.transforms import to_float
from vidseg_utils.metrics.frames import FrameScore
from vidseg_utils.models import build_model
from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.unet_segmenter import train_segmenter
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import PAST_FRAMES
from vidseg_utils.training.checkpoint import train_or_load
from vidseg_utils.training.loaders import seed_everything
from vidseg_utils.training.weights import load_model


def train_reconstructor(
    workspace: Workspace, *, run: Path | None = None, epochs: int | None = None
) -> tuple[nn.Module, list[dict]]:
    """Train the reconstructor from frames 0..10 to frame 21 on the unlabelled videos, or load it from its finished run.

    As published: MSE, Adam, weight decay 1e-4, gradient clipped at 1, ReduceLROnPlateau with patience 2.
    run: the run folder, by default that of "convlstm"; epochs: the profile's unless given. The best epoch by validation
    MSE of frame 21 is kept. Returns the model and its history, a row an epoch.
    """
    profile = workspace.profile
    config = {
        "base_channels": profile.convlstm_base_channels,
        "hidden_channels": profile.convlstm_hidden_channels,
        "residual": profile.convlstm_residual,
    }

    def step(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        frames = to_float(batch["frames"])
        return F.mse_loss(network(frames[:, :PAST_FRAMES]), frames[:, -1])

    fit_config = workspace.fit_config(
        epochs=epochs or profile.convlstm_epochs,
        batch_size=profile.convlstm_batch_size,
        learning_rate=profile.convlstm_learning_rate,
        weight_decay=1e-4,
        scheduler="plateau",
        plateau_patience=2,
        clip_norm=1.0,
        monitor="mse_last",
        mode="min",
    )
    seed_everything(profile.seed)  # the first weights, too, are the seed's
    return train_or_load(
        build_model("convlstm_reconstructor", **config),
        ClipDataset(workspace.split("unlabeled")),
        ClipDataset(workspace.split("val"), masks=False),
        step=step,
        validate=score_reconstruction,
        config=fit_config,
        run=run or workspace.run("convlstm"),
        description=workspace.describe("convlstm_reconstructor", config, task="frame reconstruction"),
    )


@torch.inference_mode()
def score_reconstruction(model: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
    """`mse_last`, `mse_moving_last` (a pixel in [0, 1]) and `ssim_last` of frame 21 over all clips of the loader."""
    score = FrameScore()
    for batch in loader:
        frames = to_float(batch["frames"].to(device))
        score.update(model(frames[:, :PAST_FRAMES])[:, None], frames[:, -1:], frames[:, PAST_FRAMES - 1])
    result = score.result()
    return {
        "mse_last": result["mse_per_pixel"][0],
        "mse_moving_last": result["mse_moving"][0],
        "ssim_last": result["ssim"][0],
    }


class ConvLSTMUnet(Forecaster):
    """A ConvLSTM draws frame 21; U-Net segments it. Without the reconstructor, U-Net segments frame 10."""

    name = "convlstm_unet"
    parts = ("convlstm", "unet")

    def __init__(self, reconstructor: nn.Module | None, segmenter: nn.Module):
        super().__init__(segmenter=segmenter)
        self.reconstructor = reconstructor
        if reconstructor is None:
            self.name = f"{self.name} (no reconstructor)"

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net, then the reconstructor."""
        train_segmenter(workspace)
        train_reconstructor(workspace)

    @classmethod
    def load(cls, workspace: Workspace) -> "ConvLSTMUnet":
        """Load both networks."""
        reconstructor, segmenter = (load_model(workspace.run(part), device=workspace.device) for part in cls.parts)
        return cls(reconstructor, segmenter)

    def forecast_frames(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, H, W)."""
        frame = frames[:, -1] if self.reconstructor is None else self.reconstructor(frames)  # (B, 3, H, W)
        return self.segment(frame[:, None])[:, 0]


def without_reconstructor(system: Forecaster) -> ConvLSTMUnet:
    """The same system, but frame 10 goes straight to U-Net. Raises ValueError for one that has no reconstructor."""
    if not isinstance(system, ConvLSTMUnet):
        raise ValueError(f"{system.name} has no reconstructor to leave out; {ConvLSTMUnet.name} has one")
    return ConvLSTMUnet(None, system.segmenter)
