"""Proves that the ensemble filter's update is a Kalman update, and that the filter finds the state behind noise."""

import numpy as np
import pytest

from vidseg_utils.systems.object_dynamics.filter import FilterSettings, run_ensemble_filter, update_ensemble
from vidseg_utils.systems.object_dynamics.initial_state import EnsembleNoise
from vidseg_utils.systems.object_dynamics.perception.tracks import Tracks
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.systems.object_dynamics.physics.start_speed import start_speeds
from vidseg_utils.task import FRAME_STEP, PAST_FRAMES
from vidseg_utils.world.solids import CYLINDER, SPHERE

CONSTANTS = PhysicsConstants()


def mean_and_covariance(state):
    """(P, D) and (P, D, D) of ensembles (P, K, D)."""
    mean = state.mean(axis=1)
    deviation = state - mean[:, None]
    return mean, np.einsum("pki,pkj->pij", deviation, deviation) / state.shape[1]


@pytest.mark.parametrize("members", [7, 24, 200])
def test_the_update_gives_the_mean_and_covariance_of_an_exact_kalman_update(members):
    """For a linear measurement, of whatever ensemble: Kalman's formulas of the ensemble's own mean and covariance."""
    rng = np.random.default_rng(members)
    objects, numbers, measured_numbers = 5, 6, 3
    mixing = rng.standard_normal((objects, numbers, numbers))
    prior = rng.standard_normal((objects, 1, numbers)) + rng.standard_normal((objects, members, numbers)) @ mixing
    measured = rng.standard_normal((objects, measured_numbers))
    root = rng.standard_normal((objects, measured_numbers, measured_numbers))
    noise = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(measured_numbers)
    whitening = np.linalg.cholesky(np.linalg.inv(noise)).transpose(0, 2, 1)
    before = prior.copy()

    posterior = update_ensemble(prior, measured, whitening)

    np.testing.assert_array_equal(prior, before)  # the argument is left alone
    mean, covariance = mean_and_covariance(prior)
    observe = np.eye(numbers)[:measured_numbers]
    gain = covariance @ observe.T @ np.linalg.inv(observe @ covariance @ observe.T + noise)
    exact_mean = mean + np.einsum("pij,pj->pi", gain, measured - mean[:, :measured_numbers])
    exact_covariance = (np.eye(numbers) - gain @ observe) @ covariance
    found_mean, found_covariance = mean_and_covariance(posterior)
    np.testing.assert_allclose(found_mean, exact_mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found_covariance, exact_covariance, rtol=0, atol=1e-9)


def test_a_worthless_measurement_changes_nothing_and_a_perfect_one_decides():
    state = np.random.default_rng(0).standard_normal((1, 24, 6))
    measured = np.array([[3.0, -2.0, 1.0]])
    worthless = update_ensemble(state, measured, 1e-8 * np.eye(3)[None])
    np.testing.assert_allclose(worthless, state, atol=1e-6)
    perfect = update_ensemble(state, measured, 1e8 * np.eye(3)[None])
    np.testing.assert_allclose(perfect[:, :, :3], np.broadcast_to(measured[:, None], (1, 24, 3)), atol=1e-6)


def tracks_of(class_ids, poses, sigma):
    """Tracks of one clip in which every object is measured in every frame with that standard deviation."""
    information = np.broadcast_to(np.eye(3) / sigma**2, (*poses.shape[:2], 3, 3)).copy()
    seen = np.ones(poses.shape[:2], dtype=bool)
    return Tracks(np.array([class_ids], dtype=np.uint8), seen[None], poses[None], information[None])


@pytest.mark.parametrize("shape", [SPHERE, CYLINDER])
def test_the_filter_knows_position_and_velocity_better_than_any_single_frame(shape):
    sigma, trials, errors, speeds = 0.01, 20, [], []
    for trial in range(trials):
        world = Worlds.empty(1, 1)
        world.shape[:], world.active[:] = shape, True
        world.position[0, 0], world.velocity[0, 0] = [-1.0, -1.0], [0.02, 0.03]
        poses = [world.poses[0].copy()]
        for _ in range(PAST_FRAMES - 1):
            advance(world, FRAME_STEP, CONSTANTS)
            poses.append(world.poses[0].copy())
        noise = sigma * np.random.default_rng(trial).standard_normal((PAST_FRAMES, 1, 3)) * [1, 1, 0]
        ensemble = run_ensemble_filter(
            tracks_of([1 + 16 * shape], np.stack(poses) + noise, sigma), CONSTANTS, FilterSettings()
        )
        errors.append(ensemble.position.mean(axis=0) - world.position[0])
        speeds.append(ensemble.velocity.mean(axis=0) - world.velocity[0])
    assert np.sqrt(np.mean(np.square(errors))) < 0.8 * sigma
    assert np.sqrt(np.mean(np.square(speeds))) < 0.3 * sigma / FRAME_STEP


