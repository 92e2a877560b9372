"""How fast is the ray caster, and how much work does it save by casting rays only where objects are?

    python benchmarks/render_speed.py [--videos 12] [--device cuda]

On a CPU, times are the process's own CPU time with one thread, so a busy machine matters little; on a GPU, wall time.
"""

import argparse
import time

import numpy as np
import torch

from vidseg_utils.renderer import cast_masks, render_masks, render_video, render_videos
from vidseg_utils.renderer.groups import group_objects
from vidseg_utils.renderer.masks import posed_objects
from vidseg_utils.renderer.objects import RenderedObjects
from vidseg_utils.simulator import simulate_video
from vidseg_utils.task import CLIP_VIDEO_FRAMES, HEIGHT, WIDTH


def median_ms(function, arguments: list, device: str, repeats: int = 3) -> float:
    """Milliseconds a call: the fastest of `repeats` calls for each argument, and the median over the arguments."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    times = []
    for argument in arguments:
        best = np.inf
        for _ in range(repeats):
            begun = clock()
            function(argument)  # returns numpy arrays, so a GPU has finished
            best = min(best, clock() - begun)
        times.append(1e3 * best)
    return float(np.median(times))


def touched_shares(trajectory) -> tuple[float, float, float]:
    """Share of a video's pixels in objects' rectangles; in blocks that objects or shadows touch; and share of its poses
    that are computed.
    """
    in_rectangle, in_block = np.zeros((len(trajectory.positions), HEIGHT, WIDTH), dtype=bool), False
    poses = []
    objects = posed_objects(trajectory.class_ids, trajectory.positions, trajectory.rotations)
    for group in group_objects([objects], kind=int):
        rendered = RenderedObjects(group, height=HEIGHT, width=WIDTH, device="cpu")
        in_block = in_block | rendered.covered_blocks() | rendered.shadows.covered_blocks()
        for picture, (x0, x1, y0, y1) in zip(in_rectangle, rendered.rectangles[rendered.view_of_frame], strict=True):
            picture[y0:y1, x0:x1] = True
        poses.append(len(rendered.positions) / len(rendered.view_of_frame))
    return in_rectangle.mean(), np.mean(in_block), float(np.mean(poses))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=12, help="how many generated videos to take")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = arguments.device
    videos = [simulate_video(0, number).select_frames(CLIP_VIDEO_FRAMES) for number in range(arguments.videos)]
    render_video(videos[0], device=device)  # builds the ground and starts the device

    full = median_ms(lambda v: render_video(v, noise_seed=0, device=device), videos, device)
    clean = median_ms(lambda v: render_video(v, device=device), videos, device)
    masks = median_ms(lambda v: render_masks(v, device=device), videos, device)
    many = [(v.class_ids, np.repeat(v.positions, 30, axis=0), np.repeat(v.rotations, 30, axis=0)) for v in videos[:4]]
    cast = median_ms(lambda scene: cast_masks(*scene, device=device), many, device)
    in_rectangle, in_block, poses = np.mean([touched_shares(v) for v in videos], axis=0)
    print(f"a video of 22 frames and masks, with noise   {full:8.1f} ms   {1e3 / full:8.1f} a second")
    print(f"  without noise                              {clean:8.1f} ms")
    print(f"  its masks alone                            {masks:8.1f} ms")
    together = median_ms(lambda clips: render_videos(clips, device=device), [videos], device)
    each = together / len(videos)
    print(f"one of {len(videos):3} videos that are drawn together     {each:8.1f} ms   {1e3 / each:8.1f} a second")
    scenes = len(many[0][1])
    print(f"masks of {scenes} scenes at once                    {cast:8.1f} ms   {1e3 * scenes / cast:8.0f} a second")
    print(f"pixels in an object's rectangle              {in_rectangle:8.1%}   so casting skips {1 - in_rectangle:.1%}")
    print(f"pixels in a block of one or of its shadows   {in_block:8.1%}   so shading skips {1 - in_block:.1%}")
    print(f"computed poses (other frames repeat them)     {poses:8.1%}")


if __name__ == "__main__":
    main()
