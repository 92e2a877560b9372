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
from vidseg_utils.systems.object_dynamics.fitting import fit_constants, frame_seconds, worlds_at, yaw_of
from vidseg_utils.systems.object_dynamics.outline import read_outlines
from vidseg_utils.systems.object_dynamics.planar import Worlds, advance
from vidseg_utils.systems.object_dynamics.silhouette import draw_masks

NOW, THEN = COURSE_FRAMES[10], COURSE_FRAMES[21]
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
    for title, settings in (("the world it was fitted to", None), ("another world", OTHER_WORLD)):
        val = videos(arguments.seed + 1, arguments.val, settings, "simulate validation videos")
        print(f"\n## {title}: {len(val)} videos at {arguments.height} x {arguments.height * 3 // 2}")
        ladder(val, constants, arguments.height)
        rollout_errors(val, constants)
    real = [read_annotation(path) for path in sorted(SHARED.glob("annotation_*.json"))]
    if real:
        print(f"\n## {len(real)} real CLEVRER annotations")
        rollout_errors(real, constants)


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


def ladder(trajectories: list[Trajectory], constants: PlanarConstants, height: int) -> None:
    """The score of ever more knowledge, and the accuracy of the state, as printed lines."""
    masks = np.stack([cast(trajectory, height) for trajectory in trajectories])
    target = torch.from_numpy(masks[:, -1])
    seconds = frame_seconds(trajectories)
    count, slots = len(masks), max(len(t.class_ids) for t in trajectories)
    ids = np.stack([np.pad(t.class_ids, (0, slots - len(t.class_ids))) for t in trajectories])
    seen = np.stack([np.isin(ids[n], masks[n, :11]) & (ids[n] > 0) for n in range(count)])

    def line(title: str, answer: np.ndarray) -> None:
        print(f"{title:52s} {jaccard(torch.from_numpy(answer), target):.3f}")

    def drawn(class_ids: np.ndarray, worlds: Worlds, present: np.ndarray) -> np.ndarray:
        return draw_masks(class_ids, worlds.poses, present, height=height, width=height * 3 // 2)

    model = ObjectDynamicsModel(len(constants.as_array()))
    model.constants.copy_(torch.from_numpy(constants.as_array()))
    system = ObjectDynamics(model)
    rng = np.random.default_rng(0)
    noisy = np.stack([segmented(clip[:11], rng) for clip in masks])
    line("copy-last, true mask", masks[:, 10])
    for name, past in (("true masks", masks[:, :11]), ("noisy masks", noisy)):
        tracks, worlds = system.worlds_now(past)
        best = mean_of(worlds, count)
        straight = best.copy()
        straight.position += (THEN - NOW) * straight.velocity
        line(f"{name}: straight line", drawn(tracks.class_id, straight, tracks.class_id > 0))
        single = best.copy()
        advance(single, THEN - NOW, constants)
        line(f"{name}: physics from the mean state", drawn(tracks.class_id, single, tracks.class_id > 0))
        start = time.process_time()
        answer = system.predict(torch.from_numpy(past)).numpy()
        spent = (time.process_time() - start) / count
        line(f"{name}: the whole system ({1e3 * spent:.0f} ms of one core a video)", answer)
    truth = worlds_at(trajectories, [NOW] * count, seconds)
    known = truth.copy()
    known.active &= seen
    for title, worlds in (("of the objects seen", known), ("of all objects", truth)):
        advance(worlds, THEN - NOW, constants)
        line(f"true state at frame 10 {title}, physics", drawn(ids, worlds, seen))
    line("true state at frame 21", drawn(ids, worlds_at(trajectories, [THEN] * count, seconds), seen))
    for name, past in (("true masks", masks[:, :11]), ("noisy masks", noisy)):
        print(f"\n{name}: error of       place a frame (units)     at frame 10: velocity (units/s)   yaw a frame (deg)")
        state_errors(trajectories, system, past, seconds)


def mean_of(worlds: Worlds, clips: int) -> Worlds:
    """The mean of each clip's ensemble."""

    def mean(values: np.ndarray) -> np.ndarray:
        return values.reshape(clips, -1, *values.shape[1:]).mean(axis=1)

    ensemble = worlds.active.reshape(clips, -1, worlds.active.shape[1])[:, 0]
    shape = worlds.shape.reshape(clips, -1, worlds.shape.shape[1])[:, 0]
    return Worlds(shape, ensemble, mean(worlds.position), mean(worlds.velocity), mean(worlds.yaw), mean(worlds.spin))


def state_errors(trajectories: list[Trajectory], system: ObjectDynamics, past: np.ndarray, seconds: float) -> None:
    sightings = read_outlines(past)
    tracks, worlds = system.worlds_now(past)
    velocity = mean_of(worlds, len(past)).velocity / seconds
    places, yaws, speeds = ({0: [], 1: [], 2: []} for _ in range(3))
    for clip, frame, class_id, pose in zip(
        sightings.clip, sightings.frame, sightings.class_id, sightings.pose, strict=True
    ):
        slot = np.flatnonzero(trajectories[clip].class_ids == class_id)
        if len(slot):  # a flipped class is no object's
            at, shape = COURSE_FRAMES[frame], (int(class_id) - 1) // 16
            places[shape].append(np.linalg.norm(pose[:2] - trajectories[clip].positions[at, slot[0], :2]))
            true_yaw = yaw_of(np.array(shape), trajectories[clip].rotations[at, slot[0]])
            yaws[shape].append(abs((pose[2] - true_yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4))
    for clip, slot in zip(*np.nonzero(tracks.class_id), strict=True):
        true = np.flatnonzero(trajectories[clip].class_ids == tracks.class_id[clip, slot])
        if len(true):
            error = velocity[clip, slot] - trajectories[clip].velocities[NOW, true[0], :2]
            speeds[tracks.shape[clip, slot]].append(np.linalg.norm(error))

    def both(values: list) -> str:
        return "median {:.4f}, 90 % {:.4f}".format(*np.quantile(values, (0.5, 0.9))) if values else "-"

    for shape, name in enumerate(("cube", "sphere", "cylinder")):
        turn = both(list(np.degrees(yaws[shape]))) if shape == 0 else "-"
        print(f"{name:12s} {both(places[shape]):30s} {both(speeds[shape]):30s} {turn}")


def rollout_errors(trajectories: list[Trajectory], constants: PlanarConstants) -> None:
    """Error of physics from the true state at frame 10, by horizon."""
    seconds = frame_seconds(trajectories)
    worlds = worlds_at(trajectories, [NOW] * len(trajectories), seconds)
    print("\ncourse frames ahead   mean error   median   90 %   (world units; objects in view)")
    for frame in range(1, 12):
        advance(worlds, COURSE_FRAMES[1], constants)
        at = NOW + frame * COURSE_FRAMES[1]
        end = worlds_at(trajectories, [at] * len(trajectories), seconds)
        view = np.zeros_like(worlds.active)
        for n, trajectory in enumerate(trajectories):
            view[n, : len(trajectory.class_ids)] = trajectory.in_view[at] & trajectory.in_view[NOW]
        error = np.linalg.norm(worlds.position - end.position, axis=-1)[view]
        if frame in (1, 2, 4, 6, 8, 11):
            print(f"{frame:10d} {error.mean():18.4f} {np.median(error):10.4f} {np.quantile(error, 0.9):9.4f}")


if __name__ == "__main__":
    main()
