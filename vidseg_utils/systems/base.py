"""What a system is: past frames (or their masks) in, the mask of the last frame out."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import PAST_FRAMES


class Forecaster(ABC):
    """A trained system. Subclasses say how to train their parts, how to load them, and how to forecast.

    A system that forecasts through masks accepts the masks themselves in place of frames, so that it can be scored on
    true masks too.
    """

    name: str
    run_names: ClassVar[tuple[str, ...]] = ()  # names of the runs that this system is made of
    accepts_masks: ClassVar[bool] = False

    def __init__(self, *, segmenter: nn.Module | None = None):
        if segmenter is not None:
            segmenter.to(memory_format=torch.channels_last)  # nearly always the faster layout of convolutions
        self.segmenter = segmenter

    @classmethod
    @abstractmethod
    def train(cls, workspace: Workspace) -> None:
        """Train every part that has no finished run yet; resume one that was interrupted."""

    @classmethod
    @abstractmethod
    def load(cls, workspace: Workspace) -> "Forecaster":
        """Build the system from its finished runs. Raises ValueError naming the run that is missing and the cure."""

    @torch.inference_mode()
    def predict(self, past: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Forecast the mask of the last frame.

        past: (B, 11, 3, H, W) frames, float in [0, 1]; or, if `accepts_masks`, their (B, 11, H, W) integer masks.
        size: height and width of the answer, those of `past` unless given
        returns: (B, H, W) uint8 class ids, on the device of `past`.
        """
        if past.ndim == 5 and past.is_floating_point():
            if past.shape[1:3] != (PAST_FRAMES, 3):
                raise ValueError(f"expected (B, {PAST_FRAMES}, 3, H, W) past frames; got {tuple(past.shape)}")
            answer = self.forecast_frames(past)
        elif past.ndim == 4 and not past.is_floating_point():
            if not self.accepts_masks:
                raise ValueError(f"{self.name} forecasts from frames; it cannot start from masks")
            if past.shape[1] != PAST_FRAMES:
                raise ValueError(f"expected (B, {PAST_FRAMES}, H, W) past masks; got {tuple(past.shape)}")
            answer = self.forecast_masks(past)
        else:
            raise ValueError(
                f"expected float frames (B, {PAST_FRAMES}, 3, H, W) or integer masks (B, {PAST_FRAMES}, H, W); "
                f"got {past.dtype} {tuple(past.shape)}"
            )
        answer = answer.to(past.device, torch.uint8)
        return F.interpolate(answer[:, None], size=size or past.shape[-2:], mode="nearest-exact")[:, 0]

    def forecast_frames(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) float in [0, 1] -> (B, H, W), or finer. By default: segment, then forecast masks."""
        return self.forecast_masks(self.segment(frames))

    def forecast_masks(self, masks: Tensor) -> Tensor:
        """masks: (B, 11, H, W) class ids -> (B, H, W); for systems with `accepts_masks`."""
        raise ValueError(f"{self.name} cannot start from masks")

    @property
    def uses_only_masks(self) -> bool:
        """Whether it looks at frames through the masks of all of them, and at nothing else."""
        return self.accepts_masks and type(self).forecast_frames is Forecaster.forecast_frames

    def segment(self, frames: Tensor) -> Tensor:
        """frames: (B, T, 3, H, W) float in [0, 1] -> (B, T, H, W) class ids by the system's segmenter.

        A system that reads outlines between the pixels gives masks finer than the frames.
        """
        segmenter = self.require_segmenter()
        return torch.stack([segmenter(clip).argmax(dim=1) for clip in frames.unbind(0)])  # (B, T, H, W)

    def require_segmenter(self) -> nn.Module:
        """The system's segmenter. Raises ValueError, with the cure, where there is none."""
        if self.segmenter is None:
            raise ValueError(
                f"{self.name} has no segmenter: give it masks (B, T, H, W) instead of frames, or take a system that "
                "has one, such as unet_copy_last"
            )
        return self.segmenter

    def count_parameters(self) -> int:
        """How many trained numbers the system has."""
        return sum(parameter.numel() for network in self.modules() for parameter in network.parameters())

    def modules(self) -> list[nn.Module]:
        """The networks that the system runs, each once."""
        networks = [value for value in vars(self).values() if isinstance(value, nn.Module)]
        return list({id(network): network for network in networks}.values())
