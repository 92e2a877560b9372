"""The forecaster of stages 3 to 5: a SimVP from frames to the mask of frame 21, and the recipe of a stage."""

from dataclasses import dataclass
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
from vidseg_utils.models.layers import zero_init
from vidseg_utils.profiles import Profile
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.systems.simvp_unet import SimVPSizes
from vidseg_utils.task import PAST_FRAMES
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.losses import build_loss
from vidseg_utils.training.weights import weights_hash

BACKGROUND_WEIGHT = 0.6  # in the cross-entropy, published; every other class weighs 1
COPY_LAST_LOGIT = 5.0  # a residual model starts from this logit of the class in frame 10, against 0


def forecaster_model(profile: Profile) -> tuple[str, dict[str, Any]]:
    """Name and settings of the forecaster at the size of a profile, the arguments of `build_model`."""
    shape = [PAST_FRAMES, 3, profile.height, profile.width]
    return "simvp", {"in_shape": shape, "out_channels": N_CLASSES, **SimVPSizes.for_profile(profile).network}


def fresh_forecaster(profile: Profile, *, start: nn.Module | None) -> nn.Module:
    """A SimVP with 49 output channels and a new decoder.

    start: a SimVP from frames to frames with the weights of encoder and translator; None: random weights
    """
    name, config = forecaster_model(profile)
    network = build_model(name, **config)
    assert isinstance(network, SimVP)
    if start is not None:
        for part in ("encoder", "translator"):
            network.get_submodule(part).load_state_dict(start.get_submodule(part).state_dict())
    if SimVPSizes.for_profile(profile).residual:
        zero_init(network.decoder.readout)  # training then starts at copy-last
    return network


def class_logits(network: nn.Module, past: Tensor, last_mask: Tensor, *, residual: bool) -> Tensor:
    """Logits of the classes at every pixel of frame 21.

    past: (B, 11, 3, H, W) float in [0, 1]
    last_mask: (B, H, W) class ids of frame 10; others (255 = unknown) count as background
    residual: forecast the change since `last_mask`; published: False. Short trainings need it.
    returns: (B, 49, H, W)
    """
    logits = network(past, last_frames=1)[:, 0]
    if not residual:
        return logits
    last_mask = last_mask.long().where(last_mask < N_CLASSES, BACKGROUND)
    return logits + COPY_LAST_LOGIT * F.one_hot(last_mask, N_CLASSES).movedim(-1, 1)


@dataclass(kw_only=True)
class ForecasterRecipe(Recipe):
    """One stage: a forecaster is trained further on clips with masks.

    The validation Jaccard index of frame 21 chooses the best epoch.
    """

    stage: str
    start: nn.Module  # the network before this stage
    clips: Dataset  # training clips; items as those of `ClipDataset`
    segmented_past: np.ndarray  # (N, 11, H, W) the segmenter's masks of the past frames of the validation videos
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
        """The run of the stage if no earlier stage is skipped."""
        return f"semi_{self.stage}"

    def model(self) -> tuple[str, dict[str, Any]]:
        """SimVP with 49 output channels."""
        return forecaster_model(self.workspace.profile)

    def build(self) -> nn.Module:
        """The network before this stage."""
        return self.start

    def data(self) -> tuple[Dataset, Dataset]:
        """The clips of the stage, and validation clips."""
        return self.clips, ClipDataset(self.val)

    def step(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Cross-entropy of frame 21."""
        frames, masks = batch["frames"][:, :PAST_FRAMES], batch["masks"]
        last_past, target = masks[:, PAST_FRAMES - 1], masks[:, -1]
        if torch.rand(()) < 0.5:  # a mirrored video is as likely: the camera looks along the plane of symmetry
            frames, last_past, target = (pictures.flip(-1) for pictures in (frames, last_past, target))
        logits = class_logits(network, to_float(frames), last_past, residual=self.sizes.residual)
        return self.criterion(logits, target.long())

    def validate(self, network: nn.Module, loader: DataLoader, device: torch.device) -> dict[str, float]:
        """The metrics of `MaskScore`."""
        score = MaskScore()
        for batch in loader:
            indices = np.searchsorted(self.val.numbers, batch["number"].numpy())
            last_mask = torch.from_numpy(self.segmented_past[indices, PAST_FRAMES - 1]).to(device)
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
        """Stage, segmenter, and the weights before this stage."""
        return {
            "residual": self.sizes.residual,
            "starts_from": weights_hash(self.start),
            "stage": self.stage,
            "segmenter": self.segmenter,
        }
