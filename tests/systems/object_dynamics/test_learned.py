"""Proves that learned laws of motion learn collisions from trajectories, and forecast with what they have learned."""

import numpy as np
import pytest
import torch

from vidseg_utils.metrics import jaccard
from vidseg_utils.models import build_model
from vidseg_utils.systems.object_dynamics.filter import FilterSettings
from vidseg_utils.systems.object_dynamics.learned.rollout import (
    advance_with_network,
    find_contacts,
    nearby_pairs,
    objects_from_worlds,
)
from vidseg_utils.systems.object_dynamics.learned.system import DYNAMICS, LearnedObjectDynamics, TokenObjectDynamics
from vidseg_utils.systems.object_dynamics.learned.tokens import STEP_FRAMES, advance_with_tokens
from vidseg_utils.systems.object_dynamics.learned.windows import TrajectoryWindows, training_windows
from vidseg_utils.systems.object_dynamics.physics.annotated_states import seconds_per_frame, worlds_from_trajectories
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.world.mask_drawing import draw_masks
from vidseg_utils.world.trajectory import Collision, Trajectory

CONSTANTS = PhysicsConstants()
SPHERE, CYLINDER, FRAMES = 17, 33, 40


def trajectories(count, seed=0):
    """Spheres that hit resting cylinders, as the fitted physics would have it, 40 video frames long."""
    rng = np.random.default_rng(seed)
    worlds = Worlds.empty(count, 2)
    worlds.shape[:], worlds.active[:] = (1, 2), True
    worlds.position[:, 0] = np.stack([rng.uniform(-1.6, -1.0, count), rng.uniform(-0.2, 0.2, count)], axis=1)
    worlds.position[:, 1] = 0.0
    worlds.velocity[:] = 0.0
    worlds.velocity[:, 0, 0] = rng.uniform(0.035, 0.08, count)
    states = []
    for _ in range(FRAMES):
        states.append(worlds.copy())
        advance(worlds, 1, CONSTANTS)
    made = []
    for n in range(count):
        position, velocity, spin = (
            np.stack([getattr(state, name)[n] for state in states]) for name in ("position", "velocity", "spin")
        )
        hit = int(np.argmax(np.abs(velocity[:, 1]).sum(-1) > 1e-3)) or FRAMES // 2
        made.append(
            Trajectory(
                np.array([SPHERE, CYLINDER], dtype=np.uint8),
                np.pad(position, ((0, 0), (0, 0), (0, 1))),
                np.broadcast_to(np.eye(3), (FRAMES, 2, 3, 3)),
                np.pad(velocity, ((0, 0), (0, 0), (0, 1))) / 0.04,
                np.pad(spin[..., None], ((0, 0), (0, 0), (2, 0))) / 0.04,
                np.ones((FRAMES, 2), dtype=bool),
                (Collision(hit, (0, 1), (0.0, 0.0, 0.2)),),
            )
        )
    return made


SYSTEMS = {"interaction_network": LearnedObjectDynamics, "object_tokens": TokenObjectDynamics}
both_laws = pytest.mark.parametrize("law", SYSTEMS)


