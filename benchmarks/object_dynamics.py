"""The score of object dynamics, and which stage limits it: the same forecast with each stage replaced by the truth.

Constants are fitted to generated trajectories of one seed and scored on another; nothing is written. Segmentation noise
is emulated: ragged outlines, and whole objects that take another class for a frame. With --profile, the system that the
profile has trained is scored on its validation videos instead, from a real segmenter's masks and from the true ones;
with --times, the processor time of each step of their evaluation is measured.

    python benchmarks/object_dynamics.py --train 200 --val 100 --height 80
    python benchmarks/object_dynamics.py --profile cpu
    python benchmarks/object_dynamics.py --profile cpu --times
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from tqdm.auto import tqdm

from vidseg_utils.classes import N_CLASSES, shape_code
from vidseg_utils.data import nearest_scale, to_float
from vidseg_utils.device import reusing_memory
from vidseg_utils.evaluation.batches import MAX_BATCH_SIZE, past_clips
from vidseg_utils.metrics import MaskScore, confusion_matrix, jaccard, reference_masks
from vidseg_utils.simulator.physics import simulate_video
from vidseg_utils.simulator.settings import PhysicsSettings
from vidseg_utils.systems import Workspace
from vidseg_utils.systems.object_dynamics import ObjectDynamics, decide_mask, measure_poses
from vidseg_utils.systems.object_dynamics.error_sources import (
    LAST_PAST_VIDEO_FRAME,
    forecasts_from_masks,
    forecasts_from_truth,
    rollout_errors,
    state_error_table,
)
from vidseg_utils.systems.object_dynamics.filter import run_ensemble_filter
from vidseg_utils.systems.object_dynamics.image_plane import extrapolate_masks
from vidseg_utils.systems.object_dynamics.perception.class_assignment import assign_track_classes
from vidseg_utils.systems.object_dynamics.perception.tracks import build_tracks
from vidseg_utils.systems.object_dynamics.physics.annotated_states import tracks_from_trajectory, yaw_from_rotations
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.fitting import fit_constants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import advance
from vidseg_utils.systems.object_dynamics.system import label_pixels
from vidseg_utils.task import CLIP_VIDEO_FRAMES, FRAME_STEP, HEIGHT, PAST_FRAMES, WIDTH
from vidseg_utils.world.label_offset import EXACT_LABELS, LabelOffset
from vidseg_utils.world.mask_drawing import draw_masks
from vidseg_utils.world.trajectory import Trajectory, read_annotation

OTHER_WORLD = PhysicsSettings(
    sliding_friction=0.05, linear_drag=0.07, quadratic_drag=0.02, restitution=0.8, contact_friction=0.1
)
SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "clevrer"
REAL_STARTS = range(0, 61, 12)  # video frames from which the real annotations are rolled out: they are few


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=200, help="generated videos to fit the constants to")
    parser.add_argument("--val", type=int, default=100, help="generated videos to score")
    parser.add_argument("--height", type=int, default=160, help="of the masks: 160 or 80")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--constants", type=Path, help="fitted constants (.json), read if there, else fitted and kept")
    parser.add_argument("--profile", help="score this profile's validation videos with what it has trained instead")
    parser.add_argument("--root", help="a data set to score in place of the profile's own")
    parser.add_argument("--times", action="store_true", help="with --profile: only print where the time goes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.times:
        if not arguments.profile:
            parser.error("--times needs --profile")
        return show_times(Workspace.for_profile(arguments.profile, root=arguments.root), arguments.val)
    if arguments.profile:
        system = show_profile(Workspace.for_profile(arguments.profile, root=arguments.root), arguments.val)
    else:
        system = show_simulated(arguments)
    real = [read_annotation(path) for path in sorted(SHARED.glob("annotation_*.json"))]
    if real:
        print(f"\n## {len(real)} real CLEVRER annotations")
        show_rollouts(real, system, starts=REAL_STARTS)
    return None


def show_profile(workspace: Workspace, count: int) -> ObjectDynamics:
    """The profile's system on (at most `count`) validation videos of its own; returns the system."""
    system, split = ObjectDynamics.load(workspace), workspace.split("val")
    annotations = [split.annotation(index) for index in range(min(count, len(split)))]
    trajectories = [annotation for annotation in annotations if annotation is not None]
    if split.masks is None or len(trajectories) < len(annotations):
        raise ValueError(f"the validation videos in {workspace.root} have no masks or no annotations")
    masks, segmented = split.masks[:count], []
    start = time.process_time()
    with torch.inference_mode():
        for clip in tqdm(split.frames[:count], desc="segment"):
            frames = to_float(torch.tensor(clip[None, :PAST_FRAMES])).to(workspace.device)
            segmented.append(system.segment(frames)[0].cpu().numpy())
    print(f"U-Net's masks: {1e3 * (time.process_time() - start) / len(masks):.0f} ms of one core a video to segment")
    segmented = np.stack(segmented)
    height, width = masks.shape[2:]
    print(f"\n## profile {workspace.profile.name}: {len(masks)} videos at {height} x {width}")
    score = jaccard(
        torch.from_numpy(nearest_scale(segmented, height=height, width=width)), torch.tensor(masks[:, :PAST_FRAMES])
    )
    print(f"U-Net's masks, one class a track: Jaccard {score:.3f} with the true ones")
    show_ladder(trajectories, masks, {"U-Net's masks": segmented, "true masks": masks[:, :PAST_FRAMES]}, system)
    show_rollouts(trajectories, system)
    return system


