"""Generate a data set of any size, on all cores or on machines that share its folder. An interrupted run resumes.

`generated.json` keeps the seed, the world, its physics, the look and the labels of a set; a folder with others is
refused.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from vidseg_utils import __version__
from vidseg_utils.data.cache import filled_numbers, filling
from vidseg_utils.data.cache.shards import SHARD_VIDEOS, delete_shards, fill_shard, merge_shard
from vidseg_utils.data.cache.writer import CacheWriter
from vidseg_utils.data.layout import GENERATED_FILE, SPLITS, STORES
from vidseg_utils.data.locks import lock_dataset
from vidseg_utils.data.parallel import MapFunction, n_cores, worker_processes
from vidseg_utils.data.sources.generated_video import VideoJob, file_names, fill_row, make_split_video, write_folder
from vidseg_utils.data.sources.label_record import check_record, label_record
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.progress import ProgressBar
from vidseg_utils.renderer import KERNEL_MODULES, LOOK
from vidseg_utils.simulator import WORLDS, PhysicsSettings, world_name
from vidseg_utils.world import DEFAULT_LABELS, EXACT_LABELS, LABELS

COURSE_STARTS = {"train": 0, "val": 1000, "unlabeled": 2000, "hidden": 15000}  # first video number of each split
COURSE_SIZES = {"train": 1000, "val": 1000, "unlabeled": 13000}  # most videos before the first of the next split
MIN_VIDEOS_PER_PROCESS = 12  # fewer are sooner made than another process is started


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
    physics: PhysicsSettings | None = None,
    labels: str = DEFAULT_LABELS,
    progress: bool = True,
    parallel_map: MapFunction | None = None,
) -> None:
    """Make that many videos of each split under `root`. Existing videos stay, so a second call resumes or extends.

    A set can be extended with the same seed, physics, labels and store.
    processes: all cores when None; a script that uses more than one needs `if __name__ == "__main__":`
    store: "png" writes the course layout, "cache" fills the splits' caches directly (full size, no image files)
    physics: of the world; when None, that of the world "clevrer" (see `simulator.WORLDS`)
    labels: "course" for masks that are shifted and fattened as the course's are, or "exact" (`world.LABELS`)
    parallel_map: makes the videos on other machines, in place of worker processes of this one. They see `root` under
        the same path.
    Raises ValueError for impossible sizes and for a folder that holds other data, OSError, naming the file, when it
    cannot be written or another process generates into the same folder.
    """
    root, physics = Path(root), physics or PhysicsSettings()
    sizes: dict[str, int] = {"train": train, "val": val, "unlabeled": unlabeled, "hidden": hidden}
    for name, value in {**sizes, "seed": seed}.items():
        if value < 0:
            raise ValueError(f"{name} is {value}; it must be 0 or more")
    if processes is not None and processes < 1:
        raise ValueError(f"processes is {processes}; it must be 1 or more")
    if store not in STORES:
        raise ValueError(f"unknown store {store!r}; choose from {list(STORES)}")
    recorded_labels, offset = label_record(labels), LABELS[labels]
    if parallel_map is not None:
        root = root.absolute()
    with lock_dataset(root):
        record = physics.to_record()
        world = {"world": world_name(record)}
        identity = {**world, "seed": seed, "store": store, "physics": record, "look": LOOK, **recorded_labels}
        starts = _check_and_record(root, sizes, identity)
        jobs = {
            split: [VideoJob(root, split, starts[split] + n, seed, physics, offset) for n in range(size)]
            for split, size in sizes.items()
        }
        if store == "png":
            todo = [job for split in SPLITS for job in jobs[split] if not job.is_complete()]
            n_processes, n_total = _n_processes(processes, len(todo)), sum(sizes.values())
            with _workers_and_bar(n_processes, len(todo), n_total, progress, parallel_map) as (apply, bar):
                for _ in apply(write_folder, todo):
                    bar.update()
        else:
            constants = ", ".join(f"{name}={value!r}" for name, value in record.items())
            key = f"generated with seed {seed}, PhysicsSettings({constants})"
            key += f", {offset}" if offset != EXACT_LABELS else ""
            settings = {"processes": processes, "progress": progress, "parallel_map": parallel_map}
            _fill_caches(root, jobs, key=key, **settings)


def _fill_caches(
    root: Path,
    jobs: dict[str, list[VideoJob]],
    *,
    key: str,
    processes: int | None,
    progress: bool,
    parallel_map: MapFunction | None,
) -> None:
    done = {split: set(filled_numbers(root, split, key=key)) for split in SPLITS}
    todo = {split: [job for job in jobs[split] if job.number not in done[split]] for split in SPLITS}
    n_todo, n_total = (sum(map(len, split_jobs.values())) for split_jobs in (todo, jobs))
    n_processes = _n_processes(processes, n_todo)
    with _workers_and_bar(n_processes, n_todo, n_total, progress, parallel_map) as (apply, bar):
        for split in SPLITS:
            if not jobs[split]:
                continue
            # even with nothing to do: an interrupted run may not have published its videos
            with filling(root, split, key=key, n_new=len(todo[split])) as writer:
                if parallel_map is not None:
                    _fill_by_shards(writer, todo[split], parallel_map, bar, key=key)
                    continue
                jobs_and_rows = list(zip(todo[split], writer.rows(), strict=False))
                for (job, _), _ in zip(jobs_and_rows, apply(fill_row, jobs_and_rows), strict=True):
                    writer.count(job.number)
                    bar.update()


def _fill_by_shards(
    writer: CacheWriter, jobs: list[VideoJob], parallel_map: MapFunction, bar: ProgressBar, *, key: str
) -> None:
    """Append videos that other machines make, each machine into shards of its own."""
    shards = [list(shard) for _, shard in groupby(jobs, lambda job: job.number // SHARD_VIDEOS)]
    for shard, _ in zip(shards, parallel_map(partial(_make_shard, key=key), shards), strict=True):
        merge_shard(writer, shard[0].root, shard[0].split, [job.number for job in shard], key=key)
        bar.update(len(shard))
    if jobs:
        delete_shards(jobs[0].root, jobs[0].split)


def _make_shard(jobs: list[VideoJob], *, key: str) -> None:
    """Make those videos of one shard that are missing."""
    by_number = {job.number: job for job in jobs}
    fill_shard(jobs[0].root, jobs[0].split, by_number, key=key, make=make_split_video)


def _n_processes(processes: int | None, n_todo: int) -> int:
    """As many worker processes as the work justifies, at most `processes`."""
    return min(processes or n_cores(), max(1, n_todo // MIN_VIDEOS_PER_PROCESS))


@contextlib.contextmanager
def _workers_and_bar(
    n_processes: int, n_todo: int, n_total: int, progress: bool, parallel_map: MapFunction | None
) -> Iterator[tuple[MapFunction, ProgressBar]]:
    """`parallel_map`, or the worker processes, and the progress bar."""
    workers = worker_processes(n_processes, modules=(fill_row.__module__, *KERNEL_MODULES))
    with (
        ProgressBar(
            total=n_total, initial=n_total - n_todo, unit="video", disable=not progress, desc="generating"
        ) as bar,
        contextlib.nullcontext(parallel_map) if parallel_map else workers as apply,
    ):
        yield apply, bar


def _check_and_record(root: Path, sizes: dict[str, int], identity: dict) -> dict[str, int]:
    """Check that `root` is empty or was generated with the same identity; write GENERATED_FILE.

    identity: world, seed, store, physics, look and labels
    returns: the first video number of each split
    """
    old_sizes = dict.fromkeys(SPLITS, 0)
    if (root / GENERATED_FILE).exists():
        recorded = read_json(root / GENERATED_FILE)
        recorded.setdefault("world", world_name(recorded.get("physics")))  # a set made before worlds had names
        _check_world(root, made=recorded["world"], now=identity["world"])
        if (look := recorded.setdefault("look", 1)) != LOOK:
            raise ValueError(
                f"{root} has pictures of look {look}, and this version draws look {LOOK}; use another folder"
            )
        check_record(root, recorded, identity, made="generated")
        old_sizes |= _recorded_sizes(root, recorded)
    elif splits := [split for split in SPLITS if file_names(root / split)]:
        raise ValueError(f"{root / splits[0]} holds videos that were not generated here; use another folder")
    sizes = {split: max(sizes[split], old_sizes[split]) for split in SPLITS}
    starts = first_numbers(sizes)
    for split, start in first_numbers(old_sizes).items():
        if old_sizes[split] and start != starts[split]:
            raise ValueError(
                f"{root}: with these sizes {split} would start at video_{starts[split]}, but it starts at "
                f"video_{start}; use another folder, or sizes up to {COURSE_SIZES}"
            )
    write_json(
        root / GENERATED_FILE, {**identity, "package_version": __version__, "sizes": sizes, "first_numbers": starts}
    )
    return starts


def _check_world(root: Path, *, made: str, now: str) -> None:
    if made != now:
        cure = f"continue it with --world {made}, or use another folder" if made in WORLDS else "use another folder"
        raise ValueError(f"{root} was generated in the world {made!r}, not {now!r}; {cure}")


def _recorded_sizes(root: Path, recorded: dict) -> dict[str, int]:
    """The sizes in GENERATED_FILE. Raises ValueError that names the file if they are damaged."""
    sizes = recorded.get("sizes", {})
    if not isinstance(sizes, dict) or not all(key in SPLITS and type(n) is int and n >= 0 for key, n in sizes.items()):
        raise ValueError(f"{root / GENERATED_FILE} is damaged: its sizes are {str(sizes)[:80]}; use another folder")
    return sizes


def first_numbers(sizes: dict[str, int]) -> dict[str, int]:
    """The first video number of each split: as in the course if the sizes fit, else the splits are consecutive."""
    if all(sizes[split] <= most for split, most in COURSE_SIZES.items()):
        return COURSE_STARTS
    ends = np.cumsum([sizes[split] for split in SPLITS]).tolist()
    return dict(zip(SPLITS, [0, *ends[:-1]], strict=True))
