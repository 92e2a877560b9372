"""Time that each step of generating a video takes (plan, simulation, frames, PNG, annotation), and videos a second.

    python benchmarks/generate_speed.py --videos 40

The table is CPU time in one process with one thread, so a busy machine matters little. The last lines are the wall time
of `generate` on all cores.
"""

import argparse
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vidseg_utils.data import generate, write_video
from vidseg_utils.data.parallel import n_cores
from vidseg_utils.renderer import render_video
from vidseg_utils.simulator import WORLDS, BrokenRuleError, find_world, sample_scene, simulate
from vidseg_utils.task import CLIP_VIDEO_FRAMES
from vidseg_utils.world import write_annotation


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=40)
    parser.add_argument("--world", choices=list(WORLDS), default="clevrer")
    parser.add_argument("--whole", type=int, default=120, help="videos that `generate` makes; 0 leaves this out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
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
        for store in ("png", "cache") if arguments.whole else ():
            start = time.perf_counter()
            sizes = {"train": arguments.whole, "val": 0, "unlabeled": 0, "hidden": 0}
            generate(root / store, **sizes, seed=0, store=store, physics=find_world(arguments.world), progress=False)
            seconds = time.perf_counter() - start
            rate = f"{arguments.whole / seconds:6.1f} videos a second"
            print(f"store {store:6} {rate} on {n_cores()} cores, start of the processes included")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
