"""Generated videos on disk, in the course layout: any size, on all cores, stopped and gone on with at any time.

A video depends on the seed and its own number alone, so it does not matter which process makes it or when.
"""

import multiprocessing
import os
import shutil
import signal
import threading
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import filelock
import numpy as np
import torch
from tqdm.auto import tqdm

from vidseg_utils import __version__
from vidseg_utils.data.annotation import COURSE_FRAMES, write_annotation
from vidseg_utils.data.layout import ANNOTATION, FRAMES, LABELLED, MASKS, PAST, SPLITS, write_video
from vidseg_utils.data.parallel import in_order, n_cores
from vidseg_utils.data.synthetic.physics import simulate_video
from vidseg_utils.data.synthetic.scene import PhysicsSettings
from vidseg_utils.paths import read_json, replacing, write_json

COURSE_STARTS = {"train": 0, "val": 1000, "unlabeled": 2000, "hidden": 15000}  # first video number of each split
COURSE_SIZES = {"train": 1000, "val": 1000, "unlabeled": 13000}  # the most that fit before the next split's first
RECORD = "generated.json"  # what the folder was generated with
TRUTH = "hidden_truth"  # masks and annotations of the hidden split; no loader reads it
VIDEOS_WORTH_A_PROCESS = 12  # starting one takes as long as making a dozen videos


@dataclass(frozen=True)
class _Job:
    root: Path
    split: str
    number: int
    seed: int
    physics: PhysicsSettings

    @property
    def folder(self) -> Path:
        return self.root / self.split / f"video_{self.number}"

    @property
    def truth(self) -> Path:
        return self.root / TRUTH / self.folder.name

    def is_done(self) -> bool:
        """Whether all of its files are there; folders appear whole, but somebody may have deleted a file."""
        wanted = {f"image_{t}.png" for t in range(PAST if self.split == "hidden" else FRAMES)}
        if self.split in LABELLED:
            wanted |= {MASKS, ANNOTATION}
        kept_aside = self.split != "hidden" or {MASKS, ANNOTATION} <= _names(self.truth)
        return kept_aside and wanted <= _names(self.folder)


def generate(
    root: Path | str,
    *,
    train: int,
    val: int,
    unlabeled: int,
    hidden: int,
    seed: int,
    processes: int | None = None,
    physics: PhysicsSettings | None = None,
    progress: bool = True,
) -> None:
    """Make that many videos of each split under `root`; what is already there stays, so a second call goes on.

    Splits may grow later, with the same seed and physics. processes: all cores when None.
    Raises ValueError for a folder that holds other data, FileExistsError when another process generates there, and
    OSError, naming the file, when it cannot be written.
    """
    root, physics = Path(root), physics or PhysicsSettings()
    sizes = dict(zip(SPLITS, (train, val, unlabeled, hidden), strict=True))
    for name, value in {**sizes, "seed": seed}.items():
        if value < 0:
            raise ValueError(f"{name} is {value}; it must be 0 or more")
    if processes is not None and processes < 1:
        raise ValueError(f"processes is {processes}; it must be 1 or more")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root / ".generating.lock", blocking=False):
            starts = _agree(root, sizes, seed, physics)
            jobs = [
                _Job(root, split, starts[split] + n, seed, physics) for split in SPLITS for n in range(sizes[split])
            ]
            _remove_leftovers(root)
            _work([job for job in jobs if not job.is_done()], len(jobs), processes or n_cores(), progress)
    except filelock.Timeout:
        raise FileExistsError(f"another process is generating into {root}; wait for it to end") from None
    except OSError as error:
        cure = "repair that and run the same again: it goes on where it stopped"
        raise OSError(f"cannot write {error.filename or root}: {error.strerror or error}; {cure}") from None


