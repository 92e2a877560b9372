"""Evaluate any system the same way: forecast each clip of a split, score the forecasts, save masks and metrics."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from vidseg_utils.classes import BACKGROUND, N_CLASSES
from vidseg_utils.data import ClipDataset, SplitCache, check_labels, dataset_identity, to_float
from vidseg_utils.metrics import MaskScore, confusion_matrix, jaccard_from_confusion, reference_masks
from vidseg_utils.paths import atomic_write, write_json
from vidseg_utils.progress import ProgressBar
from vidseg_utils.run_folders import MACHINE
from vidseg_utils.systems import Forecaster, Workspace
from vidseg_utils.task import CLIP_FRAMES, PAST_FRAMES
from vidseg_utils.training import describe_machine, is_trained
from vidseg_utils.training.run_folder import read_config


@dataclass(frozen=True)
class Evaluation:
    """The forecasts of a system for a split, and their scores."""

    metrics: dict[str, float]
    predictions: np.ndarray  # (N, H, W) uint8 class ids of the last frame
    numbers: np.ndarray  # (N,) numbers of the videos
    trained_on: dict[str, dict[str, str]] = field(default_factory=dict)  # see `Forecaster.trained_on`

    def save(self, run: Path, *, system: str, workspace: Workspace, split: str, true_masks: bool) -> None:
        """Write config.json, predictions.npz and metrics.json into the folder `run`.

        metrics.json is written last: a folder that has it is complete. Raises what `check_evaluation_folder` raises.
        """
        description = describe_evaluation(system, workspace, split=split, true_masks=true_masks)
        check_evaluation_folder(run, description)
        (run / "metrics.json").unlink(missing_ok=True)
        write_json(run / "config.json", {**description, "trained_on": self.trained_on, MACHINE: describe_machine()})
        with atomic_write(run / "predictions.npz") as temporary:
            np.savez_compressed(temporary, numbers=self.numbers, masks=self.predictions)
        write_json(run / "metrics.json", self.metrics)


def describe_evaluation(system: str, workspace: Workspace, *, split: str, true_masks: bool) -> dict[str, Any]:
    """What config.json says of an evaluation; "scored_on" is the identity of the workspace's data."""
    return {
        "system": system,
        "profile": workspace.profile.name,
        "split": split,
        "input": "true masks" if true_masks else "frames",
        "size": [workspace.profile.height, workspace.profile.width],
        "scored_on": dataset_identity(workspace.root),
    }


def check_evaluation_folder(run: Path, description: dict[str, Any]) -> None:
    """Raise ValueError, with the cure, if the folder `run` holds anything but an earlier evaluation of the same kind.

    description: from `describe_evaluation`
    """
    config, cure = read_config(run), "choose another name with --run, or another folder of runs (--runs)"
    if "system" not in config:
        if config or is_trained(run) or (run / "metrics.json").is_file():
            holds = "a training" if config or is_trained(run) else "the metrics of a notebook"
            raise ValueError(f"run folder {run} holds {holds}, which an evaluation would overwrite; {cure}")
        return
    differing = [key for key, value in description.items() if config.get(key) != value]
    if differing:
        was, now = (json.dumps(values.get(differing[0])) for values in (config, description))
        raise ValueError(
            f"run folder {run} holds another evaluation ({differing[0]}: {was} in the folder, {now} now); {cure}, or "
            "delete it"
        )


@torch.inference_mode()
def evaluate_system(
    system: Forecaster,
    split: SplitCache,
    *,
    device: torch.device | str = "cpu",
    true_masks: bool = False,
    batch_size: int = 8,
    progress: bool = True,
) -> Evaluation:
    """Forecast frame 21 of every clip of a labelled split and score it.

    true_masks: give the system the true masks of frames 0..10 instead of the frames.
    batch_size: clips at once; progress: show a progress bar over the batches on stderr
    The metrics are those of `MaskScore`; the baseline `copy_last_jaccard` (the true mask of frame 10 as the forecast)
    and the upper bound `oracle_jaccard` (the truth without objects never seen); `segmentation_jaccard` of frames 0..10
    if the system has a segmenter; `seconds_per_video`, `parameters`, `gflops_per_video` (1e9 operations) and `videos`.
    Raises ValueError for a split without masks, or whose masks have no label in frame 21 or no object at all.
    """
    if split.masks is None:
        raise ValueError("a split without masks cannot be scored; choose train or val")
    check_labels(split, frames=[CLIP_FRAMES - 1])
    score, copy_last_score, oracle_score = MaskScore(), MaskScore(), MaskScore()
    segmentation = torch.zeros(N_CLASSES, N_CLASSES, dtype=torch.int64)
    scores_segmentation = system.segmenter is not None and not true_masks
    predictions, seconds = [], 0.0
    loader = DataLoader(ClipDataset(split), batch_size=batch_size)
    for batch in ProgressBar(loader, desc=f"evaluate {system.name}", unit="batch", disable=not progress):
        masks = batch["masks"]
        past = (
            masks[:, :PAST_FRAMES].to(device) if true_masks else to_float(batch["frames"][:, :PAST_FRAMES].to(device))
        )
        start = time.perf_counter()
        segmented = system.segment(past) if scores_segmentation and system.uses_only_masks else None
        given = past if segmented is None else segmented
        prediction = system.predict(given, masks.shape[-2:], segmented=segmented is not None).cpu()
        seconds += time.perf_counter() - start
        if scores_segmentation:
            segmented = system.segment(past) if segmented is None else segmented
            segmented = F.interpolate(segmented.to(torch.uint8), size=masks.shape[-2:], mode="nearest-exact")
            segmentation += confusion_matrix(segmented.cpu(), masks[:, :PAST_FRAMES])
        copy_last, oracle = reference_masks(masks)
        score.update(prediction, masks)
        # a pixel without a label in a reference mask counts as forecast background
        copy_last_score.update(copy_last.where(copy_last < N_CLASSES, BACKGROUND), masks)
        oracle_score.update(oracle.where(oracle < N_CLASSES, BACKGROUND), masks)
        predictions.append(prediction.numpy())

    metrics = score.result() | {
        "copy_last_jaccard": copy_last_score.result()["jaccard"],
        "oracle_jaccard": oracle_score.result()["jaccard"],
        "seconds_per_video": seconds / len(split),
        "parameters": system.count_parameters(),
        "gflops_per_video": _gflops(system, past[:1]),
        "videos": len(split),
    }
    if scores_segmentation and segmentation.any():  # frames 0..10 may have no label
        metrics["segmentation_jaccard"] = jaccard_from_confusion(segmentation)
    return Evaluation(metrics, np.concatenate(predictions), np.asarray(split.numbers), system.trained_on())


def _gflops(system: Forecaster, past: Tensor) -> float:
    """Floating-point operations of the networks for one clip, in 1e9."""
    with FlopCounterMode(display=False) as counter:
        system.predict(past)
    return counter.get_total_flops() / 1e9
