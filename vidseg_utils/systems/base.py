"""`Forecaster`, the base class of all systems: from past frames, or their masks, to the mask of the last frame."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.device import fastest_precision
from vidseg_utils.models import UNet
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import PAST_FRAMES
from vidseg_utils.training.run_folder import training_data
from vidseg_utils.training.weights import weights_hash


class Forecaster(ABC):
    """A trained system. Subclasses define how to train and load its networks, and how to forecast.

    A system that forecasts from masks also accepts masks instead of frames, so it can be scored on true masks too.
    """

    name: str  # the name in SYSTEMS
    run_names: ClassVar[tuple[str, ...]] = ()  # the runs that hold its networks and constants, without the profile
    accepts_masks: ClassVar[bool] = False  # whether `predict` takes masks too
    gives_probabilities: ClassVar[bool] = False  # whether it forecasts probabilities of the classes too

    def __init__(self, *, segmenter: nn.Module | None = None):
        if segmenter is not None:
            segmenter.to(memory_format=torch.channels_last)  # nearly always the faster layout for convolutions
        self.segmenter = segmenter

    @classmethod
    @abstractmethod
    def train(cls, workspace: Workspace) -> None:
        """Train the networks whose runs are not finished; interrupted trainings resume."""

    @classmethod
    @abstractmethod
    def load(cls, workspace: Workspace) -> Self:
        """Load the system from its finished runs. Raises ValueError naming a missing run and the cure."""

    @torch.inference_mode()
    def predict(self, past: Tensor, size: tuple[int, int] | None = None, *, segmented: bool = False) -> Tensor:
        """Forecast the mask of the last frame.

        past: (B, 11, 3, H, W) frames, float in [0, 1]; or, if `accepts_masks`, (B, 11, H, W) masks of integer type
        size: height and width of the result, by default those of `past`
        segmented: whether `past` are masks that this system's `segment` made, not true masks
        returns: (B, H, W) uint8 class ids, on the device of `past`
        Raises ValueError for another shape or type, of `past` or of what the system forecasts.
        """
        self._check_past(past)
        if past.ndim == 5:
            mask = self.forecast_frames(past)
        else:
            mask = self.forecast_segmented(past) if segmented else self.forecast_masks(past)
        self._check_forecast(mask, "forecast_frames" if past.ndim == 5 else "forecast_masks", n_clips=len(past))
        mask = mask.to(past.device, torch.uint8)
        return F.interpolate(mask[:, None], size=size or past.shape[-2:], mode="nearest-exact")[:, 0]

    @torch.inference_mode()
    def predict_probabilities(self, past: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Forecast the probabilities of the classes at every pixel of the last frame.

        past: (B, 11, 3, H, W) frames, float in [0, 1]
        size: height and width of the result, by default those of `past`
        returns: (B, 49, H, W) float32 in [0, 1], which sum to 1 over the classes
        Raises ValueError for another shape or type, and for a system that gives no probabilities.
        """
        self._check_past(past)
        if past.ndim != 5:
            raise ValueError(f"probabilities are forecast from frames; got masks {tuple(past.shape)}")
        probabilities = self.class_probabilities(past).float()
        return F.interpolate(probabilities, size=size or past.shape[-2:], mode="nearest-exact")

    def _check_past(self, past: Tensor) -> None:
        """Raise ValueError unless past frames or masks have the shape and type that `predict` takes."""
        if past.ndim == 5 and past.is_floating_point():
            if past.shape[1:3] != (PAST_FRAMES, 3):
                raise ValueError(f"expected (B, {PAST_FRAMES}, 3, H, W) past frames; got {tuple(past.shape)}")
        elif past.ndim == 4 and not past.is_floating_point():
            if not self.accepts_masks:
                raise ValueError(f"{self.name} forecasts from frames; it cannot forecast from masks")
            if past.shape[1] != PAST_FRAMES:
                raise ValueError(f"expected (B, {PAST_FRAMES}, H, W) past masks; got {tuple(past.shape)}")
        else:
            raise ValueError(
                f"expected float frames (B, {PAST_FRAMES}, 3, H, W) or integer masks (B, {PAST_FRAMES}, H, W); "
                f"got {past.dtype} {tuple(past.shape)}"
            )

    def _check_forecast(self, mask: Any, method: str, *, n_clips: int) -> None:
        """Raise ValueError, with the cure, unless a forecast is (B, h, w) class ids of integer type."""
        expected = (
            f"{type(self).__name__}.{method} must return class ids, an integer tensor (B, h, w) with B = {n_clips}"
        )
        if not isinstance(mask, Tensor):
            raise ValueError(f"{expected}; it returned a {type(mask).__name__}")
        got = f"{expected}; it returned {mask.dtype} {tuple(mask.shape)}"
        if mask.ndim == 4 and mask.shape[1] == N_CLASSES:
            raise ValueError(f"{got}, which looks like logits: return logits.argmax(dim=1)")
        if mask.is_floating_point() or mask.is_complex() or mask.dtype == torch.bool:
            raise ValueError(f"{got}: convert whole numbers with .long(), and logits with .argmax(dim=1)")
        if mask.ndim != 3 or len(mask) != n_clips or 0 in mask.shape[1:]:
            raise ValueError(f"{got}: return one mask per clip, that of the last frame, such as masks[:, -1]")
        lowest, highest = (int(value) for value in mask.aminmax()) if mask.numel() else (0, 0)
        if lowest < 0 or highest >= N_CLASSES:
            wrong = lowest if lowest < 0 else highest
            raise ValueError(f"{expected}; it returned id {wrong}, and ids run from 0 to {N_CLASSES - 1}")

    def forecast_frames(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) float in [0, 1] -> (B, H, W) or larger. By default: segment, then forecast masks."""
        return self.forecast_segmented(self.segment(frames))

    def forecast_segmented(self, masks: Tensor) -> Tensor:
        """masks: (B, 11, H, W) class ids that `segment` made -> (B, H, W). By default: as from any masks."""
        return self.forecast_masks(masks)

    def forecast_masks(self, masks: Tensor) -> Tensor:
        """masks: (B, 11, H, W) class ids -> (B, H, W); for systems with `accepts_masks`."""
        raise ValueError(f"{self.name} cannot forecast from masks")

    def class_probabilities(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) float in [0, 1] -> (B, 49, h, w); for systems that have a distribution."""
        raise ValueError(f"{self.name} gives no probabilities, only a mask")

    @property
    def needs_masks(self) -> bool:
        """Whether it cannot start from frames: it forecasts from masks and has no segmenter."""
        return self.accepts_masks and self.segmenter is None

    @property
    def uses_only_masks(self) -> bool:
        """Frames affect the forecast only through their masks."""
        return self.accepts_masks and type(self).forecast_frames is Forecaster.forecast_frames

    def segment(self, frames: Tensor) -> Tensor:
        """frames: (B, T, 3, H, W) float in [0, 1] -> (B, T, H, W) class ids by the system's segmenter.

        A system that measures outlines with subpixel accuracy returns masks larger than the frames.
        """
        return torch.stack(
            [self.segmenter_logits(clip).max(dim=1).indices for clip in frames.unbind(0)]
        )  # (B, T, H, W)

    def segmenter_logits(self, frames: Tensor) -> Tensor:
        """frames: (T, 3, H, W) float in [0, 1] -> (T, 49, H, W) float32 logits by the system's segmenter."""
        segmenter = self.require_segmenter()
        if self.segmenter_precision(frames.device) == "no":
            return segmenter(frames)
        with torch.autocast(frames.device.type, torch.bfloat16):
            return segmenter(frames).float()

    def segmenter_precision(self, device: torch.device) -> str:
        """The precision in which the segmenter computes: "bf16" for U-Net on a device with units for it, else "no".

        On a CPU with such units U-Net then takes half of the time, and 0.014 % of the pixels get another class.
        """
        return "bf16" if isinstance(self.segmenter, UNet) and fastest_precision(device) == "bf16" else "no"

    def require_segmenter(self) -> nn.Module:
        """The system's segmenter. Raises ValueError, with the cure, if it has none."""
        if self.segmenter is None:
            raise ValueError(
                f"{self.name} has no segmenter: pass masks (B, T, H, W) instead of frames, or use a system that "
                "has one, such as unet_copy_last"
            )
        return self.segmenter

    def count_parameters(self) -> int:
        """Number of trained parameters of all networks."""
        return sum(parameter.numel() for network in self.modules() for parameter in network.parameters())

    def identity(self) -> dict[str, Any]:
        """What the forecasts depend on, in JSON types: the name and the weights, and in subclasses their settings."""
        return {"system": self.name, "weights": [weights_hash(network) for network in self.modules()]}

    def trained_on(self) -> dict[str, dict[str, str]]:
        """Name of each run that the networks come from -> identity of its training data."""
        parts = [part for network in self.modules() for part in network.modules()]
        return {run: data for part in parts for run, data in training_data(part).items()}

    def modules(self) -> list[nn.Module]:
        """The networks of the system, each once."""
        networks = [value for value in vars(self).values() if isinstance(value, nn.Module)]
        return list({id(network): network for network in networks}.values())


class FrameForecaster(Forecaster):
    """A system that forecasts the last frame, which its segmenter then segments."""

    gives_probabilities = True

    @abstractmethod
    def forecast_frame(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) float in [0, 1] -> (B, 3, H, W), frame 21."""

    def forecast_frames(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, H, W)."""
        return self.segment(self.forecast_frame(frames)[:, None])[:, 0]

    def class_probabilities(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, 49, H, W), the segmenter's of the forecast frame."""
        return self.segmenter_logits(self.forecast_frame(frames)).softmax(dim=1)
