"""Proves that object dynamics measures true states in masks, moves them as rigid bodies, and beats copy-last."""

import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from vidseg_utils.classes import N_CLASSES, shape_code
from vidseg_utils.data import nearest_scale
from vidseg_utils.metrics import choose_classes, jaccard
from vidseg_utils.renderer.masks import cast_masks
from vidseg_utils.systems.object_dynamics import ObjectDynamics
from vidseg_utils.systems.object_dynamics.decision import decide_mask
from vidseg_utils.systems.object_dynamics.filter import FilterSettings
from vidseg_utils.systems.object_dynamics.perception.outlines import measure_poses
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.systems.object_dynamics.system import label_pixels
from vidseg_utils.world.label_offset import EXACT_LABELS
from vidseg_utils.world.mask_drawing import draw_masks
from vidseg_utils.world.solids import VERTICAL_INERTIA

CUBE, SPHERE, CYLINDER = 1, 17, 33  # class ids
CONSTANTS = PhysicsConstants()
FRICTIONLESS = PhysicsConstants(*(0.0,) * 6, 0.2, 0.2, 0.0, *(1.0,) * 6, 0.0, 1e-7)  # and all collisions elastic


def worlds(class_ids, positions, velocities, yaws=None):
    """One world."""
    made = Worlds.empty(1, len(class_ids))
    made.shape[0] = shape_code(np.array(class_ids))
    made.active[:] = True
    made.position[0], made.velocity[0] = positions, velocities
    made.yaw[0] = 0.0 if yaws is None else yaws
    return made


