"""What object dynamics is worth, and which stage limits it: the same score with each stage replaced by the truth.

Constants are fitted to generated trajectories of one seed and scored on another; nothing is written. Segmentation noise
is emulated: ragged outlines, and whole objects that take another class for a frame. Or, with --profile, what that
profile has trained is scored on its validation videos, and a real segmenter's masks stand beside the true ones.

    python benchmarks/object_dynamics.py --train 200 --val 100 --height 80
    python benchmarks/object_dynamics.py --profile cpu
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from tqdm.auto import tqdm

from vidseg_utils.data import nearest_scale, to_float
from vidseg_utils.metrics import jaccard
from vidseg_utils.simulator.physics import simulate_video
from vidseg_utils.simulator.settings import PhysicsSettings
from vidseg_utils.systems import Workspace, build_system
from vidseg_utils.systems.object_dynamics import ObjectDynamics
from vidseg_utils.systems.object_dynamics.image_plane import extrapolate_masks
from vidseg_utils.systems.object_dynamics.ladder import (
    forecasts_from_masks,
    forecasts_from_truth,
    rollout_errors,
    state_error_table,
)
from vidseg_utils.systems.object_dynamics.perception.class_assignment import assign_track_classes
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.fitting import fit_constants, yaw_from_rotations
from vidseg_utils.systems.object_dynamics.physics.rigid_body import advance
from vidseg_utils.task import CLIP_VIDEO_FRAMES, FRAME_STEP
from vidseg_utils.world.silhouettes import draw_masks
from vidseg_utils.world.trajectory import Trajectory, read_annotation

OTHER_WORLD = PhysicsSettings(
    sliding_friction=0.05, linear_drag=0.07, quadratic_drag=0.02, restitution=0.8, contact_friction=0.1
)
SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "clevrer"
LAST_PAST = (60,)  # the video frame from which a forecast starts
OFTEN = range(0, 61, 12)  # and from where rollouts of the real ones start: they are few, so look more often


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=200, help="generated videos to fit the constants to")
    parser.add_argument("--val", type=int, default=100, help="generated videos to score")
    parser.add_argument("--height", type=int, default=160, help="of the masks: 160 or 80")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--constants", type=Path, help="fitted constants (.json), read if there, else fitted and kept")
    parser.add_argument("--profile", help="score this profile's validation videos with what it has trained instead")
    parser.add_argument("--root", help="a data set to score in place of the profile's own")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.profile:
        system = show_profile(Workspace.for_profile(arguments.profile, root=arguments.root), arguments.val)
    else:
        system = show_simulated(arguments)
    real = [read_annotation(path) for path in sorted(SHARED.glob("annotation_*.json"))]
    if real:
        print(f"\n## {len(real)} real CLEVRER annotations")
        show_rollouts(real, system, starts=OFTEN)


def show_profile(workspace: Workspace, count: int) -> ObjectDynamics:
    """The profile's system on (at most `count`) validation videos of its own; returns the system."""
    system, split = build_system("object_dynamics", workspace=workspace), workspace.split("val")
    masks, trajectories = split.masks[:count], [split.annotation(n) for n in range(min(count, len(split)))]
    voted = []
    start = time.process_time()
    with torch.inference_mode():
        for clip in tqdm(split.frames[:count], desc="segment"):
            frames = to_float(torch.tensor(clip[None, :11])).to(workspace.device)
            voted.append(system.segment(frames)[0].cpu().numpy())
    print(f"U-Net's masks: {1e3 * (time.process_time() - start) / len(masks):.0f} ms of one core a video to segment")
    voted = np.stack(voted)
    height, width = masks.shape[2:]
    print(f"\n## profile {workspace.profile.name}: {len(masks)} videos at {height} x {width}")
    score = jaccard(torch.from_numpy(nearest_scale(voted, height=height, width=width)), torch.tensor(masks[:, :11]))
    print(f"U-Net's masks, one name a track: Jaccard {score:.3f} with the true ones")
    show_ladder(trajectories, masks, {"U-Net's masks": voted, "true masks": masks[:, :11]}, system)
    show_rollouts(trajectories, system)
    return system


