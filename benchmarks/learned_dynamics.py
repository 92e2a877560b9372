"""The learned law of motion beside fitted physics and straight lines: errors by horizon, and forecasts from masks.

They are compared on the validation videos, on videos of a world with other friction, drag and restitution than they
were fitted to, and on real CLEVRER annotations where there are any. Run `vidseg train object_dynamics_learned` first.

    python benchmarks/learned_dynamics.py --profile cpu
"""

import argparse
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from object_dynamics import OTHER_WORLD, REAL_STARTS, SHARED, draw_clip, simulate_videos

from vidseg_utils.metrics import jaccard
from vidseg_utils.systems import Workspace
from vidseg_utils.systems.object_dynamics import ObjectDynamics
from vidseg_utils.systems.object_dynamics.error_sources import LAST_PAST_VIDEO_FRAME, Move, rollout_errors
from vidseg_utils.systems.object_dynamics.learned.rollout import advance_with_network
from vidseg_utils.systems.object_dynamics.learned.system import DYNAMICS, LearnedObjectDynamics
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.systems.object_dynamics.training import load_constants
from vidseg_utils.task import FRAME_STEP, PAST_FRAMES
from vidseg_utils.training.weights import load_model
from vidseg_utils.world.trajectory import Trajectory, read_annotation

HORIZONS = (1, 2, 4, 6, 8, 11)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="auto", help="whose data and runs")
    parser.add_argument("--val", type=int, default=100, help="videos of each world, at most")
    parser.add_argument("--seed", type=int, default=6, help="of the other world's videos")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    workspace = Workspace.for_profile(arguments.profile)
    constants, network = load_constants(workspace), load_model(workspace.run_folder("interaction_network"))

    def straight(worlds: Worlds, _: np.ndarray) -> None:
        worlds.position += FRAME_STEP * worlds.velocity

    moves: dict[str, Move] = {
        "straight line": straight,
        "fitted physics": lambda worlds, _: advance(worlds, FRAME_STEP, constants),
        "learned": lambda worlds, ids: advance_with_network(worlds, FRAME_STEP, network, ids),
    }
    systems = {"fitted physics": ObjectDynamics(constants)} | {
        dynamics: LearnedObjectDynamics(constants, network, dynamics=dynamics) for dynamics in DYNAMICS
    }
    split = workspace.split("val")
    annotations = [split.annotation(index) for index in range(min(arguments.val, len(split)))]
    val = [annotation for annotation in annotations if annotation is not None]
    other = simulate_videos(arguments.seed, arguments.val, OTHER_WORLD, "simulate another world")
    real = [read_annotation(path) for path in sorted(SHARED.glob("annotation_*.json"))]
    for title, trajectories in (("validation videos", val), ("another world", other), ("real CLEVRER", real)):
        if trajectories:
            print(f"\n## {title}: {len(trajectories)} videos")
            show_rollouts(trajectories, moves, starts=REAL_STARTS if trajectories is real else (LAST_PAST_VIDEO_FRAME,))
            if trajectories is not real:
                show_forecasts(trajectories, systems, workspace.profile.height)


def show_rollouts(trajectories: Sequence[Trajectory], moves: Mapping[str, Move], *, starts: Sequence[int]) -> None:
    """Print the errors of rollouts from the true state, by horizon in clip frames."""
    print(f"from the true state at video frame {', '.join(map(str, starts))}")
    print("world units: mean / median".ljust(26), *(f"{horizon:>15d}" for horizon in HORIZONS))
    for name, move in moves.items():
        errors = rollout_errors(trajectories, move, starts=starts)
        columns = [errors[horizon - 1] for horizon in HORIZONS]
        print(f"{name:26s}", *(f"{e.mean():7.3f} /{np.median(e):6.3f}" for e in columns))


def show_forecasts(trajectories: list[Trajectory], systems: dict[str, ObjectDynamics], height: int) -> None:
    """Print the Jaccard of forecasts from true masks; all systems start from the same state."""
    masks = np.stack([draw_clip(trajectory, height) for trajectory in trajectories])
    target = torch.from_numpy(masks[:, -1])
    print(f"\nfrom true masks: copy-last: Jaccard {jaccard(torch.from_numpy(masks[:, PAST_FRAMES - 1]), target):.3f}")
    tracks, worlds = next(iter(systems.values())).estimate_worlds(masks[:, :PAST_FRAMES])
    for name, system in systems.items():
        start = time.process_time()
        answer = system.forecast_from_worlds(tracks, worlds.copy(), height=masks.shape[2], width=masks.shape[3])
        spent = (time.process_time() - start) / len(masks)
        score = jaccard(torch.from_numpy(answer), target)
        print(f"{name}: Jaccard {score:.3f}; {1e3 * spent:.0f} ms a video to move and draw")


if __name__ == "__main__":
    main()
