"""Generated motion beside CLEVRER's own: speeds, decay, bounces, collisions, late objects, and the copy_last score.

    python benchmarks/motion_statistics.py [ANNOTATION.json …] --videos 200 --seed 0

Each positional argument is an official annotation. The last column has the known figures of twelve of them;
in brackets, of how many collisions.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

from vidseg_utils.data.parallel import n_cores
from vidseg_utils.metrics import jaccard
from vidseg_utils.renderer import render_masks
from vidseg_utils.simulator import WORLDS, find_world, motion_statistics, simulate_video
from vidseg_utils.task import CLIP_VIDEO_FRAMES, PAST_FRAMES
from vidseg_utils.world import Trajectory, read_annotation

KNOWN = {
    "objects a video": "4.9",
    "movers a video": "2.5; 1, 2, 3: 8, 33, 58 %",
    "slowest start": "2.72",
    "fastest start": "3.00",
    "nearest pass of the origin": "0.1",
    "widest pass of the origin": "1.7",
    "farthest start": "10.5",
    "units a frame over velocity": "0.028",
    "decay a frame, cubes and cylinders": "0.0072",
    "decay a frame, spheres": "0.0042",
    "collisions a video": "2.4",
    "restitution, approach below 1.1": "-0.01 (4)",
    "restitution, approach 1.1 to 2.1": "0.17 (9)",
    "restitution, approach above 2.1": "0.40 (14)",
    "scatter of the log of the mass ratio": "0.21",
    "share still, frames 60 to 126": "0.23 (12/53)",
    "share past a diameter, frames 60 to 126": "0.62 (33/53)",
    "median shift, frames 60 to 126": "0.97",
    "objects in view at frame 126": "4.6 (55/12)",
    "share late": "0.04; 0.03 .. 0.10",
}


def last_past_and_target_masks(trajectory: Trajectory) -> np.ndarray:
    """(2, 160, 240) uint8: the true masks of clip frames 10 and 21."""
    return render_masks(trajectory.select_frames((CLIP_VIDEO_FRAMES[PAST_FRAMES - 1], CLIP_VIDEO_FRAMES[-1])))


def copy_last(trajectories: list[Trajectory]) -> tuple[float, float]:
    """Jaccard score of the true mask of clip frame 10 as the forecast of frame 21, and the share of frame 21's objects
    that no past frame shows.
    """
    masks = np.stack([last_past_and_target_masks(t) for t in trajectories])
    score = float(jaccard(torch.from_numpy(masks[:, 0]), torch.from_numpy(masks[:, 1])))
    shown = late = 0
    for trajectory, (_, target) in zip(trajectories, masks, strict=True):
        past = render_masks(trajectory.select_frames(CLIP_VIDEO_FRAMES[:PAST_FRAMES]))
        present = set(np.unique(target).tolist()) - {0}
        shown += len(present)
        late += len(present - set(np.unique(past).tolist()))
    return score, late / shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", nargs="*", type=Path, help="official annotation files to measure too")
    parser.add_argument("--videos", type=int, default=200, help="how many videos to generate")
    parser.add_argument("--first", type=int, default=1000, help="number of the first of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--world", choices=list(WORLDS), default="clevrer")
    parser.add_argument("--copy-last", action="store_true", help="also draw masks and score copy_last")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numbers = range(arguments.first, arguments.first + arguments.videos)
    with ProcessPoolExecutor(n_cores()) as executor:
        generated = list(
            executor.map(
                partial(simulate_video, arguments.seed, settings=find_world(arguments.world)), numbers, chunksize=4
            )
        )
    columns = {"generated": motion_statistics(generated)}
    if arguments.annotations:
        columns["annotations"] = motion_statistics([read_annotation(path) for path in arguments.annotations])
    print(f"{'':42}" + "".join(f"{name:>14}" for name in columns) + f"{'known of CLEVRER':>28}")
    for name in columns["generated"]:
        print(f"{name:42}" + "".join(f"{c[name]:14.4f}" for c in columns.values()) + f"{KNOWN.get(name, ''):>28}")
    if arguments.copy_last:
        score, late = copy_last(generated)
        print(
            f"{'copy_last with true masks, Jaccard':42}{score:14.4f}{'':>{14 * (len(columns) - 1)}}{'0.24 .. 0.32':>28}"
        )
        print(f"{'share late, from the masks':42}{late:14.4f}{'':>{14 * (len(columns) - 1)}}{'0.03 .. 0.10':>28}")


if __name__ == "__main__":
    sys.exit(main())