def show_simulated(arguments: argparse.Namespace) -> ObjectDynamics:
    """Fit the constants to simulated videos and score them on others, here and in another world; returns the system."""
    if arguments.constants and arguments.constants.is_file():
        constants = PhysicsConstants.from_json(arguments.constants)
    else:
        train = videos(arguments.seed, arguments.train, None, "simulate training videos")
        start = time.perf_counter()
        constants = fit_constants(train)
        print(f"fitted to {len(train)} videos in {time.perf_counter() - start:.0f} s")
        if arguments.constants:
            constants.to_json(arguments.constants)
    system = ObjectDynamics(constants)
    for title, settings in (("the world it was fitted to", None), ("another world", OTHER_WORLD)):
        val = videos(arguments.seed + 1, arguments.val, settings, "simulate validation videos")
        print(f"\n## {title}: {len(val)} videos at {arguments.height} x {arguments.height * 3 // 2}")
        masks = np.stack([cast(trajectory, arguments.height) for trajectory in val])
        rng = np.random.default_rng(0)
        noisy = assign_track_classes(np.stack([segmented(clip, rng) for clip in masks[:, :11]]))
        show_ladder(val, masks, {"noisy masks": noisy, "true masks": masks[:, :11]}, system)
        show_rollouts(val, system)
    return system


def videos(seed: int, count: int, settings: PhysicsSettings | None, title: str) -> list[Trajectory]:
    return [simulate_video(seed, n, settings=settings) for n in tqdm(range(count), desc=title)]


def cast(trajectory: Trajectory, height: int) -> np.ndarray:
    """(22, height, width) masks, sampled as the course's are."""
    shape = (trajectory.class_ids.astype(int) - 1) // 16
    at = trajectory.select_frames(CLIP_VIDEO_FRAMES)
    poses = np.concatenate([at.positions[..., :2], yaw_from_rotations(shape, at.rotations)[..., None]], axis=-1)
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


def show_ladder(
    trajectories: Sequence[Trajectory], masks: np.ndarray, sources: Mapping[str, np.ndarray], system: ObjectDynamics
) -> None:
    """The score of ever more knowledge, and the accuracy of the state, as printed lines.

    masks: (B, 22, H, W) true ones; sources: name -> past masks (B, 11, h, w), of that size or finer.
    """
    past, target = masks[:, :11], torch.tensor(masks[:, -1])
    height, width = masks.shape[2:]
    answers = {"copy frame 10": masks[:, 10], "straight lines in the picture": extrapolate_masks(past)}
    for name, given in sources.items():
        start = time.process_time()
        ways = forecasts_from_masks(system, given, height=height, width=width)
        answers |= {f"{name}: {way}": answer for way, answer in ways.items()}
        print(f"{name}: {1e3 * (time.process_time() - start) / len(masks):.0f} ms of one core a video")
    for name, answer in (answers | forecasts_from_truth(system, trajectories, past)).items():
        print(f"{name:40s} {jaccard(torch.tensor(answer), target):.3f}")
    print(f"\n{state_error_table(system, trajectories, sources)}")


def show_rollouts(
    trajectories: Sequence[Trajectory], system: ObjectDynamics, *, starts: Sequence[int] = LAST_PAST
) -> None:
    """Mean error of the physics from the true state, by horizon."""
    errors = rollout_errors(
        trajectories, lambda worlds, _: advance(worlds, FRAME_STEP, system.constants), starts=starts
    )
    columns = "   ".join(f"{n}: {errors[n - 1].mean():.3f}" for n in (1, 2, 4, 6, 8, 11))
    print(f"\nfrom the true state at video frame {', '.join(map(str, starts))}")
    print(f"course frames ahead: mean error (units)   {columns}")


if __name__ == "__main__":
    main()
