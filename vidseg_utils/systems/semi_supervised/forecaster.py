"""The network of the last stages, a SimVP from frames to the mask of frame 21, and how each stage trains it further."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from vidseg_utils.classes import BACKGROUND, N_CLASSES
from vidseg_utils.data import ClipDataset, to_float
from vidseg_utils.metrics import MaskScore
from vidseg_utils.models import SimVP, build_model
from vidseg_utils.profiles import Profile
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.systems.simvp_unet import SimVPSizes
from vidseg_utils.task import PAST_FRAMES
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.losses import build_loss
from vidseg_utils.training.weights import weights_hash

BACKGROUND_WEIGHT = 0.6  # in the cross-entropy, published; every other class weighs 1
COPY_LOGIT = 5.0  # residual: what the class of frame 10 is ahead by before anything is learned


def forecaster_model(profile: Profile) -> tuple[str, dict[str, Any]]:
    """Name and settings of the forecaster at a profile, as `build_model` takes them."""
    shape = [PAST_FRAMES, 3, profile.height, profile.width]
    return "simvp", {"in_shape": shape, "out_channels": N_CLASSES, **SimVPSizes.for_profile(profile).network}


def fresh_forecaster(profile: Profile, *, start: nn.Module | None) -> nn.Module:
    """A SimVP with 49 classes at the end: encoder and translator are `start`'s, the decoder is new.

    start: a SimVP from frames to frames, or None for random weights all over
    """
    name, config = forecaster_model(profile)
    network = build_model(name, **config)
    assert isinstance(network, SimVP)
    if start is not None:
        assert isinstance(start, SimVP)
        network.encoder.load_state_dict(start.encoder.state_dict())
        network.translator.load_state_dict(start.translator.state_dict())
    if SimVPSizes.for_profile(profile).residual:
        for parameter in network.decoder.readout.parameters():
            nn.init.zeros_(parameter)  # training then begins at copy-last
    return network


def class_logits(network: nn.Module, past: Tensor, last_mask: Tensor, *, residual: bool) -> Tensor:
    """Score every class at every pixel of frame 21.

    past: (B, 11, 3, H, W) float in [0, 1]; last_mask: (B, H, W) class ids of frame 10, others count as background;
    residual: forecast what changes since `last_mask` (not published; what a few minutes of training need)
    returns: (B, 49, H, W)
    """
    logits = network(past, last_frames=1)[:, 0]
    if not residual:
        return logits
    last_mask = last_mask.long().where(last_mask < N_CLASSES, BACKGROUND)
    return logits + COPY_LOGIT * F.one_hot(last_mask, N_CLASSES).movedim(-1, 1)


@dataclass
class ForecasterRecipe(Recipe):
    """One stage of training: a forecaster is trained further on clips with masks.

    The best epoch by validation Jaccard of frame 21 is kept.
    """

    _: KW_ONLY
    stage: str
    start: nn.Module  # the network to begin with
    clips: Dataset  # to train on; items are those of `ClipDataset`
    segmented_past: np.ndarray  # (N, 11, H, W) the segmenter's masks of the validation videos' past frames
    segmenter: str  # hash of the segmenter's weights, for config.json
    epochs: int
    learning_rate: float

    task = "mask forecasting"

    def __post_init__(self) -> None:
        self.sizes = SimVPSizes.for_profile(self.workspace.profile)
        self.val = self.workspace.split("val")
        self.criterion = build_loss("cross_entropy", class_weights=[BACKGROUND_WEIGHT] + [1.0] * (N_CLASSES - 1))

    @property
    def run_name(self) -> str:
        """The run of a stage that no stage before was skipped for."""
        return f"semi_{self.stage}"

    def model(self) -> tuple[str, dict[str, Any]]:
        """SimVP with 49 classes at the end."""
        return forecaster_model(self.workspace.profile)

    def build(self) -> nn.Module:
        """The network to begin with."""
        return self.start

    def data(self) -> tuple[Dataset, Dataset]:
        """The clips of the stage, and validation clips."""
        return self.clips, ClipDataset(self.val)

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Cross-entropy of frame 21."""
        frames, masks = batch["frames"][:, :PAST_FRAMES], batch["masks"][:, [PAST_FRAMES - 1, -1]]
        if torch.rand(()) < 0.5:  # the camera sees the world's left and right alike
            frames, masks = frames.flip(-1), masks.flip(-1)
        logits = class_logits(network, to_float(frames), masks[:, 0], residual=self.sizes.residual)
        return self.criterion(logits, masks[:, 1].long())

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """The metrics of `MaskScore`."""
        score = MaskScore()
        for batch in loader:
            rows = np.searchsorted(self.val.numbers, batch["number"].numpy())
            last_mask = torch.from_numpy(self.segmented_past[rows, PAST_FRAMES - 1]).to(device)
            past = to_float(batch["frames"][:, :PAST_FRAMES].to(device))
            logits = class_logits(network, past, last_mask, residual=self.sizes.residual)
            score.update(logits.argmax(dim=1), batch["masks"])
        return score.result()

    def fit_config(self) -> FitConfig:
        """Adam with a cosine schedule, as published."""
        return FitConfig(
            epochs=self.epochs,
            batch_size=self.sizes.batch_size,
            learning_rate=self.learning_rate,
            scheduler="cosine",
            monitor="jaccard",
            mode="max",
            **self.shared_fit_settings(),
        )

    def settings(self) -> dict[str, Any]:
        """Stage, segmenter, and the weights to begin with."""
        return {
            "residual": self.sizes.residual,
            "starts_from": weights_hash(self.start),
            "stage": self.stage,
            "segmenter": self.segmenter,
        }
