"""How fast is the ray caster, and how much work does it save by casting rays only where objects are?

    python benchmarks/render_speed.py [--videos 12]

Times are the process's own CPU time with one thread, so a busy machine matters little. The first line is the wait for
the compiled kernels: they are loaded, or compiled if this version of them never was.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from vidseg_utils.renderer import KERNEL_MODULES, cast_masks, render_masks, render_video
from vidseg_utils.renderer.scene import OBJECT, Scene, build_scene, check_objects
from vidseg_utils.simulator import simulate_video
from vidseg_utils.task import CLIP_VIDEO_FRAMES, HEIGHT, WIDTH
from vidseg_utils.world import Trajectory


def median_ms(function: Callable[[Any], object], arguments: Sequence[Any], repeats: int = 3) -> float:
    """CPU milliseconds a call: the fastest of `repeats` calls for each argument, and the median over the arguments."""
    times = []
    for argument in arguments:
        best = np.inf
        for _ in range(repeats):
            begun = time.process_time()
            function(argument)
            best = min(best, time.process_time() - begun)
        times.append(1e3 * best)
    return float(np.median(times))


def touched_shares(trajectory: Trajectory) -> tuple[float, float]:
    """Share of a video's pixels in rectangles of objects, and in those of objects and their shadows."""
    objects = check_objects(trajectory.class_ids, trajectory.positions, trajectory.rotations)
    scene = build_scene(objects, height=HEIGHT, width=WIDTH)
    return _share_in_rectangles(scene, [OBJECT]), _share_in_rectangles(scene, range(OBJECT + 1))


def _share_in_rectangles(scene: Scene, kinds: Sequence[int]) -> float:
    inside = np.zeros((len(scene.positions), HEIGHT, WIDTH), dtype=bool)
    for picture, rectangles in zip(inside, scene.rectangles[:, :, list(kinds)], strict=True):
        for x0, x1, y0, y1 in rectangles.reshape(-1, 4):
            picture[y0:y1, x0:x1] = True
    return float(inside.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=12, help="how many generated videos to take")
    arguments = parser.parse_args()
    videos = [simulate_video(0, number).select_frames(CLIP_VIDEO_FRAMES) for number in range(arguments.videos)]
    begun = time.perf_counter()
    for module in KERNEL_MODULES:
        import_module(module)
    print(f"wait for the compiled kernels                {time.perf_counter() - begun:8.1f} s")
    render_video(videos[0])  # builds the ground

    full = median_ms(lambda video: render_video(video, noise_seed=0), videos)
    clean = median_ms(render_video, videos)
    masks = median_ms(render_masks, videos)
    many = [(v.class_ids, np.repeat(v.positions, 30, axis=0), np.repeat(v.rotations, 30, axis=0)) for v in videos[:4]]
    cast, scenes = median_ms(lambda scene: cast_masks(*scene), many), len(many[0][1])
    by_objects, by_shadows = np.mean([touched_shares(video) for video in videos], axis=0)
    print(f"a video of 22 frames and masks, with noise   {full:8.1f} ms   {1e3 / full:8.1f} a second")
    print(f"  without noise                              {clean:8.1f} ms")
    print(f"  its masks alone                            {masks:8.1f} ms")
    print(f"masks of {scenes} scenes at once                    {cast:8.1f} ms   {1e3 * scenes / cast:8.0f} a second")
    print(f"pixels in an object's rectangle              {by_objects:8.1%}")
    print(f"pixels in that of an object or its shadows   {by_shadows:8.1%}   and only changes are drawn again")


if __name__ == "__main__":
    main()
