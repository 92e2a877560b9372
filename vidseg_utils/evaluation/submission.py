"""The submission that the course asked for: forecast in batches that fit the memory, checked and written.

Until all videos are forecast, the masks so far lie beside the submission, in a folder FILE.partial.
"""

import hashlib
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data import SplitCache, dataset_identity
from vidseg_utils.data.locks import lock_folder, lock_path
from vidseg_utils.data.resumable_arrays import ResumableArrays
from vidseg_utils.evaluation.batches import ForecastBatch, clips_that_fit, forecast_batches
from vidseg_utils.evaluation.shared_work import ForecastWorkers
from vidseg_utils.paths import atomic_write, write_json
from vidseg_utils.progress import ProgressBar
from vidseg_utils.systems import Forecaster
from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.training.shipped import SHIPPED_MARK

logger = logging.getLogger(__name__)
_MASKS_FILE = "masks.npy"


def predict_split(
    system: Forecaster,
    split: SplitCache,
    *,
    device: torch.device | str = "cpu",
    batch_size: int | None = None,
    partial: Path | None = None,
    progress: bool = True,
    processes: int = 1,
) -> Tensor:
    """Forecast every video of a split, labelled or not -> (N, 160, 240) uint8 in number order.

    batch_size: clips at once; None for as many as the free memory takes. It is halved when memory runs out.
    partial: a folder for the masks so far. A call that was interrupted resumes from it, with the same batch size.
        Masks of another system or of other data in it are deleted. The caller holds `lock_folder(partial)` and
        removes the folder.
    processes: see `forecast_batches`
    """
    device = torch.device(device)
    batch_size = batch_size or clips_that_fit(split, device)
    if partial is None:
        settings = {"size": (HEIGHT, WIDTH), "device": device, "batch_size": batch_size, "processes": processes}
        batches = forecast_batches(system, split, **settings)
        return _collect(batches, system, split, progress=progress)
    source = {
        **system.identity(),
        "split": split.meta["id"],
        "videos": len(split),
    }
    masks = ResumableArrays(partial, {_MASKS_FILE: (HEIGHT, WIDTH)}, source=source)
    masks.reserve(len(split))
    batches = forecast_batches(
        system,
        split,
        size=(HEIGHT, WIDTH),
        device=device,
        batch_size=masks.notes.get("batch_size", batch_size),
        start=masks.n_done,
        processes=processes,
    )
    try:
        with _bar(system, split, n_done=masks.n_done, progress=progress) as bar:
            for batch in batches:
                masks.notes["batch_size"] = len(batch.masks)
                masks.append(batch.masks)
                bar.update(len(batch.masks))
    finally:
        masks.save()
    return torch.from_numpy(np.load(partial / _MASKS_FILE))


def _collect(batches: Iterable[ForecastBatch], system: Forecaster, split: SplitCache, *, progress: bool) -> Tensor:
    """The masks of all batches."""
    masks = []
    with _bar(system, split, progress=progress) as bar:
        for batch in batches:
            masks.append(batch.masks)
            bar.update(len(batch.masks))
    return torch.from_numpy(np.concatenate(masks))


def _bar(system: Forecaster, split: SplitCache, *, n_done: int = 0, progress: bool) -> ProgressBar:
    return ProgressBar(
        total=len(split), initial=n_done, desc=f"predict {system.name}", unit="video", disable=not progress
    )


def write_submission(
    path: Path | str,
    system: Forecaster,
    split: SplitCache,
    *,
    device: torch.device | str = "cpu",
    progress: bool = True,
    workers: ForecastWorkers | None = None,
    processes: int = 1,
) -> Tensor:
    """Forecast a split and save it as `.pt`. After an interruption it resumes and ends with the same file.

    FILE.pt.json beside it says which videos of which data the masks belong to. Videos that could not be read are
    missing in the submission; they are listed there, and in one logged line. Another line says that the course takes no
    submission of a system that came trained with the package.
    workers: processes that forecast in place of this one; `device` is then not used
    processes: see `forecast_batches`
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")
    with lock_folder(partial):
        if workers is None:
            settings = {"device": device, "partial": partial, "progress": progress, "processes": processes}
            masks = predict_split(system, split, **settings)
        else:
            batches = workers.forecast(system, split, size=(HEIGHT, WIDTH), batch_size=None)
            masks = _collect(batches, system, split, progress=progress)
        notes = {
            "system": system.name,
            "split": split.split,
            "numbers": split.numbers.tolist(),
            "missing": split.skipped,
            "data": dataset_identity(split.root),
        }
        save_submission(path, masks, videos=len(split), notes=notes)
        shutil.rmtree(partial, ignore_errors=True)
        lock_path(partial).unlink(missing_ok=True)
    if split.skipped:
        logger.warning(missing_videos(path, split))
    if any(run.endswith(SHIPPED_MARK) for run in system.trained_on()):
        logger.warning(f"{path} is made with shipped weights: the course forbids pretrained weights in a submission")
    return masks


def missing_videos(path: Path | str, split: SplitCache) -> str:
    """One line that names the videos of the split that a submission lacks, and the cure."""
    names = ", ".join(f"{name} ({reason})" for name, reason in list(split.skipped.items())[:3])
    more = f" and {len(split.skipped) - 3} more" if len(split.skipped) > 3 else ""
    return (
        f"{path} is incomplete: it lacks {len(split.skipped)} of {len(split.skipped) + len(split)} videos of the split "
        f"{split.split!r}, which cannot be read: {names}{more}; repair them and predict again"
    )


def save_submission(path: Path | str, masks: Tensor, *, videos: int, notes: dict[str, Any] | None = None) -> None:
    """Check a submission and write it as `.pt`. Raises ValueError saying what is wrong; then nothing is written.

    masks: (videos, 160, 240) uint8 class ids 0..48, videos in number order.
    notes: which videos the masks belong to, for the file FILE.pt.json; it also gets a checksum of the masks, so that
        notes of another submission are recognised
    """
    check_submission(masks, videos=videos)
    if notes is None:
        notes_path(path).unlink(missing_ok=True)  # of an earlier submission
    else:
        write_json(notes_path(path), {**notes, "sha256": masks_checksum(masks)})
    # through a file object, because torch writes the name of a path into the file
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        torch.save(masks.contiguous(), file)


def notes_path(path: Path | str) -> Path:
    """The file beside a submission that says which videos its masks belong to."""
    return Path(path).with_name(f"{Path(path).name}.json")


def masks_checksum(masks: Tensor) -> str:
    """SHA-256 of the masks' values."""
    return hashlib.sha256(masks.contiguous().numpy().tobytes()).hexdigest()


def check_submission(masks: Tensor, *, videos: int) -> None:
    """Raise ValueError, saying what is wrong, unless masks are (videos, 160, 240) uint8 class ids 0..48."""
    if masks.dtype != torch.uint8 or tuple(masks.shape) != (videos, HEIGHT, WIDTH):
        raise ValueError(
            f"a submission is a uint8 tensor of shape {(videos, HEIGHT, WIDTH)}; got {masks.dtype} {tuple(masks.shape)}"
        )
    if masks.numel() and int(masks.max()) >= N_CLASSES:
        raise ValueError(f"class ids run from 0 to {N_CLASSES - 1}; the submission holds {int(masks.max())}")