def play(class_ids, positions, velocities, yaws=None, constants=CONSTANTS, height=160):
    """The masks (22, H, W) and poses of one world that moves by the fitted physics."""
    world = worlds(class_ids, positions, velocities, yaws)
    poses = [world.poses[0].copy()]
    for _ in range(21):
        advance(world, 6, constants)
        poses.append(world.poses[0].copy())
    ids = np.broadcast_to(np.array(class_ids, dtype=np.uint8), (22, len(class_ids)))
    return draw_masks(ids, np.stack(poses), ids > 0, height=height, width=height * 3 // 2), np.stack(poses)


def system(members=12):
    return ObjectDynamics(CONSTANTS, settings=FilterSettings(members=members))


@pytest.mark.parametrize(("height", "tolerance"), [(160, 0.02), (80, 0.06)])
def test_positions_and_yaws_are_measured_on_outlines(height, tolerance):
    ids = np.array([[CUBE, SPHERE, CYLINDER]], dtype=np.uint8)
    poses = np.array([[[-1.0, 1.0, 0.3], [0.3, -0.8, 0.0], [1.2, 0.6, 0.0]]])
    masks = draw_masks(ids, poses, ids > 0, height=height, width=height * 3 // 2)
    seen = measure_poses(masks[:, None])
    assert seen.class_id.tolist() == [CUBE, SPHERE, CYLINDER]
    assert np.abs(seen.pose[:, :2] - poses[0, :, :2]).max() < tolerance
    assert abs(seen.pose[0, 2] - 0.3) < 5 * tolerance


def test_silhouettes_have_the_size_that_the_ray_caster_draws():
    """The ray caster's cubes are bevelled: measured as larger ones, their yaw would be off by up to six degrees."""
    yaws, ground_xy = (
        np.array([-0.5, -0.25, 0.2, 0.45]),
        np.array([[-1.0, 1.0], [0.0, -1.2], [0.5, 0.8], [1.0, -0.3]]),
    )
    positions = np.column_stack([ground_xy, np.full(4, 0.2)])[:, None]  # (4, 1, 3)
    turns = np.zeros((4, 1, 3, 3))
    turns[:, 0, 0, 0] = turns[:, 0, 1, 1] = np.cos(yaws)
    turns[:, 0, 1, 0], turns[:, 0, 0, 1], turns[:, 0, 2, 2] = np.sin(yaws), -np.sin(yaws), 1.0
    seen = measure_poses(cast_masks(np.array([CUBE]), positions, turns)[:, None])
    np.testing.assert_allclose(seen.pose[:, :2], ground_xy, atol=0.006)
    np.testing.assert_allclose(seen.pose[:, 2], yaws, atol=0.025)
    assert seen.residual.max() < 0.35


def test_a_half_hidden_object_is_fitted_to_the_half_that_shows():
    ids = np.array([[CYLINDER, SPHERE]], dtype=np.uint8)
    poses = np.array([[[0.0, 0.0, 0.0], [0.5, 0.12, 0.0]]])
    masks = draw_masks(ids, poses, ids > 0, height=160, width=240)
    alone = draw_masks(ids, poses, ids == CYLINDER, height=160, width=240)
    assert (masks == CYLINDER).sum() < 0.8 * (alone == CYLINDER).sum()
    seen = measure_poses(masks[:, None])
    assert np.abs(seen.pose[seen.class_id == CYLINDER, :2]).max() < 0.04


def test_an_object_cut_by_the_edge_of_the_image_is_still_measured():
    ids = np.array([[SPHERE]], dtype=np.uint8)
    poses = np.array([[[0.0, 2.2, 0.0]]])
    masks = draw_masks(ids, poses, ids > 0, height=160, width=240)
    assert (masks[:, :, -1] == SPHERE).any()
    assert np.abs(measure_poses(masks[:, None]).pose[0, :2] - poses[0, 0, :2]).max() < 0.06


def test_the_possible_worlds_give_probabilities(monkeypatch):
    masks, _ = play([SPHERE, CYLINDER], [[0.0, -1.0], [1.5, 1.0]], [[0.0, 0.012], [0.0, 0.0]])
    forecaster = system()
    monkeypatch.setattr(forecaster, "segment", lambda frames: torch.from_numpy(masks[None, :11]))
    probabilities = forecaster.predict_probabilities(torch.zeros(1, 11, 3, 160, 240))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(1, 160, 240))
    still, moving = (probabilities[0, class_id].max() for class_id in (CYLINDER, SPHERE))
    assert still == 1.0 and 0.9 < moving <= 1.0
    assert (probabilities[0, SPHERE] > 0).sum() > (masks[-1] == SPHERE).sum()  # where it will be is uncertain
    chosen = choose_classes(probabilities, score=0.6)
    assert jaccard(chosen, torch.from_numpy(masks[-1:])) > 0.8


def test_without_friction_an_object_keeps_its_velocity():
    world = worlds([CYLINDER], [[0.0, 0.0]], [[0.03, -0.02]])
    advance(world, 10, FRICTIONLESS)
    np.testing.assert_allclose(world.position[0, 0], [0.3, -0.2], atol=1e-9)


def test_a_full_hit_between_equals_hands_the_velocity_on():
    world = worlds([SPHERE, CYLINDER], [[0.0, 0.0], [1.0, 0.0]], [[0.05, 0.0], [0.0, 0.0]])
    advance(world, 24, FRICTIONLESS)
    np.testing.assert_allclose(world.velocity[0], [[0.0, 0.0], [0.05, 0.0]], atol=1e-9)
    # 0.6 units to the touch take 12 frames, and 12 are left
    np.testing.assert_allclose(world.position[0], [[0.6, 0.0], [1.6, 0.0]], atol=1e-9)


@pytest.mark.parametrize(("speed", "restitution"), [(0.01, 0.0), (0.04, 0.3), (0.09, 0.6)])
def test_restitution_rises_with_the_speed_of_approach(speed, restitution):
    speeds = {"restitution_start_speed": 0.02, "restitution_full_speed": 0.06}
    law = replace(FRICTIONLESS, restitution_sphere_sphere=0.6, **speeds)
    world = worlds([SPHERE, SPHERE + 1], [[0.0, 0.0], [0.5, 0.0]], [[speed, 0.0], [0.0, 0.0]])
    advance(world, 20, law)
    assert world.velocity[0, 1, 0] - world.velocity[0, 0, 0] == pytest.approx(restitution * speed, abs=1e-9)


def test_a_drawn_bounce_adds_to_the_law_of_its_pair_only():
    law = replace(FRICTIONLESS, restitution_sphere_sphere=0.6)
    pairs = [worlds([SPHERE, SPHERE + 1], [[0.0, 0.0], [0.5, 0.0]], [[0.08, 0.0], [0.0, 0.0]]) for _ in range(2)]
    pairs[0].bounce[0, 0, 1] = pairs[0].bounce[0, 1, 0] = -0.25
    pairs[1].bounce[0, 0, 0] = pairs[1].bounce[0, 1, 1] = -0.25  # an object meets no copy of itself
    for pair in pairs:
        advance(pair, 20, law)
    parting = [(pair.velocity[0, 1, 0] - pair.velocity[0, 0, 0]) / 0.08 for pair in pairs]
    assert parting == pytest.approx([0.35, 0.6], abs=1e-9)


def test_masses_keep_momentum_and_energy():
    world = worlds([CUBE, CYLINDER], [[0.0, 0.0], [0.9, 0.25]], [[0.05, 0.0], [-0.01, 0.0]], [0.4, 0.0])
    world.mass[0] = 0.75, 1.3

    def totals(world):
        mass, inertia = world.mass[0], world.mass[0] * VERTICAL_INERTIA[world.shape[0]]
        (x_speed, y_speed), spin = world.velocity[0].T, world.spin[0]
        return mass @ x_speed, mass @ y_speed, mass @ (x_speed**2 + y_speed**2) + inertia @ spin**2

    before = totals(world)
    advance(world, 30, replace(FRICTIONLESS, contact_friction=0.0))
    assert np.abs(world.spin).max() > 1e-3
    assert totals(world) == pytest.approx(before, rel=1e-9, abs=1e-12)


def test_a_light_object_bounces_off_a_heavy_one():
    world = worlds([SPHERE, SPHERE + 1], [[0.0, 0.0], [1.0, 0.0]], [[0.05, 0.0], [0.0, 0.0]])
    world.mass[0] = 0.5, 1.5
    advance(world, 24, FRICTIONLESS)
    np.testing.assert_allclose(world.velocity[0], [[-0.025, 0.0], [0.025, 0.0]], atol=1e-9)
    np.testing.assert_allclose(world.position[0], [[0.3, 0.0], [1.3, 0.0]], atol=1e-9)  # 12 frames are left


@pytest.mark.parametrize(("first", "offset"), [(CUBE, 0.0), (SPHERE, 0.0), (SPHERE, 0.15)])
def test_objects_that_meet_slowly_stay_in_contact_without_jitter(first, offset):
    law = replace(CONSTANTS, sliding_friction=0.0, rolling_friction=0.0, linear_drag=0.0, quadratic_drag=0.0)
    world = worlds([first, CYLINDER], [[0.0, 0.0], [0.42, offset]], [[0.015, 0.0], [0.0, 0.0]])
    distances, closing = [], []
    for _ in range(60):
        advance(world, 1, law)
        between, relative = world.position[0, 1] - world.position[0, 0], world.velocity[0, 1] - world.velocity[0, 0]
        distances.append(np.linalg.norm(between))
        closing.append(-(relative @ between) / distances[-1])
    assert world.velocity[0, :, 0].sum() == pytest.approx(0.015, abs=1e-9)  # momentum
    assert min(distances) > law.radius + (law.half_side if first == CUBE else law.radius) - 0.006
    after = np.array(closing[10:])
    assert after.max() < 1e-6 and np.abs(np.diff(after)).max() < 1e-4  # they slide apart smoothly, if they do
    assert offset or np.abs(after).max() < 1e-9


def test_a_collision_of_cubes_keeps_momentum_and_energy_and_turns_them():
    world = worlds([CUBE, CUBE], [[0.0, 0.0], [0.9, 0.25]], [[0.05, 0.0], [0.0, 0.0]], [0.4, 0.1])
    advance(world, 20, FRICTIONLESS)
    np.testing.assert_allclose(world.velocity[0].sum(axis=0), [0.05, 0.0], atol=1e-9)
    energy = (world.velocity**2).sum() + 2 / 3 * 0.2**2 * (world.spin**2).sum()
    assert energy == pytest.approx(0.05**2, rel=1e-6)
    assert np.abs(world.spin).max() > 1e-3


MOVERS = ([CUBE, SPHERE, CYLINDER], [[-1.5, -1.5], [1.0, 1.5], [-2.0, 1.5]], [[0.03, 0.02], [-0.03, -0.02], [0, 0]])
BOUNCE = ([SPHERE, CYLINDER], [[-2.0, -1.0], [0.3, -0.15]], [[0.035, 0.012], [0.0, 0.0]])


@pytest.mark.parametrize("scene", [MOVERS, BOUNCE], ids=["free motion", "a collision"])
def test_moving_objects_are_forecast_far_better_than_by_copying(scene):
    masks = torch.from_numpy(play(*scene)[0])[None]
    answer = system().predict(masks[:, :11])
    assert jaccard(answer, masks[:, 21]) > max(0.8, jaccard(masks[:, 10], masks[:, 21]) + 0.3)


def test_an_object_that_leaves_the_image_is_gone():
    masks, _ = play([SPHERE, CYLINDER], [[0.0, 0.0], [-1.0, 0.0]], [[0.0, 0.028], [0.0, 0.0]])
    assert (masks[10] == SPHERE).any() and not (masks[21] == SPHERE).any()
    answer = system().predict(torch.from_numpy(masks[None, :11]))
    assert set(answer.unique().tolist()) == {0, CYLINDER}


def test_a_clips_forecast_depends_on_nothing_else_and_is_always_the_same():
    masks = torch.from_numpy(np.stack([play(*BOUNCE)[0][:11], play(*BOUNCE)[0][:11]]))
    masks[1, :, :, :60] = 255  # unknown labels claim nothing
    forecaster = system()
    answer = forecaster.predict(masks)
    assert answer.dtype == torch.uint8 and answer.shape == (2, 160, 240)
    torch.testing.assert_close(answer, forecaster.predict(masks), rtol=0, atol=0)
    torch.testing.assert_close(answer[:1], forecaster.predict(masks[:1]), rtol=0, atol=0)


def test_a_worker_process_would_give_the_same_forecast():
    masks = torch.from_numpy(play(*BOUNCE, height=80)[0][None, :11])
    forecaster = system()
    worker = pickle.loads(pickle.dumps(partial(forecaster._forecast_batch, offset=EXACT_LABELS, assigned=False)))
    np.testing.assert_array_equal(worker(masks.numpy()), forecaster.predict(masks).numpy())


def test_scores_of_small_frames_locate_outlines_between_their_pixels():
    masks = torch.from_numpy(play(*MOVERS)[0][:2])
    shares = functional.one_hot(masks.long(), N_CLASSES).movedim(-1, 1).float()
    logits = functional.avg_pool2d(functional.pad(shares, (0, 1, 0, 1), mode="replicate"), 5, stride=4).add(1e-3).log()
    labels = logits.argmax(dim=1)  # (2, 40, 60)
    fine, object_logits = label_pixels(logits)
    torch.testing.assert_close(object_logits.argmax(dim=1), fine[fine > 0].long())
    np.testing.assert_array_equal(nearest_scale(fine.numpy(), height=40, width=60), labels)
    coarse = labels.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    assert (fine != masks).sum() < 0.5 * (coarse != masks).sum()


def test_frames_of_any_size_get_a_forecast_of_their_size():
    class Grey(torch.nn.Module):
        """Where a frame is bright, there is a cylinder."""

        def forward(self, frames):
            logits = torch.zeros(len(frames), N_CLASSES, *frames.shape[-2:])
            logits[:, CYLINDER] = 9 * (frames[:, 0] - 0.5)
            return logits

    masks = torch.from_numpy(play([CYLINDER], [[0.0, 0.0]], [[0.0, 0.0]], height=80)[0])
    frames = (masks > 0).float()[None, :11, None].expand(-1, -1, 3, -1, -1)
    forecaster = ObjectDynamics(CONSTANTS, segmenter=Grey(), settings=FilterSettings(members=4))
    seen = forecaster.segment(frames)  # finer than the frames
    np.testing.assert_array_equal(nearest_scale(seen.numpy(), height=80, width=120), masks[None, :11])
    answer = forecaster.predict(frames)
    assert answer.shape == (1, 80, 120)
    assert jaccard(answer, masks[21:]) > 0.8
    whole = torch.from_numpy(play([CYLINDER], [[0.0, 0.0]], [[0.0, 0.0]])[0])
    drawn = forecaster.predict(frames, (160, 240))
    blown_up = functional.interpolate(answer[:, None], size=(160, 240), mode="nearest-exact")[:, 0]
    assert jaccard(drawn, whole[21:]) > jaccard(blown_up, whole[21:])


def test_empty_and_unknown_masks_forecast_an_empty_stage():
    assert not system().predict(torch.zeros(1, 11, 40, 60, dtype=torch.long)).any()
    assert not system().predict(torch.full((1, 11, 40, 60), 255)).any()


def test_the_pose_that_most_worlds_share_is_chosen():
    many = Worlds.empty(5, 1)
    many.active[:] = True
    many.position[:, 0] = [[0, 0], [0, 0], [0, 0], [0, 2], [0, -2]]  # two worlds of five disagree with the others
    ids = np.array([[SPHERE]], dtype=np.uint8)
    alone = draw_masks(ids, np.zeros((1, 1, 3)), ids > 0, height=80, width=120)
    np.testing.assert_array_equal(decide_mask(ids, many, height=80, width=120), alone)
    many.position[:, 0, 1] = np.arange(5)  # all disagree
    assert not decide_mask(ids, many, height=80, width=120).any()


def test_an_object_that_takes_another_class_for_one_frame_is_one_object():
    masks, _ = play(*BOUNCE)
    for frame in (4, 10):
        flicker = masks.copy()
        flicker[frame][flicker[frame] == CYLINDER] = CUBE
        answer = system().predict(torch.from_numpy(flicker[None, :11]))
        assert CUBE not in answer
        assert CYLINDER in answer
