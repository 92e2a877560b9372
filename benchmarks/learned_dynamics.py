"""Learned laws of motion beside fitted physics and straight lines: errors by horizon, and forecasts from masks.

They are compared on the validation videos, on videos of a world with other friction, drag and restitution than they
were fitted to, on videos with more objects, and on real CLEVRER annotations where there are any. Run
`vidseg train object_dynamics_learned` and `vidseg train object_dynamics_tokens` first, for several seeds with
`--size training_seed=1` and so on.

    python benchmarks/learned_dynamics.py --profile cpu --seeds 0 1 2
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from object_dynamics import OTHER_WORLD, REAL_STARTS, SHARED, draw_clip
from tqdm.auto import tqdm

from vidseg_utils.metrics import jaccard, score_futures
from vidseg_utils.models.object_tokens import NOISE
from vidseg_utils.simulator.physics import simulate_video
from vidseg_utils.simulator.settings import PhysicsSettings
from vidseg_utils.systems import Workspace
from vidseg_utils.systems.object_dynamics import ObjectDynamics
from vidseg_utils.systems.object_dynamics.error_sources import LAST_PAST_VIDEO_FRAME, Move, rollout_errors
from vidseg_utils.systems.object_dynamics.learned.rollout import advance_with_network
from vidseg_utils.systems.object_dynamics.learned.system import DYNAMICS, LearnedObjectDynamics, TokenObjectDynamics
from vidseg_utils.systems.object_dynamics.learned.tokens import advance_with_tokens
from vidseg_utils.systems.object_dynamics.physics.annotated_states import seconds_per_frame, worlds_from_trajectories
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.systems.object_dynamics.training import load_constants
from vidseg_utils.task import FRAME_STEP, FUTURE_FRAMES, PAST_FRAMES
from vidseg_utils.training.weights import load_model
from vidseg_utils.world.trajectory import Trajectory, read_annotation

HORIZONS = (1, 2, 4, 6, 8, 11)
MANY_OBJECTS = (7, 8)
FUTURES = 24  # possible futures of a start


class Law(NamedTuple):
    """A law of motion: how it moves worlds by a frame of a clip, and how it makes them differ."""

    move: Move
    scatter: Callable[[Worlds], None] | None = None  # called once, before random futures; None: they are all alike
    random_move: Move | None = None  # None: as `move`


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="auto", help="whose data and runs")
    parser.add_argument("--val", type=int, default=100, help="videos of each world, at most")
    parser.add_argument("--seed", type=int, default=6, help="of the other worlds' videos")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="training seeds of the networks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    workspaces = {s: Workspace.for_profile(arguments.profile, sizes={"training_seed": s}) for s in arguments.seeds}
    workspace = Workspace.for_profile(arguments.profile)  # the fitted constants depend on no seed
    constants = load_constants(workspace)
    rng = np.random.default_rng(0)
    laws = {"straight line": Law(straight), "fitted physics": fitted_law(constants, rng)}
    systems: dict[str, ObjectDynamics] = {"fitted physics": ObjectDynamics(constants)}
    for seed, place in workspaces.items():
        network, tokens = (load_model(place.run_folder(run)) for run in ("interaction_network", "object_tokens"))
        laws[f"interaction network, seed {seed}"] = Law(
            lambda worlds, ids, net=network: advance_with_network(worlds, FRAME_STEP, net, ids)
        )
        laws[f"object tokens, seed {seed}"] = token_law(tokens, rng)
        for dynamics in DYNAMICS if seed == arguments.seeds[0] else ("learned",):
            systems[f"interaction network, {dynamics}, seed {seed}"] = LearnedObjectDynamics(
                constants, network, dynamics=dynamics
            )
            systems[f"object tokens, {dynamics}, seed {seed}"] = TokenObjectDynamics(
                constants, tokens, dynamics=dynamics
            )
    split = workspace.split("val")
    annotations = [split.annotation(index) for index in range(min(arguments.val, len(split)))]
    worlds = {
        "validation videos": [annotation for annotation in annotations if annotation is not None],
        "another world": simulate(arguments, settings=OTHER_WORLD),
        "7 and 8 objects": simulate(arguments, object_count=MANY_OBJECTS),
        "real CLEVRER": [read_annotation(path) for path in sorted(SHARED.glob("annotation_*.json"))],
    }
    for title, trajectories in worlds.items():
        if trajectories:
            print(f"\n## {title}: {len(trajectories)} videos", flush=True)
            real = title == "real CLEVRER"
            show_rollouts(trajectories, laws, starts=REAL_STARTS if real else (LAST_PAST_VIDEO_FRAME,))
            if not real:
                show_forecasts(trajectories, systems, workspace.profile.height)


def simulate(
    arguments: argparse.Namespace,
    *,
    settings: PhysicsSettings | None = None,
    object_count: tuple[int, int] | None = None,
) -> list[Trajectory]:
    count = {} if object_count is None else {"object_count": object_count}
    videos = tqdm(range(arguments.val), desc="simulate", leave=False)
    return [simulate_video(arguments.seed, n, settings=settings, **count) for n in videos]


def straight(worlds: Worlds, _: np.ndarray) -> None:
    """Move the worlds on by a frame of a clip, without friction and collisions."""
    worlds.position += FRAME_STEP * worlds.velocity


def fitted_law(constants: PhysicsConstants, rng: np.random.Generator) -> Law:
    """The fitted physics; its futures differ in masses and restitutions, as those of object dynamics do."""

    def scatter(worlds: Worlds) -> None:
        worlds.mass[:] = np.exp(constants.mass_spread * rng.normal(size=worlds.mass.shape))
        upper = np.triu(rng.normal(size=worlds.bounce.shape), 1)
        worlds.bounce[:] = constants.restitution_spread * (upper + upper.swapaxes(1, 2))

    return Law(lambda worlds, _: advance(worlds, FRAME_STEP, constants), scatter)


def token_law(network: torch.nn.Module, rng: np.random.Generator) -> Law:
    """Object tokens; without random numbers they give a usual future."""

    def random_move(worlds: Worlds, ids: np.ndarray) -> None:
        advance_with_tokens(worlds, FRAME_STEP, network, ids, noise=lambda _: rng.normal(size=(*ids.shape, NOISE)))

    return Law(
        lambda worlds, ids: advance_with_tokens(worlds, FRAME_STEP, network, ids), lambda worlds: None, random_move
    )


def show_rollouts(trajectories: Sequence[Trajectory], laws: Mapping[str, Law], *, starts: Sequence[int]) -> None:
    """Print the errors of rollouts from the true state, by horizon in clip frames, and the score of random futures."""
    print(f"from the true state at video frame {', '.join(map(str, starts))}")
    print("world units: mean / median".ljust(30), *(f"{horizon:>15d}" for horizon in HORIZONS), "   energy score, 11")
    for name, law in laws.items():
        errors = rollout_errors(trajectories, law.move, starts=starts)
        columns = [errors[horizon - 1] for horizon in HORIZONS]
        energy = errors[-1].mean() if law.scatter is None else energy_score(trajectories, law, starts=starts)
        cells = [f"{e.mean():7.3f} /{np.median(e):6.3f}" for e in columns]
        print(f"{name:30s}", *cells, f"   {energy:.3f}", flush=True)


def energy_score(trajectories: Sequence[Trajectory], law: Law, *, starts: Sequence[int]) -> float:
    """Of the positions of FUTURES random futures after 11 clip frames, in world units, over objects in view."""
    seconds, scores = seconds_per_frame(trajectories), []
    repeated = [trajectory for trajectory in trajectories for _ in range(FUTURES)]
    for start in starts:
        end_frame = start + FRAME_STEP * FUTURE_FRAMES
        worlds = worlds_from_trajectories(repeated, [start] * len(repeated), seconds)
        slots = worlds.active.shape[1]
        ids = np.stack([np.pad(t.class_ids, (0, slots - len(t.class_ids))) for t in repeated])
        if law.scatter:
            law.scatter(worlds)
        for _ in range(FUTURE_FRAMES):
            (law.random_move or law.move)(worlds, ids)
        end = worlds_from_trajectories(trajectories, [end_frame] * len(trajectories), seconds)
        in_view = np.stack(
            [np.pad(t.in_view[end_frame] & t.in_view[start], (0, slots - len(t.class_ids))) for t in trajectories]
        )
        futures = torch.from_numpy(worlds.position.reshape(len(trajectories), FUTURES, slots, 2))
        score = score_futures(futures, torch.from_numpy(end.position), lambda a, b: (a - b).norm(dim=-1))
        scores.append(score.numpy()[in_view])
    return float(np.concatenate(scores).mean())


def show_forecasts(trajectories: list[Trajectory], systems: dict[str, ObjectDynamics], height: int) -> None:
    """Print the Jaccard of forecasts from true masks; all systems start from the same state."""
    first = next(iter(systems.values()))
    masks = np.stack([draw_clip(trajectory, height, first.constants.label_offset) for trajectory in trajectories])
    target = torch.from_numpy(masks[:, -1])
    print(f"\nfrom true masks: copy-last: Jaccard {jaccard(torch.from_numpy(masks[:, PAST_FRAMES - 1]), target):.3f}")
    tracks, worlds = first.estimate_worlds(masks[:, :PAST_FRAMES])
    for name, system in systems.items():
        start = time.process_time()
        answer = system.forecast_from_worlds(tracks, worlds.copy(), height=masks.shape[2], width=masks.shape[3])
        spent = (time.process_time() - start) / len(masks)
        score = jaccard(torch.from_numpy(answer), target)
        print(f"{name}: Jaccard {score:.3f}; {1e3 * spent:.0f} ms a video to move and draw", flush=True)


if __name__ == "__main__":
    main()
