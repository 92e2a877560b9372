"""Forecasts of a split by several processes that see the same folders, on one machine or many.

Each forecasts parts of the split and leaves them as files. They outlive it: a part that is there is not made again.
"""

import contextlib
import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from vidseg_utils.data import SplitCache
from vidseg_utils.data.locks import lock_folder, lock_path
from vidseg_utils.data.parallel import MapFunction
from vidseg_utils.device import find_device
from vidseg_utils.evaluation.batches import ForecastBatch, clips_that_fit, forecast_batches
from vidseg_utils.paths import atomic_write
from vidseg_utils.systems import Forecaster, Workspace, build_system, without_reconstructor

PART_VIDEOS = 32


@dataclass(frozen=True)
class TrainedSystem:
    """A system that any process can load."""

    name: str
    workspace: Workspace
    reconstructor: bool = True  # see `without_reconstructor`

    def load(self) -> Forecaster:
        """Raises what `build_system` raises."""
        system = build_system(self.name, workspace=self.workspace)
        return system if self.reconstructor else without_reconstructor(system)


@contextlib.contextmanager
def forecast_workers(
    parallel_map: MapFunction | None, trained: TrainedSystem, *, folder: Path, device: str | None
) -> Iterator["ForecastWorkers | None"]:
    """Workers that forecast in the block; None if there is no `parallel_map`.

    folder: of the parts. It is locked in the block, and deleted at its end, unless by an error.
    device: of the workers; None: a GPU if there is one
    """
    if parallel_map is None:
        yield None
        return
    with lock_folder(folder):
        yield ForecastWorkers(parallel_map, trained, folder.absolute(), device)
        shutil.rmtree(folder, ignore_errors=True)
        lock_path(folder).unlink(missing_ok=True)


@dataclass(frozen=True)
class ForecastWorkers:
    """Processes that forecast in place of this one: see `forecast_workers`."""

    parallel_map: MapFunction
    trained: TrainedSystem
    folder: Path
    device: str | None

    def forecast(
        self,
        system: Forecaster,
        split: SplitCache,
        *,
        size: tuple[int, int],
        batch_size: int | None,
        true_masks: bool = False,
        scores_segmentation: bool = False,
    ) -> Iterator[ForecastBatch]:
        """The same forecasts as `forecast_batches`, in parts.

        system: the trained one, loaded here; batch_size: None for as many clips as the memory of a worker takes
        """
        workspace = replace(
            self.trained.workspace, root=split.root.absolute(), runs=self.trained.workspace.runs.absolute()
        )  # workers start in other folders
        part = _Part(
            replace(self.trained, workspace=workspace),
            self.device,
            split.split,
            _fingerprint(system, split),
            size,
            batch_size,
            true_masks,
            scores_segmentation,
        )
        paths = {start: self.folder / part.file_name(start) for start in range(0, len(split), PART_VIDEOS)}
        missing = [start for start, path in paths.items() if not _is_sound(path)]
        made = self.parallel_map(partial(_make_part, part, self.folder), missing)
        for start, path in paths.items():
            if start in missing:
                next(made)
            with np.load(path, allow_pickle=False) as arrays:
                yield ForecastBatch(arrays["masks"], arrays["segmentation"], float(arrays["seconds"]))


@dataclass(frozen=True)
class _Part:
    """How the parts of a split are forecast."""

    trained: TrainedSystem
    device: str | None
    split: str
    fingerprint: str
    size: tuple[int, int]
    batch_size: int | None
    true_masks: bool
    scores_segmentation: bool

    def file_name(self, start: int) -> str:
        """Of the part that begins at that index. Parts of other forecasts have other names."""
        how = json.dumps([self.fingerprint, self.size, self.batch_size, self.true_masks, self.scores_segmentation])
        return f"{start:06d}-{hashlib.sha256(how.encode()).hexdigest()[:12]}.npz"


def _make_part(part: _Part, folder: Path, start: int) -> None:
    """In a worker: forecast the videos of a part and write its file, unless another one has done so meanwhile."""
    path = folder / part.file_name(start)
    if _is_sound(path):
        return
    system, split = _load(part.trained, part.device, part.split, part.fingerprint)
    device = find_device(part.device)
    batches = list(
        forecast_batches(
            system,
            split,
            size=part.size,
            device=device,
            batch_size=part.batch_size or clips_that_fit(split, device),
            start=start,
            stop=min(start + PART_VIDEOS, len(split)),
            true_masks=part.true_masks,
            scores_segmentation=part.scores_segmentation,
        )
    )
    with atomic_write(path) as temporary:
        np.savez(
            temporary,
            masks=np.concatenate([batch.masks for batch in batches]),
            segmentation=np.sum([batch.segmentation for batch in batches], axis=0),
            seconds=sum(batch.seconds for batch in batches),
        )


@lru_cache(maxsize=1)  # a worker makes many parts
def _load(trained: TrainedSystem, device: str | None, name: str, fingerprint: str) -> tuple[Forecaster, SplitCache]:
    workspace = replace(trained.workspace, device=find_device(device))
    system, split = replace(trained, workspace=workspace).load(), workspace.split(name)
    if _fingerprint(system, split) != fingerprint:
        raise ValueError(f"{trained.name} or its data have changed meanwhile; run the same command again")
    return system, split


def _fingerprint(system: Forecaster, split: SplitCache) -> str:
    """Of what the forecasts depend on."""
    content = {**system.identity(), "split": split.meta["id"], "videos": len(split)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _is_sound(path: Path) -> bool:
    return zipfile.is_zipfile(path)
