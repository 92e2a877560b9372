"""The forecast of one clip by any system: the masks of the frames ahead, and the objects where it forecasts objects."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from vidseg_utils.classes import BACKGROUND
from vidseg_utils.data import Clip, area_scale, to_float
from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.object_dynamics import ObjectDynamics, Outlook, forecast_ahead
from vidseg_utils.task import FUTURE_FRAMES, HEIGHT, PAST_FRAMES, WIDTH


@dataclass(frozen=True)
class ClipForecast:
    """What a system forecasts for a clip, `len(masks)` frames ahead."""

    masks: list[np.ndarray | None]  # (160, 240) of each frame ahead; None where the system forecasts none
    past_masks: np.ndarray  # (11, 160, 240) of the given frames, by the system's segmenter, or true ones
    outlook: Outlook | None  # the objects, where the system forecasts objects

    @property
    def last_mask(self) -> np.ndarray:
        """The mask of the last frame, which every system forecasts."""
        mask = self.masks[-1]
        assert mask is not None
        return mask

    @property
    def last_number(self) -> int:
        """The number of that frame; the last given one is 10."""
        return PAST_FRAMES - 1 + len(self.masks)

    @property
    def found_objects(self) -> bool:
        """Whether the given frames show an object; without one there is nothing to forecast."""
        if self.outlook is not None:
            return len(self.outlook.class_id) > 0
        return bool((self.past_masks != BACKGROUND).any())


def forecast_clip(
    system: Forecaster, clip: Clip, *, horizon: int = FUTURE_FRAMES, size: tuple[int, int] = (HEIGHT, WIDTH)
) -> ClipForecast:
    """Forecast the frames after the eleven given ones. A system without a segmenter is given the clip's true masks.

    size: height and width of the frames that the system reads
    Raises ValueError where the system needs masks that the clip lacks.
    """
    past, outlook = clip.frames[:PAST_FRAMES], None
    if system.segmenter is None and clip.masks is not None:
        past_masks = clip.masks[:PAST_FRAMES]
    else:
        past_masks = segment_frames(system, past, size=size)
    if isinstance(system, ObjectDynamics):
        outlook = forecast_ahead(system, past_masks, horizon=horizon)
        masks: list[np.ndarray | None] = list(outlook.masks)
    else:
        given = torch.from_numpy(past_masks[None]) if system.needs_masks else _frames_tensor(system, past, size)
        mask = system.predict(given, (HEIGHT, WIDTH))[0].cpu().numpy()
        masks = [*[None] * (horizon - 1), mask]
    return ClipForecast(masks, past_masks, outlook)


@torch.inference_mode()
def segment_frames(system: Forecaster, frames: np.ndarray, *, size: tuple[int, int]) -> np.ndarray:
    """frames: (T, 3, 160, 240) uint8 -> (T, 160, 240) class ids by the system's segmenter."""
    masks = system.segment(_frames_tensor(system, frames, size)).to(torch.uint8)
    return F.interpolate(masks, size=(HEIGHT, WIDTH), mode="nearest-exact")[0].cpu().numpy()


def _frames_tensor(system: Forecaster, frames: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """(T, 3, H, W) uint8 -> (1, T, 3, height, width) float in [0, 1], on the device of the system's networks."""
    scaled = to_float(torch.from_numpy(area_scale(frames, height=size[0], width=size[1])[None]))
    parameters = (parameter for network in system.modules() for parameter in network.parameters())
    first = next(parameters, None)
    return scaled if first is None else scaled.to(first.device)