def show_times(workspace: Workspace, count: int) -> None:
    """Print the processor time of one core that each step of an evaluation takes a video."""
    system, split, score = ObjectDynamics.load(workspace), workspace.split("val"), MaskScore()
    assert split.masks is not None
    segmenter, offset, count = system.require_segmenter(), system.segmenter_offset, min(count, len(split))
    seconds: dict[str, float] = {}

    def timed(step: str, function: Callable, *given: Any, **options: Any) -> Any:
        start = time.process_time()
        result = function(*given, **options)
        seconds[step] = seconds.get(step, 0.0) + time.process_time() - start
        return result

    with torch.inference_mode(), reusing_memory(workspace.device):
        for start in tqdm(range(0, count, MAX_BATCH_SIZE), desc="evaluate"):
            stop = min(start + MAX_BATCH_SIZE, count)
            frames = timed("frames read", past_clips, split, start, stop, device=workspace.device)
            masks, scores = [], []
            for clip in frames:
                timed("(U-Net in float32)", segmenter, clip)
                logits = timed("U-Net", system.segmenter_logits, clip)
                labels, shown = timed("labels", label_pixels, logits)
                masks.append(labels.cpu().numpy())
                scores.append(timed("labels", shown.softmax, dim=-1).cpu().numpy())
            past = timed("components, tracks, classes", assign_track_classes, np.stack(masks), scores, offset=offset)
            measured = timed("poses of outlines", measure_poses, past, offset=offset)
            tracks = build_tracks(measured, clips=len(past), frames=PAST_FRAMES)
            worlds = timed("filter", run_ensemble_filter, tracks, system.constants, system.settings, seed=system.seed)
            timed("physics of the future", system.advance_to_last_frame, worlds, tracks)
            size = {"height": HEIGHT, "width": WIDTH}
            forecast = timed("decision and drawing", decide_mask, tracks.class_id, worlds, **size)
            truth = torch.tensor(split.masks[start:stop])
            height, width = truth.shape[2:]
            past, forecast = (torch.from_numpy(nearest_scale(m, height=height, width=width)) for m in (past, forecast))
            timed("scores", score.update, forecast, truth)
            timed("scores", confusion_matrix, past, truth[:, :PAST_FRAMES])
            for reference in reference_masks(truth):
                timed("scores", confusion_matrix, reference, truth[:, -1])
    print(f"ms of one core a video, {count} videos at {height} x {width}")
    for step, time_of_all in seconds.items():
        print(f"{step:30s} {1e3 * time_of_all / count:6.1f}")


def show_simulated(arguments: argparse.Namespace) -> ObjectDynamics:
    """Fit the constants to simulated videos and score them on others, here and in another world; returns the system."""
    if arguments.constants and arguments.constants.is_file():
        constants = PhysicsConstants.from_json(arguments.constants)
    else:
        train = simulate_videos(arguments.seed, arguments.train, None, "simulate training videos")
        start = time.perf_counter()
        constants = fit_constants(map(tracks_from_trajectory, train))
        print(f"fitted to {len(train)} videos in {time.perf_counter() - start:.0f} s")
        if arguments.constants:
            constants.to_json(arguments.constants)
    system = ObjectDynamics(constants)
    for title, settings in (("the world it was fitted to", None), ("another world", OTHER_WORLD)):
        val = simulate_videos(arguments.seed + 1, arguments.val, settings, "simulate validation videos")
        print(f"\n## {title}: {len(val)} videos at {arguments.height} x {arguments.height * WIDTH // HEIGHT}")
        masks = np.stack([draw_clip(trajectory, arguments.height) for trajectory in val])
        rng = np.random.default_rng(0)
        noisy = assign_track_classes(np.stack([add_segmentation_noise(clip, rng) for clip in masks[:, :PAST_FRAMES]]))
        show_ladder(val, masks, {"noisy masks": noisy, "true masks": masks[:, :PAST_FRAMES]}, system)
        show_rollouts(val, system)
    return system