def test_a_push_that_no_physics_explains_is_followed():
    poses = np.zeros((PAST_FRAMES, 1, 3))
    poses[6:, 0, 0] = 0.3 * np.arange(1, PAST_FRAMES - 5)  # it rests, and is then pushed by something unseen
    ensemble = run_ensemble_filter(tracks_of([1 + 16 * CYLINDER], poses, 0.01), CONSTANTS, FilterSettings())
    assert abs(ensemble.position[:, 0, 0].mean() - poses[-1, 0, 0]) < 0.05
    assert ensemble.velocity[:, 0, 0].mean() == pytest.approx(0.3 / FRAME_STEP, rel=0.2)


def test_noise_belongs_to_the_class_and_has_no_mean():
    noise = EnsembleNoise(members=8, seed=3)
    first = noise.normal(4, "process", np.array([[5, 9]]), 2)
    assert first.shape == (1, 8, 2, 2)
    np.testing.assert_allclose(first.mean(axis=1), 0, atol=1e-12)
    swapped = noise.normal(4, "process", np.array([[1, 1], [9, 5]]), 2)
    np.testing.assert_array_equal(swapped[1][:, ::-1], first[0])
    assert not np.array_equal(noise.normal(5, "process", np.array([[5, 9]]), 2), first)


def test_the_noise_of_a_pair_belongs_to_its_classes_in_any_order():
    noise = EnsembleNoise(members=8, seed=3)
    pairs = noise.of_pairs(0, "bounce", np.array([[5, 9, 1]]))
    assert pairs.shape == (1, 8, 3, 3)
    np.testing.assert_allclose(pairs.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_array_equal(pairs, pairs.swapaxes(2, 3))
    batch = noise.of_pairs(0, "bounce", np.array([[2, 3, 0], [1, 5, 9]]))
    np.testing.assert_array_equal(batch[1][:, 1, 2], pairs[0][:, 0, 1])
    np.testing.assert_array_equal(batch[1][:, 0, 2], pairs[0][:, 2, 1])


def test_every_member_has_its_own_masses_and_bounces_and_they_follow_the_class():
    poses = np.zeros((PAST_FRAMES, 2, 3))
    poses[:, 1, 0] = 1.0
    ensemble = run_ensemble_filter(tracks_of([5, 20], poses, 0.01), CONSTANTS, FilterSettings())
    swapped = run_ensemble_filter(tracks_of([20, 5], poses[:, ::-1], 0.01), CONSTANTS, FilterSettings())
    assert np.log(ensemble.mass).std() == pytest.approx(CONSTANTS.mass_spread, rel=0.3)
    assert ensemble.bounce[:, 0, 1].std() == pytest.approx(CONSTANTS.restitution_spread, rel=0.3)
    np.testing.assert_array_equal(ensemble.mass, swapped.mass[:, ::-1])
    np.testing.assert_array_equal(ensemble.bounce, swapped.bounce[:, ::-1, ::-1])


def test_the_nearer_an_entering_object_is_the_less_sure_is_its_direction():
    spreads = []
    for y in (-3.6, -2.5):  # both are just inside the left edge of the image
        poses = np.zeros((PAST_FRAMES, 1, 3))
        poses[:, 0] = (-1.5 if y > -3 else -4.0), y, 0.0
        tracks = tracks_of([20], poses, 0.01)
        tracks.seen[:, :-1] = False
        velocity = run_ensemble_filter(tracks, CONSTANTS, FilterSettings(members=200)).velocity[:, 0]
        towards = -poses[-1, 0, :2]
        angle = np.arctan2(velocity @ [-towards[1], towards[0]], velocity @ towards)
        assert angle.mean() == pytest.approx(0, abs=0.1)
        spreads.append(angle.std())
    assert CONSTANTS.start_angle_spread < spreads[0] < spreads[1]


def test_friction_and_drag_take_from_the_start_speed():
    shape = np.array([SPHERE, CYLINDER])
    speeds = start_speeds(shape, 31, CONSTANTS)[[0, 30]]
    np.testing.assert_array_equal(speeds[0], CONSTANTS.start_speed)
    assert 0 < speeds[1][1] < speeds[1][0] < CONSTANTS.start_speed
