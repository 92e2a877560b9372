"""The submission that the course asked for: forecast in batches that fit the memory, checked, written and scored.

Until all videos are forecast, the masks so far lie beside the submission, in a folder FILE.partial.
"""

import os
import pickle
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data import HIDDEN_TRUTH, SplitCache, to_float
from vidseg_utils.data.layout import MASK_FILE
from vidseg_utils.data.locks import lock_folder, lock_path
from vidseg_utils.data.mask_file import read_mask_file
from vidseg_utils.data.resumable_arrays import ResumableArrays
from vidseg_utils.metrics import MaskScore, reference_masks
from vidseg_utils.paths import atomic_write
from vidseg_utils.systems import Forecaster
from vidseg_utils.task import CLIP_FRAMES, HEIGHT, PAST_FRAMES, WIDTH

_MASKS_FILE = "masks.npy"
# Memory that a clip takes for each pixel of a frame in the largest published network, measured
BYTES_PER_PIXEL = 24_000
MAX_BATCH_SIZE = 32  # larger batches are not faster


def predict_split(
    system: Forecaster,
    split: SplitCache,
    *,
    device: torch.device | str = "cpu",
    batch_size: int | None = None,
    partial: Path | None = None,
    progress: bool = True,
) -> Tensor:
    """Forecast every video of a split, labelled or not -> (N, 160, 240) uint8 in number order.

    batch_size: clips at once; None for as many as the free memory takes. It is halved when memory runs out.
    partial: a folder for the masks so far. A call that was interrupted resumes from it, with the same batch size.
        Masks of another system or of other data in it are deleted. The caller holds `lock_folder(partial)` and
        removes the folder.
    """
    device = torch.device(device)
    batch_size = batch_size or clips_that_fit(split, device)
    if partial is None:
        batches = _forecast_batches(system, split, device=device, batch_size=batch_size, progress=progress)
        return torch.from_numpy(np.concatenate(list(batches)))
    source = {
        **system.identity(),
        "split": split.meta["id"],
        "videos": len(split),
    }
    masks = ResumableArrays(partial, {_MASKS_FILE: (HEIGHT, WIDTH)}, source=source)
    masks.reserve(len(split))
    batches = _forecast_batches(
        system,
        split,
        device=device,
        start=masks.n_done,
        batch_size=masks.notes.get("batch_size", batch_size),
        progress=progress,
    )
    try:
        for batch in batches:
            masks.notes["batch_size"] = len(batch)
            masks.append(batch)
    finally:
        masks.save()
    return torch.from_numpy(np.load(partial / _MASKS_FILE))


def _forecast_batches(
    system: Forecaster,
    split: SplitCache,
    *,
    device: torch.device,
    start: int = 0,
    batch_size: int,
    progress: bool,
) -> Iterator[np.ndarray]:
    """The masks (B, 160, 240) uint8 of the videos from `start` on."""
    bar = tqdm(total=len(split), initial=start, desc=f"predict {system.name}", unit="video", disable=not progress)
    with bar:
        while start < len(split):
            past = to_float(torch.tensor(split.frames[start : start + batch_size, :PAST_FRAMES]).to(device))
            try:
                masks = system.predict(past, (HEIGHT, WIDTH)).cpu().numpy()
            except RuntimeError as error:
                if batch_size == 1 or not _is_out_of_memory(error):
                    raise
                batch_size //= 2
                continue
            yield masks
            start += len(masks)
            bar.update(len(masks))


def clips_that_fit(split: SplitCache, device: torch.device) -> int:
    """How many clips a forecast may take at once: half of the free memory, at most MAX_BATCH_SIZE, at least one."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    elif "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        free = 0  # unknown: one clip at a time
    pixels = split.frames.shape[-2] * split.frames.shape[-1]
    return int(min(max(1, free // 2 // (BYTES_PER_PIXEL * pixels)), MAX_BATCH_SIZE))


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def write_submission(
    path: Path | str,
    system: Forecaster,
    split: SplitCache,
    *,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Tensor:
    """Forecast a split and save it as `.pt`. After an interruption it resumes and ends with the same file."""
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")
    with lock_folder(partial):
        masks = predict_split(system, split, device=device, partial=partial, progress=progress)
        save_submission(path, masks, videos=len(split))
        shutil.rmtree(partial)
        lock_path(partial).unlink()
    return masks


def save_submission(path: Path | str, masks: Tensor, *, videos: int) -> None:
    """Check a submission and write it as `.pt`. Raises ValueError saying what is wrong; then nothing is written.

    masks: (videos, 160, 240) uint8 class ids 0..48, videos in number order.
    """
    check_submission(masks, videos=videos)
    with atomic_write(path) as temporary:
        torch.save(masks.contiguous(), temporary)


def check_submission(masks: Tensor, *, videos: int) -> None:
    """Raise ValueError, saying what is wrong, unless masks are (videos, 160, 240) uint8 class ids 0..48."""
    if masks.dtype != torch.uint8 or tuple(masks.shape) != (videos, HEIGHT, WIDTH):
        raise ValueError(
            f"a submission is a uint8 tensor of shape {(videos, HEIGHT, WIDTH)}; got {masks.dtype} {tuple(masks.shape)}"
        )
    if masks.numel() and int(masks.max()) >= N_CLASSES:
        raise ValueError(f"class ids run from 0 to {N_CLASSES - 1}; the submission holds {int(masks.max())}")


def read_submission(path: Path | str, *, videos: int) -> Tensor:
    """The tensor in a `.pt` file, checked. Raises FileNotFoundError, or ValueError naming the file and the fault."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no submission {path}; write one with `vidseg predict SYSTEM --out {path}`")
    try:
        masks = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a tensor saved by torch.save: {str(error).splitlines()[0][:120]}") from None
    if not isinstance(masks, Tensor):
        raise ValueError(f"{path} holds a {type(masks).__name__}, not a tensor")
    try:
        check_submission(masks, videos=videos)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return masks


def score_submission(path: Path | str, root: Path | str) -> dict[str, float]:
    """Judge a submission against the truth of the hidden videos, which generated data keep in ROOT/hidden_truth.

    Returns the metrics of `MaskScore`, `copy_last_jaccard`, `oracle_jaccard` and `videos`. Raises ValueError for a set
    without that truth, and what `read_submission` raises.
    """
    truth = Path(root) / HIDDEN_TRUTH
    folders = {
        int(folder.name[6:]): folder for folder in truth.glob("video_*") if re.fullmatch(r"\d+", folder.name[6:])
    }
    if not folders:
        raise ValueError(f"{root} keeps no truth of its hidden videos (there is no {truth}); only generated data do")
    masks = read_submission(path, videos=len(folders))
    score, copy_last_score, oracle_score = MaskScore(), MaskScore(), MaskScore()
    for mask, number in zip(masks, sorted(folders), strict=True):
        target = torch.from_numpy(read_mask_file(folders[number] / MASK_FILE, shape=(CLIP_FRAMES, HEIGHT, WIDTH)))[None]
        copy_last, oracle = reference_masks(target)
        for counts, answer in ((score, mask[None]), (copy_last_score, copy_last), (oracle_score, oracle)):
            counts.update(answer.where(answer < N_CLASSES, 0), target)
    return score.result() | {
        "copy_last_jaccard": copy_last_score.result()["jaccard"],
        "oracle_jaccard": oracle_score.result()["jaccard"],
        "videos": len(folders),
    }
