"""The forecasts that an evaluation left in its run folder, beside the videos that they were made for."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vidseg_utils.data import SplitCache, dataset_identity, open_split
from vidseg_utils.metrics import jaccard
from vidseg_utils.paths import data_dir
from vidseg_utils.training.run_folder import read_config

PREDICTIONS = "predictions.npz"
_HEADER_BYTES = 1 << 16  # more than the header of an array in a file takes


@dataclass(frozen=True)
class SavedForecasts:
    """What a system forecast for the videos of a split, and the split."""

    run: Path
    config: dict[str, Any]  # config.json of the run folder
    split: SplitCache
    numbers: np.ndarray  # (N,) numbers of the forecast videos
    masks: np.ndarray  # (N, H, W) uint8 class ids of frame 21

    def clip(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames (22, 3, H, W), true masks (22, H, W) and the forecast mask (H, W) of a video, all uint8.

        Raises ValueError for a video that the run does not have.
        """
        if number not in self.numbers:
            raise ValueError(f"run {self.run.name} has no video {number}; it has {_spans(self.numbers)}")
        index = int(np.searchsorted(self.split.numbers, number))
        assert self.split.masks is not None  # `read_forecasts` checks it
        forecast = self.masks[int(np.flatnonzero(self.numbers == number)[0])]
        return np.array(self.split.frames[index]), np.array(self.split.masks[index]), forecast

    def targets(self) -> np.ndarray:
        """(N, H, W) uint8: the true masks of frame 21 of the forecast videos."""
        assert self.split.masks is not None
        return self.split.masks[np.searchsorted(self.split.numbers, self.numbers), -1]

    def scores(self) -> np.ndarray:
        """(N,): the Jaccard index of each video on its own."""
        return np.array([jaccard(m[None], t[None]) for m, t in zip(self.masks, self.targets(), strict=True)])


def read_forecasts(run: Path | str, *, root: Path | str | None = None) -> SavedForecasts:
    """The forecasts in a run folder.

    root: the data set; by default it is found by its identity, beside the folder of runs and in the data folder
    Raises ValueError, with the cure, for a folder without forecasts, damaged ones, and data that are not found.
    """
    run = Path(run)
    config = read_config(run)
    if "system" not in config or not (run / PREDICTIONS).is_file():
        raise ValueError(f"{run} holds no evaluated system; make one with `vidseg evaluate SYSTEM`")
    try:
        scored_on, split, (height, width) = config["scored_on"], str(config["split"]), config["size"]
        data_id, text, profile = str(scored_on["id"]), scored_on["text"], str(config["profile"])
        height, width = int(height), int(width)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"run {run.name} was made by an earlier version; delete it and evaluate again") from None
    if root is None:
        folders = (run.resolve().parent.parent / "data", data_dir())
        found = find_data(
            data_id, tuple(path for folder in folders for path in (folder / profile, *_subfolders(folder)))
        )
        if found is None:
            raise ValueError(f"the data of run {run.name} ({text}) are not in {data_dir()}; say where they are: --root")
    else:
        found = Path(root)
        if (own := dataset_identity(found))["id"] != data_id:
            raise ValueError(f"run {run.name} was scored on other data ({text}) than {root} ({own['text']})")
    videos = open_split(found, split, height=height, width=width)
    if videos.masks is None:
        raise ValueError(f"run {run.name} is of the split {split!r}, which has no masks")
    numbers, masks = _read_masks(run / PREDICTIONS, videos)
    return SavedForecasts(run, config, videos, numbers, masks)


@lru_cache
def find_data(data_id: str, candidates: tuple[Path, ...]) -> Path | None:
    """The first of these folders that is the data set of that identity."""
    for folder in candidates:
        try:
            if dataset_identity(folder)["id"] == data_id:
                return folder
        except (OSError, ValueError):  # no data set
            continue
    return None


def _subfolders(folder: Path) -> Sequence[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _read_masks(path: Path, videos: SplitCache) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and masks. Raises ValueError for a damaged file, and for masks that do not fit the videos."""
    assert videos.masks is not None
    fault = ValueError(f"{path} is damaged, or the videos have changed since; evaluate again")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > videos.masks[:, -1].nbytes * 2 + _HEADER_BYTES:
                raise fault
        with np.load(path, allow_pickle=False) as arrays:
            numbers, masks = arrays["numbers"], arrays["masks"]
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError):
        raise fault from None
    if masks.dtype != np.uint8 or masks.shape != (len(numbers), *videos.masks.shape[2:]):
        raise fault
    if not np.isin(numbers, videos.numbers).all():
        raise fault
    return numbers, masks


def _spans(numbers: np.ndarray) -> str:
    """Such as "1000 to 1099"."""
    return f"{len(numbers)} videos, {numbers.min()} to {numbers.max()}" if len(numbers) else "none"
