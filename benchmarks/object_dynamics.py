"""What object dynamics is worth, and which stage limits it: the same score with each stage replaced by the truth.

Constants are fitted to generated trajectories of one seed and scored on another; nothing is written. Segmentation noise
is emulated: ragged outlines, and whole objects that take another class for a frame.

    python benchmarks/object_dynamics.py --train 200 --val 100 --height 80
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from tqdm.auto import tqdm

from vidseg_utils.data.annotation import COURSE_FRAMES, Trajectory, read_annotation
from vidseg_utils.data.resize import nearest_scale
from vidseg_utils.data.synthetic import PhysicsSettings, simulate_video
from vidseg_utils.evaluation.masks import jaccard
from vidseg_utils.models.object_dynamics import ObjectDynamicsModel
from vidseg_utils.systems.object_dynamics import ObjectDynamics
from vidseg_utils.systems.object_dynamics.contact import PlanarConstants
from vidseg_utils.systems.object_dynamics.fitting import fit_constants, yaw_of
from vidseg_utils.systems.object_dynamics.ladder import (
    answers_from_masks,
    answers_from_truth,
    rollout_errors,
    state_errors,
)
from vidseg_utils.systems.object_dynamics.picture_plane import carry_masks
from vidseg_utils.systems.object_dynamics.silhouette import draw_masks
from vidseg_utils.systems.object_dynamics.voting import vote_classes

OTHER_WORLD = PhysicsSettings(
    sliding_friction=0.05, linear_drag=0.07, quadratic_drag=0.02, restitution=0.8, contact_friction=0.1
)
SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "clevrer"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=200, help="generated videos to fit the constants to")
    parser.add_argument("--val", type=int, default=100, help="generated videos to score")
    parser.add_argument("--height", type=int, default=160, help="of the masks: 160 or 80")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--constants", type=Path, help="fitted constants (.npy), read if there, else fitted and kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.constants and arguments.constants.is_file():
        constants = PlanarConstants.of(np.load(arguments.constants))
    else:
        train = videos(arguments.seed, arguments.train, None, "simulate training videos")
        start = time.perf_counter()
        constants = fit_constants(train)
        print(f"fitted to {len(train)} videos in {time.perf_counter() - start:.0f} s")
        if arguments.constants:
            np.save(arguments.constants, constants.as_array())
    model = ObjectDynamicsModel(len(constants.as_array()))
    model.constants.copy_(torch.from_numpy(constants.as_array()))
    system = ObjectDynamics(model)
    for title, settings in (("the world it was fitted to", None), ("another world", OTHER_WORLD)):
        val = videos(arguments.seed + 1, arguments.val, settings, "simulate validation videos")
        print(f"\n## {title}: {len(val)} videos at {arguments.height} x {arguments.height * 3 // 2}")
        show_ladder(val, system, arguments.height)
        show_rollouts(val, system)
    real = [read_annotation(path) for path in sorted(SHARED.glob("annotation_*.json"))]
    if real:
        print(f"\n## {len(real)} real CLEVRER annotations")
        show_rollouts(real, system)


def videos(seed: int, count: int, settings: PhysicsSettings | None, title: str) -> list[Trajectory]:
    return [simulate_video(seed, n, settings=settings) for n in tqdm(range(count), desc=title)]


def cast(trajectory: Trajectory, height: int) -> np.ndarray:
    """(22, height, width) masks, sampled as the course's are."""
    shape = (trajectory.class_ids.astype(int) - 1) // 16
    at = trajectory.at(COURSE_FRAMES)
    poses = np.concatenate([at.positions[..., :2], yaw_of(shape, at.rotations)[..., None]], axis=-1)
    ids = np.broadcast_to(trajectory.class_ids, poses.shape[:2])
    return nearest_scale(draw_masks(ids, poses, ids > 0, height=160, width=240), height=height, width=height * 3 // 2)


def segmented(
    masks: np.ndarray, rng: np.random.Generator, *, jitter_px: float = 0.7, flips: float = 0.03
) -> np.ndarray:
    """Masks (T, H, W) as a segmenter might see them: outlines shifted at random, and some objects' classes wrong."""
    noisy = np.empty_like(masks)
    grid = np.mgrid[: masks.shape[1], : masks.shape[2]].astype(float)
    for t, mask in enumerate(masks):
        coarse = rng.normal(0, jitter_px, (2, masks.shape[1] // 3 + 2, masks.shape[2] // 3 + 2))
        shift = np.stack([map_coordinates(c, grid / 3, order=1) for c in coarse])
        noisy[t] = map_coordinates(mask, grid + shift, order=0, mode="nearest")
        for class_id in np.unique(mask)[1:]:
            if rng.random() < flips:
                noisy[t][noisy[t] == class_id] = rng.integers(1, 49)
    return noisy


def show_ladder(trajectories: list[Trajectory], system: ObjectDynamics, height: int) -> None:
    """The score of ever more knowledge, and the accuracy of the state, as printed lines."""
    masks = np.stack([cast(trajectory, height) for trajectory in trajectories])
    past, target = masks[:, :11], torch.from_numpy(masks[:, -1])
    rng = np.random.default_rng(0)
    noisy = vote_classes(np.stack([segmented(clip, rng) for clip in past]))
    answers = {"copy frame 10": masks[:, 10], "straight lines in the picture": carry_masks(past)}
    for name, given in (("noisy masks", noisy), ("true masks", past)):
        start = time.process_time()
        answers |= {f"{name}: {way}": answer for way, answer in answers_from_masks(system, given).items()}
        print(f"{name}: {1e3 * (time.process_time() - start) / len(masks):.0f} ms of one core a video")
    for name, answer in (answers | answers_from_truth(system, trajectories, past)).items():
        print(f"{name:40s} {jaccard(torch.from_numpy(answer), target):.3f}")
    for name, given in (("noisy masks", noisy), ("true masks", past)):
        print(f"\n{name}\n{state_errors(system, trajectories, given)}")


def show_rollouts(trajectories: list[Trajectory], system: ObjectDynamics) -> None:
    """Error of the physics from the true state of frame 10, by horizon."""
    errors = rollout_errors(trajectories, system.constants)
    print(
        "\nframes ahead: mean error (units)   " + "   ".join(f"{n}: {errors[n - 1]:.3f}" for n in (1, 2, 4, 6, 8, 11))
    )


if __name__ == "__main__":
    main()
