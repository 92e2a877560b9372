"""A second score, as SlotFormer's authors compare forecasts: 6 frames in, 10 out, at 64x64 (Wu et al., ICLR 2023).

Their score is the mean IoU of the foreground objects, each frame for itself. They match objects by overlap, because
their slots have no classes; here an object must have the right class.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64, Integer, UInt8
from torch import Tensor

from vidseg_utils.classes import BACKGROUND, N_CLASSES
from vidseg_utils.data import SplitCache, nearest_scale, to_float
from vidseg_utils.progress import ProgressBar
from vidseg_utils.systems import Forecaster
from vidseg_utils.systems.copy_last import CopyLast
from vidseg_utils.systems.image_dynamics.system import ImageDynamics
from vidseg_utils.systems.jepa.system import JEPASystem
from vidseg_utils.systems.object_dynamics import ObjectDynamics, forecast_ahead

GIVEN_FRAMES, FORECAST_FRAMES = 6, 10
SIZE_PX = 64  # height and width of the masks
PUBLISHED_FOREGROUND_MIOU = {"SlotFormer": 0.494}  # on real CLEVRER videos, see docs/results.md


def foreground_miou(
    prediction: Integer[np.ndarray, "T H W"], target: Integer[np.ndarray, "T H W"]
) -> Float64[np.ndarray, " T"]:
    """Of each frame, the mean IoU of the objects that its true mask shows; NaN for a frame without objects."""
    scores = np.full(len(target), np.nan)
    for frame, (said, true) in enumerate(zip(prediction, target, strict=True)):
        ious = []
        for class_id in np.unique(true[(true != BACKGROUND) & (true < N_CLASSES)]):
            own, area = said == class_id, true == class_id
            ious.append((own & area).sum() / (own | area).sum())
        if ious:
            scores[frame] = np.mean(ious)
    return scores


def can_forecast_every_frame(system: Forecaster) -> bool:
    """Whether a system forecasts any number of frames after any number of frames.

    The others read exactly 11 frames: their networks have a channel for each, or forecast frame 21 only.
    """
    return isinstance(system, CopyLast | ImageDynamics | JEPASystem | ObjectDynamics)


@torch.inference_mode()
def forecast_every_frame(
    system: Forecaster,
    past: Float[Tensor, "T 3 H W"] | Integer[Tensor, "T H W"],
    *,
    horizon: int,
) -> UInt8[np.ndarray, "horizon h w"]:
    """Forecast the masks 1, 2, … `horizon` frames after a clip's given frames or true masks.

    Raises ValueError for a system that cannot: see `can_forecast_every_frame`.
    """
    if not can_forecast_every_frame(system):
        raise ValueError(
            f"{system.name} reads exactly 11 frames; choose a system that forecasts objects, a copy, or jepa"
        )
    if isinstance(system, JEPASystem):
        logits = system.forecaster(past[None], range(1, horizon + 1))[0]
        return logits.argmax(dim=1).to("cpu", torch.uint8).numpy()
    segmented = past.ndim == 4
    masks = system.segment(past[None])[0] if segmented else past
    given = masks.to("cpu", torch.uint8).numpy()
    if isinstance(system, ObjectDynamics):
        offset = system.segmenter_offset if segmented else system.constants.label_offset
        return forecast_ahead(system, given, horizon=horizon, offset=offset).masks
    if isinstance(system, ImageDynamics):
        return system.forecast_every_frame(given, horizon=horizon, segmented=segmented, device=past.device)
    last = np.where(given[-1] < N_CLASSES, given[-1], BACKGROUND).astype(np.uint8)
    return np.broadcast_to(last, (horizon, *last.shape))


def score_as_slotformer(
    system: Forecaster,
    split: SplitCache,
    *,
    device: torch.device | str = "cpu",
    true_masks: bool = False,
    videos: int | None = None,
    progress: bool = True,
) -> Float64[np.ndarray, " T"]:
    """The mean IoU of foreground objects in each of the 10 frames after the first 6 of every clip, in [0, 1].

    true_masks: give the system the true masks instead of the frames; videos: how many of the first; None: all
    Raises ValueError for a split without masks, and what `forecast_every_frame` raises.
    """
    if split.masks is None:
        raise ValueError("a split without masks cannot be scored; choose train or val")
    count = len(split) if videos is None else min(videos, len(split))
    scores = []
    for index in ProgressBar(range(count), desc=f"score {system.name}", unit="video", disable=not progress):
        masks = np.array(split.masks[index])
        past = torch.from_numpy(masks[:GIVEN_FRAMES]).long()
        if not true_masks:
            past = to_float(torch.tensor(split.frames[index, :GIVEN_FRAMES]))
        answer = forecast_every_frame(system, past.to(device), horizon=FORECAST_FRAMES)
        truth = masks[GIVEN_FRAMES : GIVEN_FRAMES + FORECAST_FRAMES]
        answer, truth = (nearest_scale(shown, height=SIZE_PX, width=SIZE_PX) for shown in (answer, truth))
        scores.append(foreground_miou(answer, truth))
    return np.nanmean(scores, axis=0)