def simulate_videos(seed: int, count: int, settings: PhysicsSettings | None, title: str) -> list[Trajectory]:
    return [simulate_video(seed, n, settings=settings) for n in tqdm(range(count), desc=title)]


def draw_clip(trajectory: Trajectory, height: int, offset: LabelOffset = EXACT_LABELS) -> np.ndarray:
    """(22, height, width) masks of a clip, sampled like the course's. offset: of the labels against the exact masks."""
    clip = trajectory.select_frames(CLIP_VIDEO_FRAMES)
    yaw = yaw_from_rotations(shape_code(clip.class_ids), clip.rotations)
    poses = np.concatenate([clip.positions[..., :2], yaw[..., None]], axis=-1)
    ids = np.broadcast_to(trajectory.class_ids, poses.shape[:2])
    masks = draw_masks(ids, poses, ids > 0, height=HEIGHT, width=WIDTH, offset=offset)
    return nearest_scale(masks, height=height, width=height * WIDTH // HEIGHT)


def add_segmentation_noise(
    masks: np.ndarray, rng: np.random.Generator, *, jitter_px: float = 0.7, flips: float = 0.03
) -> np.ndarray:
    """Masks (T, H, W) as a segmenter might give them: outlines shifted at random, some objects of a wrong class."""
    noisy = np.empty_like(masks)
    grid = np.mgrid[: masks.shape[1], : masks.shape[2]].astype(float)
    for t, mask in enumerate(masks):
        coarse = rng.normal(0, jitter_px, (2, masks.shape[1] // 3 + 2, masks.shape[2] // 3 + 2))
        shift = np.stack([map_coordinates(c, grid / 3, order=1) for c in coarse])
        noisy[t] = map_coordinates(mask, grid + shift, order=0, mode="nearest")
        for class_id in np.unique(mask)[1:]:
            if rng.random() < flips:
                noisy[t][noisy[t] == class_id] = rng.integers(1, N_CLASSES)
    return noisy


def show_ladder(
    trajectories: Sequence[Trajectory], masks: np.ndarray, sources: Mapping[str, np.ndarray], system: ObjectDynamics
) -> None:
    """Print the scores of forecasts with more and more knowledge, and the errors of the state.

    masks: (B, 22, H, W), the true ones; sources: name -> past masks (B, 11, h, w) of that size or larger
    """
    past, target = masks[:, :PAST_FRAMES], torch.tensor(masks[:, -1])
    height, width = masks.shape[2:]
    answers = {"copy frame 10": past[:, -1], "straight lines in the picture": extrapolate_masks(past)}
    for name, given in sources.items():
        start = time.process_time()
        ways = forecasts_from_masks(system, given, height=height, width=width)
        answers |= {f"{name}: {way}": answer for way, answer in ways.items()}
        print(f"{name}: {1e3 * (time.process_time() - start) / len(masks):.0f} ms of one core a video")
    for name, answer in (answers | forecasts_from_truth(system, trajectories, past)).items():
        print(f"{name:40s} {jaccard(torch.tensor(answer), target):.3f}")
    print(f"\n{state_error_table(system, trajectories, sources)}")


def show_rollouts(
    trajectories: Sequence[Trajectory], system: ObjectDynamics, *, starts: Sequence[int] = (LAST_PAST_VIDEO_FRAME,)
) -> None:
    """Print the mean error of rollouts by the fitted physics from the true state, by horizon."""
    errors = rollout_errors(
        trajectories, lambda worlds, _: advance(worlds, FRAME_STEP, system.constants), starts=starts
    )
    columns = "   ".join(f"{n}: {errors[n - 1].mean():.3f}" for n in (1, 2, 4, 6, 8, 11))
    print(f"\nfrom the true state at video frame {', '.join(map(str, starts))}")
    print(f"clip frames ahead: mean error (units)   {columns}")


if __name__ == "__main__":
    main()