def make_video(seed: int, number: int, *, physics: PhysicsSettings | None = None) -> tuple:
    """Video `number` of the world `seed`: frames (22, 3, 160, 240) uint8, masks (22, 160, 240) uint8, Trajectory."""
    from vidseg_utils.data.synthetic.render import render_video

    trajectory = simulate_video(seed, number, settings=physics)
    noise_seed = int(np.random.SeedSequence([seed, number, 1]).generate_state(1)[0])
    frames, masks = render_video(trajectory.at(COURSE_FRAMES), noise_seed=noise_seed)
    return np.asarray(frames), np.asarray(masks), trajectory


def _agree(root: Path, sizes: dict[str, int], seed: int, physics: PhysicsSettings) -> dict[str, int]:
    """Check `root` against what it was generated with, record what it will hold; returns each split's first number."""
    record = {"seed": seed, "physics": asdict(physics), "package_version": __version__}
    before = dict.fromkeys(SPLITS, 0)
    if (root / RECORD).exists():
        old = read_json(root / RECORD)
        for key in ("seed", "physics"):
            if old.get(key) != record[key]:
                raise ValueError(
                    f"{root} was generated with {key} {old.get(key)}, not {record[key]}; take another folder"
                )
        before = old["sizes"]
    elif present := [split for split in SPLITS if _names(root / split)]:
        raise ValueError(f"{root / present[0]} holds videos that were not generated here; take another folder")
    record["sizes"] = {split: max(sizes[split], before[split]) for split in SPLITS}
    starts = first_numbers(record["sizes"])
    for split, start in first_numbers(before).items():
        if before[split] and start != starts[split]:
            raise ValueError(
                f"{root}: with these sizes {split} would start at video_{starts[split]}, but it starts at "
                f"video_{start}; take another folder, or split sizes up to {COURSE_SIZES}"
            )
    write_json(root / RECORD, {**record, "first_numbers": starts})
    return starts


def first_numbers(sizes: dict[str, int]) -> dict[str, int]:
    """The first video number of each split: the course's own where the sizes fit, else one after another."""
    if all(sizes[split] <= most for split, most in COURSE_SIZES.items()):
        return COURSE_STARTS
    ends = np.cumsum([sizes[split] for split in SPLITS]).tolist()
    return dict(zip(SPLITS, [0, *ends[:-1]], strict=True))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _remove_leftovers(root: Path) -> None:
    """Temporary folders of a run that was killed."""
    for folder in (*SPLITS, TRUTH):
        for leftover in (root / folder).glob(".video_*.tmp"):
            shutil.rmtree(leftover)


def _work(jobs: list[_Job], total: int, processes: int, progress: bool) -> None:
    processes = min(processes, max(1, len(jobs) // VIDEOS_WORTH_A_PROCESS))
    with tqdm(total=total, initial=total - len(jobs), unit="video", disable=not progress, desc="generate") as bar:
        if processes == 1:
            for job in jobs:
                _make(job)
                bar.update()
            return
        context = multiprocessing.get_context("spawn")  # a fork of a process that has used torch may hang
        executor = ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker)
        try:
            for _ in in_order(_make, jobs, executor=executor, ahead=4 * processes):
                bar.update()
        except BrokenExecutor:
            raise RuntimeError(
                "a worker process died, perhaps for want of memory; run again with fewer processes"
            ) from None
        finally:
            executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """One thread; Ctrl-C is the parent's to handle; gone when the parent is."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def leave_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def _make(job: _Job) -> None:
    frames, masks, trajectory = make_video(job.seed, job.number, physics=job.physics)
    if job.split == "hidden":
        with replacing(job.truth) as temporary:
            temporary.mkdir()
            np.save(temporary / MASKS, masks)
            name = f"video_{job.number:05d}.mp4"
            write_annotation(temporary / ANNOTATION, trajectory, scene_index=job.number, video_filename=name)
        write_video(job.folder, frames[:PAST])
    elif job.split in LABELLED:
        write_video(job.folder, frames, masks, annotation=trajectory)
    else:
        write_video(job.folder, frames)
