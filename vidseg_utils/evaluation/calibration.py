"""Are a system's probabilities true, and which mask do they call for?"""

from dataclasses import dataclass

import numpy as np
import torch

from vidseg_utils.data import SplitCache, check_labels
from vidseg_utils.evaluation.batches import past_clips
from vidseg_utils.metrics import Reliability, ReliabilityCurve, choose_classes
from vidseg_utils.progress import ProgressBar
from vidseg_utils.systems import Forecaster
from vidseg_utils.task import CLIP_FRAMES


@dataclass(frozen=True)
class Calibration:
    """The probabilities of a system over a split."""

    curve: ReliabilityCurve
    masks: np.ndarray  # (N, H, W) uint8 class ids of the last frames, with the largest expected Jaccard index


def calibrate(
    system: Forecaster,
    split: SplitCache,
    *,
    score: float,
    videos: int | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 4,
    progress: bool = True,
) -> Calibration:
    """Compare a system's probabilities from frames with the true masks of a split's last frames.

    score: about the Jaccard index of the system; see `choose_classes`
    videos: how many of the split's first videos; None: all
    batch_size: clips at once; progress: show a progress bar on stderr
    Raises ValueError for a split without masks and for a system without probabilities.
    """
    if split.masks is None:
        raise ValueError("a split without masks cannot be compared; choose train or val")
    check_labels(split, frames=[CLIP_FRAMES - 1])
    reliability, masks = Reliability(), []
    end = len(split) if videos is None else min(videos, len(split))
    starts, (height, width) = range(0, end, batch_size), split.masks.shape[-2:]
    for start in ProgressBar(starts, desc=f"calibrate {system.name}", unit="batch", disable=not progress):
        stop = min(start + batch_size, end)
        target = torch.tensor(split.masks[start:stop, -1])
        past = past_clips(split, start, stop, device=device)
        probabilities = system.predict_probabilities(past, (height, width))
        reliability.update(probabilities, target)
        masks.append(choose_classes(probabilities, score=score).to("cpu", torch.uint8).numpy())
    return Calibration(reliability.result(), np.concatenate(masks))
