"""Time that each step of generating a video takes (plan, simulation, frames, PNG, annotation), and videos a second.

    python benchmarks/generate_speed.py --videos 40

The table is CPU time in one process with one thread, so a busy machine matters little. The last lines measure
`generate` on all cores, or with --processes: how fast it is, and how much of its work more cores cannot make faster.
"""

import argparse
import itertools
import os
import resource
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidseg_utils.data import generate, write_video
from vidseg_utils.data.parallel import n_cores, worker_processes
from vidseg_utils.data.sources import generated_video
from vidseg_utils.data.sources.generate import MIN_VIDEOS_PER_PROCESS
from vidseg_utils.renderer import KERNEL_MODULES, render_video
from vidseg_utils.simulator import WORLDS, BrokenRuleError, find_world, sample_scene, simulate
from vidseg_utils.task import CLIP_VIDEO_FRAMES
from vidseg_utils.world import Trajectory, write_annotation

EMPTY = Trajectory(
    np.zeros(0, np.uint8), *(np.zeros((1, 0, *size)) for size in ((3,), (3, 3), (3,), (3,))), np.zeros((1, 0), bool)
)


class Clock:
    """Adds up the CPU time of named steps."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def __call__(self, name: str, function: Callable, *arguments, **options):
        """Call `function` and add its time to the step `name`."""
        start = time.process_time()
        try:
            return function(*arguments, **options)
        finally:
            self.seconds[name] += time.process_time() - start


def one_process(n_videos: int, folder: Path, clock: Clock, world: str) -> Counter:
    """Make videos step by step. returns: how often simulations broke each rule and were drawn again."""
    broken_rules, settings, rng = Counter(), find_world(world), np.random.default_rng(0)
    for number in range(n_videos):
        trajectory = None
        while trajectory is None:
            scene = clock("plan the scene", sample_scene, rng, settings)
            try:
                trajectory = clock("simulate", simulate, scene, settings)
            except BrokenRuleError as error:
                broken_rules[str(error)] += 1
        frames, masks = clock(
            "frames and masks", render_video, trajectory.select_frames(CLIP_VIDEO_FRAMES), noise_seed=number
        )
        clock("22 PNG files, mask.npy", write_video, folder / f"video_{number}", frames, masks)
        path = folder / f"video_{number}" / "annotation.json"
        clock("annotation.json", write_annotation, path, trajectory, number=number)
    return broken_rules


@dataclass(frozen=True)
class GenerateSpeed:
    """What one call of `generate` took. Processor time does not depend on what else the machine does."""

    videos: int
    processes: int
    store: str
    seconds: float  # with the start of the processes, which have imported what they need before (but with "spawn")
    start_seconds: float  # until the first processes were ready, in a call without videos
    cpu_ms_per_video: float  # of all processes, without their start
    serial_ms_per_video: float  # of the process that shares out the work: no more cores make this faster

    @property
    def videos_per_second(self) -> float:
        """Without the time of imports."""
        return self.videos / self.seconds

    @property
    def serial_share(self) -> float:
        """Share of the processor time that does not get faster with more cores."""
        return self.serial_ms_per_video / self.cpu_ms_per_video

    def __str__(self) -> str:
        return (
            f"{self.store:5} by {self.processes:2} processes: {self.videos_per_second:6.1f} videos/s, "
            f"after a start of {self.start_seconds:.1f} s; {self.cpu_ms_per_video:.0f} ms of a "
            f"processor a video, {self.serial_share:.1%} of it serial"
        )


def measure_start(processes: int) -> tuple[float, float]:
    """Seconds until all processes are ready to make videos, and the processor time of each."""
    if processes == 1:  # this process, which has started
        _draw_nothing()
        return 0.0, 0.0
    seconds, cpu = 0.0, (0.0, 0.0)
    for _ in range(2):  # the first time, what all need is imported; that does not happen again in this process
        started, cpu = time.perf_counter(), _cpu_seconds()
        with worker_processes(processes, modules=[generated_video.__name__, *KERNEL_MODULES]) as parallel_map:
            list(parallel_map(_draw_nothing, [None] * processes))
        seconds = seconds or time.perf_counter() - started
    return seconds, (sum(_cpu_seconds()) - sum(cpu)) / processes


def measure_generate(
    root: Path,
    *,
    train: int,
    val: int = 0,
    processes: int,
    store: str = "cache",
    world: str = "clevrer",
    start: tuple[float, float] | None = None,
) -> GenerateSpeed:
    """Generate into the empty folder `root` and measure it. The caller needs `if __name__ == "__main__":`.

    start: what `measure_start` has returned; when None, it is measured
    """
    processes = min(processes, max(1, (train + val) // MIN_VIDEOS_PER_PROCESS))  # as `generate` does
    start_seconds, start_cpu = measure_start(processes) if start is None or processes == 1 else start
    started, cpu, sizes = time.perf_counter(), _cpu_seconds(), {"train": train, "val": val, "unlabeled": 0, "hidden": 0}
    settings = {"store": store, "processes": processes, "physics": find_world(world)}
    generate(root, **sizes, seed=0, **settings, progress=False)
    seconds, (own, workers) = time.perf_counter() - started, (b - a for a, b in zip(cpu, _cpu_seconds(), strict=True))
    n_videos, serial = train + val, 0.0 if processes == 1 else own
    total = own + workers - start_cpu * processes
    return GenerateSpeed(
        videos=n_videos,
        processes=processes,
        store=store,
        seconds=seconds,
        start_seconds=start_seconds,
        cpu_ms_per_video=1e3 * total / n_videos,
        serial_ms_per_video=1e3 * serial / n_videos,
    )


def _draw_nothing(_: None = None) -> None:
    """What a worker imports and loads before its first video."""
    render_video(EMPTY)


def _cpu_seconds() -> tuple[float, float]:
    """Processor time of this process, and of its child processes with those of their children that have ended."""
    usages = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    own, children = (usage.ru_utime + usage.ru_stime for usage in usages)
    for process in Path("/proc/self/task").glob("*/children"):  # those that live, such as the one that starts workers
        for number in process.read_text().split():
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            children += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return own, children


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=40)
    parser.add_argument("--world", choices=list(WORLDS), default="clevrer")
    parser.add_argument("--whole", type=int, default=120, help="videos that `generate` makes; 0 leaves this out")
    parser.add_argument("--processes", type=int, nargs="+", default=[n_cores()], help="default: as many as cores")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="vidseg-speed-"))
    try:
        one_process(2, root / "warm-up", Clock(), arguments.world)
        clock = Clock()
        broken_rules = one_process(arguments.videos, root / "steps", clock, arguments.world)
        total = sum(clock.seconds.values())
        for name, seconds in clock.seconds.items():
            print(f"{name:30}{1e3 * seconds / arguments.videos:9.1f} ms a video{100 * seconds / total:6.0f} %")
        print(f"{'together':30}{1e3 * total / arguments.videos:9.1f} ms a video")
        simulations = arguments.videos + broken_rules.total()
        reasons = ", ".join(f"{name} {n}" for name, n in broken_rules.most_common())
        print(f"{arguments.videos} kept of {simulations} simulations; the others broke a rule: {reasons}\n")
        for store, processes in itertools.product(("png", "cache"), arguments.processes) if arguments.whole else ():
            folder, options = root / f"{store}{processes}", {"store": store, "world": arguments.world}
            print(measure_generate(folder, train=arguments.whole, processes=processes, **options))
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
