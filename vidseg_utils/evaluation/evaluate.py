"""Evaluate any system the same way: forecast each clip of a split, score the forecasts, save masks and metrics."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data import SplitCache, check_labels, dataset_identity
from vidseg_utils.evaluation.batches import MAX_BATCH_SIZE, forecast_batches, past_clips
from vidseg_utils.evaluation.shared_work import ForecastWorkers
from vidseg_utils.metrics import MaskScore, confusion_matrix, jaccard_from_confusion, reference_masks
from vidseg_utils.paths import atomic_write, write_json
from vidseg_utils.progress import ProgressBar
from vidseg_utils.run_folders import MACHINE
from vidseg_utils.systems import Forecaster, ObjectDynamics, Workspace
from vidseg_utils.task import CLIP_FRAMES
from vidseg_utils.training import describe_machine, is_trained
from vidseg_utils.training.run_folder import read_config


@dataclass(frozen=True)
class Evaluation:
    """The forecasts of a system for a split, and their scores."""

    metrics: dict[str, float]
    predictions: np.ndarray  # (N, H, W) uint8 class ids of the last frame
    numbers: np.ndarray  # (N,) numbers of the videos
    trained_on: dict[str, dict[str, str]] = field(default_factory=dict)  # see `Forecaster.trained_on`
    segmenter_precision: str = "no"  # see `Forecaster.segmenter_precision`

    def save(self, run: Path, *, system: str, workspace: Workspace, split: str, true_masks: bool) -> None:
        """Write config.json, predictions.npz and metrics.json into the folder `run`.

        metrics.json is written last: a folder that has it is complete. Raises what `check_evaluation_folder` raises.
        """
        description = describe_evaluation(system, workspace, split=split, true_masks=true_masks)
        check_evaluation_folder(run, description)
        (run / "metrics.json").unlink(missing_ok=True)
        made_by = {"trained_on": self.trained_on, "segmenter_precision": self.segmenter_precision}
        write_json(run / "config.json", {**description, **made_by, MACHINE: describe_machine()})
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


def evaluate_system(
    system: Forecaster,
    split: SplitCache,
    *,
    device: torch.device | str = "cpu",
    true_masks: bool = False,
    batch_size: int | None = None,
    progress: bool = True,
    workers: ForecastWorkers | None = None,
    processes: int = 1,
) -> Evaluation:
    """Forecast frame 21 of every clip of a labelled split and score it.

    true_masks: give the system the true masks of frames 0..10 instead of the frames.
    batch_size: clips at once; None for MAX_BATCH_SIZE of object dynamics, which segments clip by clip, else 8
    progress: show a progress bar over the videos on stderr
    workers: processes that forecast in place of this one; `device` is then that of this process alone
    processes: see `forecast_batches`; `seconds_per_video` is the time of all together
    The metrics are those of `MaskScore`; the baseline `copy_last_jaccard` (the true mask of frame 10 as the forecast)
    and the upper bound `oracle_jaccard` (the truth without objects never seen); `segmentation_jaccard` of frames 0..10
    if the system has a segmenter; `seconds_per_video`, `parameters`, `gflops_per_video` (1e9 operations) and `videos`.
    Raises ValueError for a split without masks, or whose masks have no label in frame 21 or no object at all.
    """
    if split.masks is None:
        raise ValueError("a split without masks cannot be scored; choose train or val")
    check_labels(split, frames=[CLIP_FRAMES - 1])
    batch_size = batch_size or (MAX_BATCH_SIZE if isinstance(system, ObjectDynamics) else 8)
    score = MaskScore()
    copy_last, oracle, segmentation = torch.zeros(3, N_CLASSES, N_CLASSES, dtype=torch.int64)  # confusion matrices
    scores_segmentation = system.segmenter is not None and not true_masks
    settings = {
        "size": split.masks.shape[-2:],
        "batch_size": batch_size,
        "true_masks": true_masks,
        "scores_segmentation": scores_segmentation,
    }
    if workers is None:
        batches = forecast_batches(system, split, device=device, processes=processes, **settings)
    else:
        batches = workers.forecast(system, split, **settings)
    predictions, seconds, n_done = [], 0.0, 0
    with ProgressBar(total=len(split), desc=f"evaluate {system.name}", unit="video", disable=not progress) as bar:
        for batch in batches:
            prediction = torch.from_numpy(batch.masks)
            masks = torch.tensor(split.masks[n_done : n_done + len(prediction)])
            score.update(prediction, masks)
            for confusion, reference in zip((copy_last, oracle), reference_masks(masks), strict=True):
                confusion += confusion_matrix(reference, masks[:, -1])
            segmentation += torch.from_numpy(batch.segmentation)
            predictions.append(batch.masks)
            seconds += batch.seconds
            n_done += len(prediction)
            bar.update(len(prediction))

    last = (len(split) - 1) // batch_size * batch_size  # the first clip of the last batch
    metrics = score.result() | {
        "copy_last_jaccard": jaccard_from_confusion(copy_last),
        "oracle_jaccard": jaccard_from_confusion(oracle),
        "seconds_per_video": seconds / len(split),
        "parameters": system.count_parameters(),
        "gflops_per_video": _gflops(system, past_clips(split, last, last + 1, device=device, true_masks=true_masks)),
        "videos": len(split),
    }
    if scores_segmentation and segmentation.any():  # frames 0..10 may have no label
        metrics["segmentation_jaccard"] = jaccard_from_confusion(segmentation)
    precision = "no" if true_masks else system.segmenter_precision(torch.device(device))
    return Evaluation(metrics, np.concatenate(predictions), np.asarray(split.numbers), system.trained_on(), precision)


def _gflops(system: Forecaster, past: Tensor) -> float:
    """Floating-point operations of the networks for one clip, in 1e9."""
    with FlopCounterMode(display=False) as counter:
        system.predict(past)
    return counter.get_total_flops() / 1e9
