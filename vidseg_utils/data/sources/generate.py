"""Generate a data set in the course layout: any size, on all cores, stopped and gone on with at any time.

A folder holds one world: its seed and constants are kept in `generated.json`, and another world is refused.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from vidseg_utils import __version__
from vidseg_utils.data.cache import filled_numbers, filling
from vidseg_utils.data.layout import RECORD, SPLITS
from vidseg_utils.data.locks import lock_dataset
from vidseg_utils.data.parallel import Run, n_cores, worker_processes
from vidseg_utils.data.sources.generated_video import Job, make_split_video, names_in, write_split_video
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.simulator.settings import PhysicsSettings

COURSE_STARTS = {"train": 0, "val": 1000, "unlabeled": 2000, "hidden": 15000}  # first video number of each split
COURSE_SIZES = {"train": 1000, "val": 1000, "unlabeled": 13000}  # the most that fit before the next split's first
STORES = ("png", "cache")
VIDEOS_WORTH_A_PROCESS = 12  # starting one takes as long as making about a dozen videos


def generate(
    root: Path | str,
    *,
    train: int,
    val: int,
    unlabeled: int,
    hidden: int,
    seed: int,
    processes: int | None = None,
    store: str = "png",
    device: str | None = None,
    physics: PhysicsSettings | None = None,
    progress: bool = True,
) -> None:
    """Make that many videos of each split under `root`; what is already there stays, so a second call goes on.

    Splits may grow later, with the same seed, physics and store. processes: all cores when None; a script that asks
    for more than one needs the usual `if __name__ == "__main__":`. store: "png" writes the course layout, "cache"
    fills the splits' memory-mapped caches directly (full size, no image files). device: casts the rays; a CUDA GPU
    where there is one when None (its pictures may differ from a CPU's by a rounding).
    Raises ValueError for impossible sizes and for a folder that holds other data, OSError, naming the file, when it
    cannot be written or another process generates there.
    """
    root, physics = Path(root), physics or PhysicsSettings()
    sizes = dict(zip(SPLITS, (train, val, unlabeled, hidden), strict=True))
    for name, value in {**sizes, "seed": seed}.items():
        if value < 0:
            raise ValueError(f"{name} is {value}; it must be 0 or more")
    if processes is not None and processes < 1:
        raise ValueError(f"processes is {processes}; it must be 1 or more")
    if store not in STORES:
        raise ValueError(f"unknown store {store!r}; choose from {list(STORES)}")
    device = _find_device(device)
    with lock_dataset(root):
        starts = _agree(root, sizes, {"seed": seed, "store": store, "physics": asdict(physics)})
        jobs = {
            split: [Job(root, split, starts[split] + n, seed, physics, device) for n in range(size)]
            for split, size in sizes.items()
        }
        if store == "png":
            todo = [job for split in SPLITS for job in jobs[split] if not (job.has_files() and job.has_truth())]
            with _started(processes, len(todo), sum(sizes.values()), progress) as (run, bar):
                for _ in run(write_split_video, todo):
                    bar.update()
        else:
            key = f"generated with seed {seed}, {physics}"
            _fill_caches(root, jobs, key=key, processes=processes, progress=progress)


def _find_device(wanted: str | None) -> str:
    """A GPU where there is one, if none is wanted in particular. Raises ValueError for one that is not there."""
    device = wanted or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # an unknown name; a torch that was built without CUDA
        raise ValueError(f"cannot use the device {device!r} ({str(error).splitlines()[0][:80]}); choose cpu") from None
    return device


def _fill_caches(root: Path, jobs: dict[str, list[Job]], *, key: str, processes: int | None, progress: bool) -> None:
    there = {split: set(filled_numbers(root, split, key=key)) for split in SPLITS}
    todo = {split: [job for job in jobs[split] if job.number not in there[split]] for split in SPLITS}
    n_todo, n_total = (sum(map(len, part.values())) for part in (todo, jobs))
    with _started(processes, n_todo, n_total, progress) as (run, bar):
        for split in SPLITS:
            if not jobs[split]:
                continue
            # even with nothing to do: an interrupted run may not have published its videos
            with filling(root, split, key=key, n_new=len(todo[split])) as writer:
                for job, video in zip(todo[split], run(make_split_video, todo[split]), strict=True):
                    frames, masks, trajectory = video
                    writer.append(job.number, frames, masks, annotation=trajectory)
                    bar.update()


@contextlib.contextmanager
def _started(wanted: int | None, n_todo: int, n_total: int, progress: bool) -> Iterator[tuple[Run, tqdm]]:
    """The processes that the work is worth, and its progress bar."""
    n_processes = min(wanted or n_cores(), max(1, n_todo // VIDEOS_WORTH_A_PROCESS))
    with (
        tqdm(total=n_total, initial=n_total - n_todo, unit="video", disable=not progress, desc="generating") as bar,
        worker_processes(n_processes) as run,
    ):
        yield run, bar


def _agree(root: Path, sizes: dict[str, int], world: dict) -> dict[str, int]:
    """Check `root` against what it was generated with, record what it will hold; returns each split's first number."""
    before = dict.fromkeys(SPLITS, 0)
    if (root / RECORD).exists():
        old = read_json(root / RECORD)
        for key, value in world.items():
            if old.get(key) != value:
                raise ValueError(f"{root} was generated with {key} {old.get(key)}, not {value}; use another folder")
        before |= old.get("sizes", {})
    elif present := [split for split in SPLITS if names_in(root / split)]:
        raise ValueError(f"{root / present[0]} holds videos that were not generated here; use another folder")
    sizes = {split: max(sizes[split], before[split]) for split in SPLITS}
    starts = first_numbers(sizes)
    for split, start in first_numbers(before).items():
        if before[split] and start != starts[split]:
            raise ValueError(
                f"{root}: with these sizes {split} would start at video_{starts[split]}, but it starts at "
                f"video_{start}; use another folder, or sizes up to {COURSE_SIZES}"
            )
    write_json(root / RECORD, {**world, "package_version": __version__, "sizes": sizes, "first_numbers": starts})
    return starts


def first_numbers(sizes: dict[str, int]) -> dict[str, int]:
    """The first video number of each split: the course's own where the sizes fit, else one after another."""
    if all(sizes[split] <= most for split, most in COURSE_SIZES.items()):
        return COURSE_STARTS
    ends = np.cumsum([sizes[split] for split in SPLITS]).tolist()
    return dict(zip(SPLITS, [0, *ends[:-1]], strict=True))
