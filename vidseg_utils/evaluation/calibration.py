"""Are a system's probabilities true, and which mask do they call for?"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset

from vidseg_utils.data import ClipDataset, SplitCache, check_labels, to_float
from vidseg_utils.metrics import Reliability, ReliabilityCurve, choose_classes
from vidseg_utils.progress import ProgressBar
from vidseg_utils.systems import Forecaster
from vidseg_utils.task import CLIP_FRAMES, PAST_FRAMES


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
    clips = Subset(ClipDataset(split), range(min(videos or len(split), len(split))))
    loader = DataLoader(clips, batch_size=batch_size)
    for batch in ProgressBar(loader, desc=f"calibrate {system.name}", unit="batch", disable=not progress):
        past, target = to_float(batch["frames"][:, :PAST_FRAMES].to(device)), batch["masks"][:, -1]
        probabilities = system.predict_probabilities(past, target.shape[-2:])
        reliability.update(probabilities, target)
        masks.append(choose_classes(probabilities, score=score).to("cpu", torch.uint8).numpy())
    return Calibration(reliability.result(), np.concatenate(masks))
