"""Predict frame 21 directly, then segment it: a ConvLSTM reconstructor (Shi et al., NeurIPS 2015) before U-Net."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from vidseg_utils.data import ClipDataset, to_float
from vidseg_utils.metrics import FrameScore
from vidseg_utils.profiles import Sizes, by_profile
from vidseg_utils.systems.base import Forecaster, FrameForecaster
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import PAST_FRAMES
from vidseg_utils.training.fit_config import FitConfig


@dataclass(frozen=True)
class ConvLSTMSizes(Sizes, group="convlstm"):
    """Sizes of the reconstructor and of its training."""

    base_channels: int = by_profile(4, 8, 64, colab=32)
    hidden_channels: int = by_profile(8, 32, 256, colab=128)
    residual: bool = by_profile(True, True, False)  # predict the change since frame 10; published: False
    epochs: int = by_profile(1, 12, 25, colab=25)
    batch_size: int = by_profile(2, 2, 8, colab=4)  # clips
    learning_rate: float = by_profile(1e-3, 1e-3, 1e-4)


@dataclass
class ConvLSTMRecipe(Recipe):
    """The reconstructor from frames 0..10 to frame 21, trained on the unlabelled videos.

    Without unlabelled videos, it is trained on the frames of the training videos.

    As published: MSE, Adam, weight decay 1e-4, gradient clipped at 1, ReduceLROnPlateau with patience 2. The validation
    MSE of frame 21 chooses the best epoch.
    """

    task = "frame reconstruction"

    def __post_init__(self) -> None:
        self.sizes = ConvLSTMSizes.for_profile(self.workspace.profile)

    @property
    def run_name(self) -> str:
        """The run of the reconstructor."""
        return "convlstm"

    @property
    def split(self) -> str:
        """The split of the training data."""
        return "unlabeled" if self.workspace.has_videos("unlabeled") else "train"

    def settings(self) -> dict[str, Any]:
        """The split, where it is not the usual one."""
        return {} if self.split == "unlabeled" else {"train_on": [self.split]}

    def model(self) -> tuple[str, dict[str, Any]]:
        """The reconstructor at the size of the profile."""
        names = ("base_channels", "hidden_channels", "residual")
        return "convlstm_reconstructor", {name: getattr(self.sizes, name) for name in names}

    def data(self) -> tuple[Dataset, Dataset]:
        """Clips without masks."""
        if self.split == "train":
            self.log_missing_unlabelled()
        clips, val_clips = (self.workspace.split(split) for split in (self.split, "val"))
        return ClipDataset(clips, masks=False), ClipDataset(val_clips, masks=False)

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """MSE of frame 21."""
        frames = to_float(batch["frames"])
        return F.mse_loss(network(frames[:, :PAST_FRAMES]), frames[:, -1])

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """See `score_reconstruction`."""
        return score_reconstruction(network, loader, device)

    def fit_config(self) -> FitConfig:
        """The published optimiser and schedule."""
        return FitConfig(
            epochs=self.sizes.epochs,
            batch_size=self.sizes.batch_size,
            learning_rate=self.sizes.learning_rate,
            weight_decay=1e-4,
            scheduler="plateau",
            plateau_patience=2,
            clip_norm=1.0,
            monitor="mse_last",
            mode="min",
            **self.shared_fit_settings(),
        )


@torch.inference_mode()
def score_reconstruction(model: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
    """`mse_last` and `mse_moving_last` (per pixel, values in [0, 1]) and `ssim_last` of frame 21, over all clips."""
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


class ConvLSTMUnet(FrameForecaster):
    """A ConvLSTM predicts frame 21, U-Net segments it. Without the reconstructor, U-Net segments frame 10."""

    name = "convlstm_unet"
    run_names = ("convlstm", "unet")

    def __init__(self, reconstructor: nn.Module | None, segmenter: nn.Module):
        super().__init__(segmenter=segmenter)
        self.reconstructor = reconstructor
        if reconstructor is None:
            self.name = f"{self.name} (no reconstructor)"

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net, then the reconstructor."""
        SegmenterRecipe(workspace).train()
        ConvLSTMRecipe(workspace).train()

    @classmethod
    def load(cls, workspace: Workspace) -> Self:
        """Load both networks."""
        reconstructor, segmenter = map(workspace.load_network, cls.run_names)
        return cls(reconstructor, segmenter)

    def forecast_frame(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, 3, H, W), frame 21, or frame 10 without a reconstructor."""
        return frames[:, -1] if self.reconstructor is None else self.reconstructor(frames)


def without_reconstructor(system: Forecaster) -> ConvLSTMUnet:
    """The same system, in which U-Net segments frame 10. Raises ValueError for a system that has no reconstructor."""
    if not isinstance(system, ConvLSTMUnet):
        raise ValueError(f"{system.name} has no reconstructor; choose {ConvLSTMUnet.name}")
    return ConvLSTMUnet(None, system.require_segmenter())
