"""Predict the frames, then segment the last one: SimVP (Gao et al., CVPR 2022) followed by U-Net."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from vidseg_utils.checks import check_choice
from vidseg_utils.data import ClipDataset, to_float
from vidseg_utils.metrics import FrameScore
from vidseg_utils.models import checkpointed, rollout
from vidseg_utils.profiles import Sizes, by_profile
from vidseg_utils.systems.base import FrameForecaster
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import FUTURE_FRAMES, PAST_FRAMES
from vidseg_utils.training.fit_config import FitConfig, truth_probability

LOSS_FRAMES = ("all", "last")  # the future frames that the loss compares


@dataclass(frozen=True)
class SimVPSizes(Sizes, group="simvp"):
    """Sizes of SimVP and of its training; also of the published mask forecasters and of semi-supervised SimVP."""

    hid_s: int = by_profile(8, 16, 64, colab=32)
    hid_t: int = by_profile(16, 128, 256, colab=256)
    n_s: int = by_profile(2, 4, 4)
    n_t: int = by_profile(2, 4, 8)
    residual: bool = by_profile(True, True, False)  # predict the change since frame 10; published: False
    epochs: int = by_profile(1, 3, 25, colab=30)
    batch_size: int = by_profile(2, 4, 4, colab=8)  # clips; at the full size, 8 do not fit in 16 GB
    learning_rate: float = by_profile(1e-3, 2e-3, 1e-3, colab=1e-3)

    @property
    def network(self) -> dict[str, int]:
        """Widths and depths, the settings of the model "simvp"."""
        return {"hid_s": self.hid_s, "hid_t": self.hid_t, "n_s": self.n_s, "n_t": self.n_t}


@dataclass(kw_only=True)
class SimVPRecipe(Recipe):
    """SimVP from frames 0..10 to frames 11..21, trained with MSE.

    The validation MSE of frame 21 chooses the best epoch.
    """

    loss_frames: str = "all"  # future frames that the loss compares: "all" or only the "last"
    unlabeled: bool = True  # train on the unlabelled videos too, if there are any
    translator: str = "inception"  # see the model's TRANSLATORS
    ahead: int = FUTURE_FRAMES  # frames per step of a rollout, trained with scheduled sampling; 11: all at once

    task = "frame prediction"

    def __post_init__(self) -> None:
        check_choice("loss_frames", self.loss_frames, LOSS_FRAMES)
        self.sizes = SimVPSizes.for_profile(self.workspace.profile)
        self.truth_probability = 1.0  # of scheduled sampling, falls from epoch to epoch

    @property
    def run_name(self) -> str:
        """A rollout has its own run folder."""
        return "simvp" if self.ahead == FUTURE_FRAMES else "simvp_rollout"

    @property
    def splits(self) -> list[str]:
        """The splits of the training data: without "unlabeled" where the data have no such videos."""
        return ["train", "unlabeled"] if self.unlabeled and self.workspace.has_videos("unlabeled") else ["train"]

    def model(self) -> tuple[str, dict[str, Any]]:
        """SimVP at the size of the profile."""
        shape = [PAST_FRAMES, 3, self.workspace.profile.height, self.workspace.profile.width]
        more = {"translator": self.translator, "residual": self.sizes.residual}
        return "simvp", {"in_shape": shape, **self.sizes.network, **more}

    def data(self) -> tuple[Dataset, Dataset]:
        """Clips without masks."""
        if self.unlabeled and "unlabeled" not in self.splits:
            self.log_missing_unlabelled()
        clips = [ClipDataset(self.workspace.split(split), masks=False) for split in self.splits]
        return ConcatDataset(clips), ClipDataset(self.workspace.split("val"), masks=False)

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """MSE of the predicted frames."""
        frames = to_float(batch["frames"])
        past, target = frames[:, :PAST_FRAMES], frames[:, PAST_FRAMES:]
        if self.ahead == FUTURE_FRAMES:
            prediction = network(past)
        else:
            prediction = rollout(
                checkpointed(network),
                past,
                FUTURE_FRAMES,
                ahead=self.ahead,
                truth=target,
                truth_probability=self.truth_probability,
            )
        if self.loss_frames == "last":
            prediction, target = prediction[:, -1], target[:, -1]
        return F.mse_loss(prediction, target)

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """See `score_prediction`."""
        return score_prediction(network, loader, device, ahead=self.ahead)

    def fit_config(self) -> FitConfig:
        """Adam with a one-cycle schedule."""
        return FitConfig(
            epochs=self.sizes.epochs,
            batch_size=self.sizes.batch_size,
            learning_rate=self.sizes.learning_rate,
            scheduler="onecycle",
            monitor="mse_last",
            mode="min",
            **self.shared_fit_settings(),
        )

    def settings(self) -> dict[str, Any]:
        """Frames of the loss, splits, and frames per step of a rollout."""
        settings = {"loss_frames": self.loss_frames, "train_on": self.splits}
        return settings | ({} if self.ahead == FUTURE_FRAMES else {"ahead": self.ahead})

    def on_epoch(self, epoch: int) -> None:
        """Lower the probability of true frames in a rollout."""
        self.truth_probability = truth_probability(epoch, self.sizes.epochs)


@torch.inference_mode()
def score_prediction(
    model: nn.Module, loader: DataLoader, device: torch.device, *, ahead: int = FUTURE_FRAMES
) -> dict[str, float]:
    """`mse_last` and `mse_moving_last` of frame 21, `mse_mean` of frames 11..21, per pixel, values in [0, 1]."""
    result = score_frames(model if ahead == FUTURE_FRAMES else Rollout(model, ahead), loader, device).result()
    mse = result["mse_per_pixel"]
    return {"mse_last": mse[-1], "mse_moving_last": result["mse_moving"][-1], "mse_mean": sum(mse) / len(mse)}


@torch.inference_mode()
def score_frames(model: nn.Module, loader: DataLoader, device: torch.device) -> FrameScore:
    """Scores by horizon of a model (B, 11, 3, H, W) -> (B, 11, 3, H, W) over all clips of the loader."""
    score = FrameScore()
    for batch in loader:
        frames = to_float(batch["frames"].to(device))
        score.update(model(frames[:, :PAST_FRAMES]), frames[:, PAST_FRAMES:], frames[:, PAST_FRAMES - 1])
    return score


class Rollout(nn.Module):
    """Predict 11 frames, `ahead` at a time: each step is fed the output of the step before."""

    def __init__(self, model: nn.Module, ahead: int = 1):
        super().__init__()
        self.model, self.ahead = model, ahead

    def forward(self, past: Tensor) -> Tensor:
        """past: (B, 11, C, H, W) -> (B, 11, C, H, W)."""
        return rollout(self.model, past, FUTURE_FRAMES, ahead=self.ahead)


class CopyLastFrame(nn.Module):
    """Repeat the last past frame: the baseline of frame prediction."""

    def forward(self, past: Tensor) -> Tensor:
        """past: (B, T, C, H, W) -> (B, T, C, H, W)."""
        return past[:, -1:].expand_as(past)


class SimVPUnet(FrameForecaster):
    """SimVP predicts frames 11..21; U-Net segments frame 21."""

    name = "simvp_unet"
    run_names = ("simvp", "unet")

    def __init__(self, predictor: nn.Module, segmenter: nn.Module):
        super().__init__(segmenter=segmenter)
        self.predictor = predictor

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net, then SimVP."""
        SegmenterRecipe(workspace).train()
        SimVPRecipe(workspace).train()

    @classmethod
    def load(cls, workspace: Workspace) -> Self:
        """Load both networks."""
        predictor, segmenter = map(workspace.load_network, cls.run_names)
        return cls(predictor, segmenter)

    def forecast_frame(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, 3, H, W), SimVP's frame 21."""
        return self.predictor(frames)[:, -1].clamp(0, 1)


class SimVPRolloutUnet(SimVPUnet):
    """SimVP predicts one frame per step in a rollout of eleven steps (autoregressive); U-Net segments frame 21."""

    name = "simvp_rollout_unet"
    run_names = ("simvp_rollout", "unet")

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net, then SimVP with scheduled sampling."""
        SegmenterRecipe(workspace).train()
        SimVPRecipe(workspace, ahead=1).train()

    @classmethod
    def load(cls, workspace: Workspace) -> Self:
        """Load both networks."""
        system = super().load(workspace)
        system.predictor = Rollout(system.predictor)
        return system
