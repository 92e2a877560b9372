"""Generated motion beside CLEVRER's own: speeds, decay, bounces, collisions, lateness, and the copy-last floor.

    python benchmarks/motion_statistics.py [ANNOTATION.json …] --videos 200 --seed 0

Each further argument is an official annotation; the last column holds what is known of twelve of them.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

from vidseg_utils.data.parallel import n_cores
from vidseg_utils.metrics.masks import jaccard
from vidseg_utils.renderer.masks import render_masks
from vidseg_utils.simulator.physics import simulate_video
from vidseg_utils.simulator.statistics import motion_statistics
from vidseg_utils.task import CLIP_VIDEO_FRAMES
from vidseg_utils.world.trajectory import Trajectory, read_annotation

KNOWN = {
    "objects a video": "4 .. 6",
    "slowest start": "2.72",
    "fastest start": "3.00",
    "nearest pass of the origin": "0.1",
    "widest pass of the origin": "1.7",
    "farthest start": "10.5",
    "units a frame over velocity": "0.028",
    "decay a frame, cubes and cylinders": "0.0072",
    "decay a frame, spheres": "0.0042",
    "collisions a video": "2 .. 3",
    "restitution of spheres": "0.6 .. 0.8",
    "share still, frames 60 to 126": "0.23 (12/53)",
    "share past a diameter, frames 60 to 126": "0.62 (33/53)",
    "median shift, frames 60 to 126": "0.97",
    "objects in view at frame 126": "4.6 (55/12)",
    "share late": "0.04; 0.03 .. 0.10",
}


def last_input_and_answer(trajectory: Trajectory) -> np.ndarray:
    """(2, 160, 240) uint8: the true masks of the course frames 10 and 21."""
    return np.asarray(render_masks(trajectory.select_frames((CLIP_VIDEO_FRAMES[10], CLIP_VIDEO_FRAMES[21]))))


def copy_last(trajectories: list[Trajectory]) -> tuple[float, float]:
    """Jaccard of frame 10's true mask as the answer, and the share of frame 21's objects that no input showed."""
    masks = np.stack([last_input_and_answer(t) for t in trajectories])
    score = float(jaccard(torch.from_numpy(masks[:, 0]), torch.from_numpy(masks[:, 1])))
    shown = late = 0
    for trajectory, (_, answer) in zip(trajectories, masks, strict=True):
        inputs = np.asarray(render_masks(trajectory.select_frames(CLIP_VIDEO_FRAMES[:11])))
        present = set(np.unique(answer).tolist()) - {0}
        shown += len(present)
        late += len(present - set(np.unique(inputs).tolist()))
    return score, late / shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", nargs="*", type=Path, help="official annotation files to measure too")
    parser.add_argument("--videos", type=int, default=200, help="how many videos to generate")
    parser.add_argument("--first", type=int, default=1000, help="number of the first of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--floor", action="store_true", help="also draw masks and score copy-last")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numbers = range(arguments.first, arguments.first + arguments.videos)
    with ProcessPoolExecutor(n_cores()) as executor:
        ours = list(executor.map(partial(simulate_video, arguments.seed), numbers, chunksize=4))
    columns = {"generated": motion_statistics(ours)}
    if arguments.annotations:
        columns["annotations"] = motion_statistics([read_annotation(path) for path in arguments.annotations])
    print(f"{'':42}" + "".join(f"{name:>14}" for name in columns) + f"{'known of CLEVRER':>22}")
    for name in columns["generated"]:
        print(f"{name:42}" + "".join(f"{c[name]:14.4f}" for c in columns.values()) + f"{KNOWN.get(name, ''):>22}")
    if arguments.floor:
        score, late = copy_last(ours)
        print(
            f"{'copy-last with true masks, Jaccard':42}{score:14.4f}{'':>{14 * (len(columns) - 1)}}{'0.24 .. 0.32':>22}"
        )
        print(f"{'share late, by the masks':42}{late:14.4f}{'':>{14 * (len(columns) - 1)}}{'0.03 .. 0.10':>22}")


if __name__ == "__main__":
    sys.exit(main())