def recipe(law, trajectories, *, epochs=1):
    sizes = {"interaction.epochs": epochs, "tokens.epochs": epochs, "tokens.width": 32}
    workspace = Workspace.for_profile("smoke", sizes=sizes)
    return SYSTEMS[law].recipe(workspace, trajectories=trajectories)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Law -> the trained network and its history; each is trained once."""
    done = {}

    def train(law):
        if law not in done:
            epochs = 12 if law == "interaction_network" else 60
            done[law] = recipe(law, trajectories(60), epochs=epochs).train(tmp_path_factory.mktemp("runs") / law)
        return done[law]

    return train


def move(law, worlds, frames, network, ids):
    advance = advance_with_network if law == "interaction_network" else advance_with_tokens
    advance(worlds, frames, network, ids)


@both_laws
def test_the_loss_of_one_batch_falls_far(law):
    torch.manual_seed(0)
    data = training_windows(trajectories(6), length=recipe(law, []).window_frames)
    batch = torch.utils.data.default_collate([data[n] for n in range(len(data))])
    network = build_model(law)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        loss = recipe(law, []).step(network, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.slow
@both_laws
def test_trained_rollouts_beat_straight_lines_by_far(trained, law):
    network, history = trained(law)
    assert history[-1]["rollout_error"] < history[0]["rollout_error"]
    unseen = trajectories(20, seed=1)
    seconds, ids = seconds_per_frame(unseen), np.tile([SPHERE, CYLINDER], (20, 1))
    worlds = worlds_from_trajectories(unseen, [0] * 20, seconds)
    end = worlds_from_trajectories(unseen, [FRAMES - 1] * 20, seconds)
    straight = worlds.position + (FRAMES - 1) * worlds.velocity
    move(law, worlds, FRAMES - 1, network, ids)
    error, straight_error = (np.linalg.norm(p - end.position, axis=-1).mean() for p in (worlds.position, straight))
    assert error < 0.2 * straight_error


@both_laws
def test_the_same_seed_trains_the_same_weights_bit_for_bit(tmp_path, law):
    for name in ("first", "second"):
        torch.manual_seed(len(name))  # whatever was drawn before must not matter
        recipe(law, trajectories(6)).train(tmp_path / name)
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("first", "second")]
    assert weights[0] == weights[1]


def test_windows_are_padded_to_the_most_objects_and_padding_moves_nobody():
    one, other = trajectories(2)
    alone = Trajectory(
        one.class_ids[:1],
        *(getattr(one, name)[:, :1] for name in ("positions", "rotations", "velocities", "angular_velocities")),
        one.in_view[:, :1],
    )
    window = TrajectoryWindows([alone, other], [(0, 0, 0)], length=4)[0]
    assert window["position"].shape == (5, 2, 2)
    assert window["active"].tolist() == [True, False]


def test_a_pair_that_will_touch_within_the_frame_is_found_at_the_moment_of_touch():
    worlds = Worlds.empty(1, 3)
    worlds.active[0, :2] = True  # the third one would be in the way, but it is not there
    worlds.shape[0] = (1, 1, 1)
    worlds.position[0] = [[0.0, 0.0], [0.43, 0.0], [0.2, 0.0]]
    worlds.velocity[0] = [[0.06, 0.0], [0.0, 0.0], [0.0, 0.0]]
    objects = objects_from_worlds(worlds, np.array([[SPHERE, SPHERE + 1, 0]]))
    contacts = find_contacts(objects, nearby_pairs(objects, 8))
    assert contacts.first.tolist() == [0] and contacts.second.tolist() == [1]
    assert contacts.time.item() == pytest.approx(0.5, abs=1e-3)
    assert contacts.gap.item() == pytest.approx(0.0, abs=1e-4)
    np.testing.assert_allclose(contacts.normal, [[1.0, 0.0]], atol=1e-6)
    worlds.position[0, 1, 0] = 0.6
    assert not len(
        find_contacts(objects_from_worlds(worlds, np.zeros((1, 3), dtype=int)), nearby_pairs(objects, 8)).first
    )


@pytest.mark.slow
@both_laws
@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_what_moves_is_forecast_far_better_than_by_copying(trained, law, dynamics):
    worlds = Worlds.empty(1, 2)
    worlds.shape[:], worlds.active[:] = (1, 2), True
    worlds.position[0], worlds.velocity[0] = [[-2.0, -1.0], [0.3, -0.15]], [[0.035, 0.012], [0.0, 0.0]]
    poses = [worlds.poses[0].copy()]
    for _ in range(21):
        advance(worlds, 6, CONSTANTS)
        poses.append(worlds.poses[0].copy())
    ids = np.broadcast_to(np.array([SPHERE, CYLINDER], dtype=np.uint8), (22, 2))
    masks = torch.from_numpy(draw_masks(ids, np.stack(poses), ids > 0, height=160, width=240))[None]
    system = SYSTEMS[law](CONSTANTS, trained(law)[0], dynamics=dynamics, settings=FilterSettings(members=12))
    answer = system.predict(masks[:, :11])
    assert jaccard(answer, masks[:, 21]) > jaccard(masks[:, 10], masks[:, 21]) + 0.2
    assert torch.equal(answer, system.predict(masks[:, :11]))


def test_an_unknown_choice_of_dynamics_is_refused():
    with pytest.raises(ValueError, match=r"unknown dynamics 'physics'; choose from \['both', 'learned'\]"):
        LearnedObjectDynamics(CONSTANTS, build_model("interaction_network"), dynamics="physics")


@both_laws
def test_a_single_trajectory_is_too_few_to_learn_from(tmp_path, law):
    with pytest.raises(ValueError, match="1 trajectories; a law of motion needs at least 2"):
        recipe(law, trajectories(1)).train(tmp_path / "run")


def collision(count):
    """The worlds of spheres that hit cylinders after 13 frames, and their class ids."""
    worlds = Worlds.empty(count, 2)
    worlds.shape[:], worlds.active[:] = (1, 2), True
    worlds.position[:] = [[-1.2, 0.05], [0.0, 0.0]]
    worlds.velocity[:] = [[0.06, 0.0], [0.0, 0.0]]
    return worlds, np.tile([SPHERE, CYLINDER], (count, 1))


@pytest.mark.slow
def test_trained_tokens_scatter_after_a_collision_and_not_before(trained):
    worlds, ids = collision(32)
    rng = np.random.default_rng(0)
    spreads = []
    for _ in range(10):
        advance_with_tokens(
            worlds, STEP_FRAMES, trained("object_tokens")[0], ids, noise=lambda _: rng.normal(size=(32, 2, 4))
        )
        spreads.append(worlds.position[:, 1].std(axis=0).max())
    assert spreads[0] < 1e-3 < spreads[-1]


def test_a_clip_has_the_same_futures_in_any_batch():
    network = build_model("object_tokens")
    system = TokenObjectDynamics(CONSTANTS, network, settings=FilterSettings(members=4))
    masks = torch.zeros(2, 11, 160, 240, dtype=torch.uint8)
    for clip, start in enumerate((-0.8, -0.4)):
        for frame in range(11):
            poses = np.array([[[start + 0.03 * frame, 0.2, 0.0], [0.6, 0.1, 0.0]]])
            ids = np.array([[SPHERE, CYLINDER]], dtype=np.uint8)
            masks[clip, frame] = torch.from_numpy(draw_masks(ids, poses, ids > 0, height=160, width=240)[0])
    assert torch.equal(system.predict(masks)[1:], system.predict(masks[1:]))


def test_frames_that_are_no_whole_number_of_steps_are_refused():
    worlds, ids = collision(1)
    with pytest.raises(ValueError, match="4 frames are no whole number of steps of 3 frames"):
        advance_with_tokens(worlds, 4, build_model("object_tokens"), ids)
