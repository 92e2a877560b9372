"""Proves that the physics constants are found again in masks alone, that few videos move them little, and what a run
says of its fit.
"""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from tests.helpers import fill_cache, moving_square
from vidseg_utils.classes import shape_code
from vidseg_utils.data import generate, write_video
from vidseg_utils.systems import Workspace
from vidseg_utils.systems.object_dynamics import LearnedObjectDynamics
from vidseg_utils.systems.object_dynamics.perception.outlines import measure_poses
from vidseg_utils.systems.object_dynamics.perception.tracks import Tracks, build_tracks
from vidseg_utils.systems.object_dynamics.physics import fitting
from vidseg_utils.systems.object_dynamics.physics.annotated_states import tracks_from_trajectory
from vidseg_utils.systems.object_dynamics.physics.bounce_law import (
    Contacts,
    fit_bounce_law,
    fit_mass_spread,
)
from vidseg_utils.systems.object_dynamics.physics.constants import PAIR_NAMES, PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.fitting import fit_constants
from vidseg_utils.systems.object_dynamics.physics.least_squares import fit_windows
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.systems.object_dynamics.physics.track_windows import Windows, find_collisions, find_glides
from vidseg_utils.systems.object_dynamics.physics.window_rollout import (
    start_unknowns,
    unknown_bounds,
    unknown_steps,
    window_residuals,
)
from vidseg_utils.systems.object_dynamics.training import fit_to_videos, train_physics
from vidseg_utils.task import CLIP_FRAMES, FRAME_STEP
from vidseg_utils.world import EXACT_LABELS, LABELS, Trajectory, draw_masks, read_annotation

SHIPPED = PhysicsConstants()
TRUTH = PhysicsConstants(
    sliding_friction=3e-4,
    quadratic_drag=0.03,
    **dict.fromkeys(PAIR_NAMES, 0.4),
    restitution_start_speed=0.01,
    restitution_full_speed=0.05,
    start_speed=0.075,
)
CUBE, SPHERE, CYLINDER = 1, 17, 33  # class ids
VIDEO_FRAMES = 127  # enough for 22 frames of a clip


def play(number: int) -> Trajectory:
    """Video `number` of the world TRUTH: one object hits another one, and a third one glides by."""
    rng = np.random.default_rng(number)
    first, second = rng.choice([CUBE, SPHERE, CYLINDER], 2)
    ids = np.array([first, second + 1, CYLINDER + 2], dtype=np.uint8)
    world = Worlds.empty(1, 3)
    world.shape[0], world.active[:] = shape_code(ids), True
    world.position[0] = [[-1.8, rng.uniform(-0.15, 0.15)], [rng.uniform(-0.9, 0.9), 0.0], [-2.0, -1.3]]
    world.velocity[0, 0] = [rng.normal(TRUTH.start_speed, 0.002), 0.0]
    world.velocity[0, 2] = [TRUTH.start_speed, 0.0]
    world.yaw[0] = rng.uniform(-0.7, 0.7, 3) * (world.shape[0] == shape_code(np.uint8(CUBE)))
    world.mass[0] = np.exp(rng.normal(0, 0.2, 3))
    states = []
    for _ in range(VIDEO_FRAMES):
        states.append((world.position[0].copy(), world.yaw[0].copy()))
        advance(world, 1, TRUTH)
    position, yaw = (np.stack(column) for column in zip(*states, strict=True))
    rotations = np.zeros((*yaw.shape, 3, 3))
    rotations[..., 0, 0] = rotations[..., 1, 1] = np.cos(yaw)
    rotations[..., 1, 0], rotations[..., 0, 1], rotations[..., 2, 2] = np.sin(yaw), -np.sin(yaw), 1.0
    positions = np.concatenate([position, np.full((*yaw.shape, 1), 0.2)], axis=-1)
    return Trajectory(ids, positions, rotations, 0 * positions, 0 * positions, np.ones(yaw.shape, dtype=bool))


def draw(trajectory: Trajectory) -> np.ndarray:
    """Its masks (22, 160, 240)."""
    tracks = tracks_from_trajectory(trajectory)
    ids = np.repeat(tracks.class_id, CLIP_FRAMES, axis=0)
    return draw_masks(ids, tracks.pose[0], ids > 0, height=160, width=240)


def measure(masks: np.ndarray) -> Tracks:
    return build_tracks(measure_poses(masks), clips=len(masks), frames=CLIP_FRAMES)


@pytest.fixture(scope="module")
def videos():
    return [play(number) for number in range(24)]


@pytest.fixture(scope="module")
def masks(videos):
    return np.stack([draw(video) for video in videos])


@pytest.fixture(scope="module")
def from_masks(masks):
    return fit_constants([measure(masks)], progress=False)


@pytest.fixture(scope="module")
def from_annotations(videos):
    return fit_constants(map(tracks_from_trajectory, videos), progress=False)


@pytest.mark.parametrize("source", ["from_masks", "from_annotations"])
def test_constants_are_found_again(source, request):
    found = request.getfixturevalue(source)
    assert found.sliding_friction == pytest.approx(TRUTH.sliding_friction, rel=0.15)
    assert found.start_speed == pytest.approx(TRUTH.start_speed, rel=0.02)
    assert found.mass_spread == pytest.approx(0.2, abs=0.06)
    assert found.restitution_spread < 0.7 * SHIPPED.restitution_spread  # nothing scatters here
    speed = 0.05  # at which most objects of these videos meet
    for constants, tolerance in ((TRUTH, 1e-9), (found, 0.06)):
        share = (speed - constants.restitution_start_speed) / (
            constants.restitution_full_speed - constants.restitution_start_speed
        )
        mean = np.mean([getattr(constants, name) for name in PAIR_NAMES]) * min(share, 1)
        assert mean == pytest.approx(0.4, abs=tolerance)


def test_masks_and_annotations_give_the_same_forecasts(videos, from_masks, from_annotations):
    ends = []
    for constants in (from_masks, from_annotations, SHIPPED, TRUTH):
        worlds = Worlds.empty(len(videos), 3)
        for number, video in enumerate(videos):
            worlds.shape[number], worlds.active[number] = shape_code(video.class_ids), True
            worlds.position[number] = video.positions[0, :, :2]
            worlds.velocity[number] = video.positions[1, :, :2] - video.positions[0, :, :2]
            worlds.yaw[number] = np.arctan2(video.rotations[0, :, 1, 0], video.rotations[0, :, 0, 0])
        advance(worlds, 60, constants)
        ends.append(worlds.position)
    masks, annotations, shipped, truth = (np.linalg.norm(end - ends[-1], axis=-1).mean() for end in ends)
    assert truth == 0
    assert max(masks, annotations) < 0.4 * shipped
    assert abs(masks - annotations) < 0.1 * shipped


def test_one_video_moves_the_shipped_constants_little(masks):
    found = fit_constants([measure(masks[:1])], progress=False)
    widths = {**fitting.GLIDING, **fitting.CONTACT, **dict.fromkeys(PAIR_NAMES, 0.36)}
    for name, width in widths.items():
        change = np.log(getattr(found, name) / getattr(SHIPPED, name))
        assert abs(change) < 2.5 * width, name
    assert found.mass_spread == pytest.approx(SHIPPED.mass_spread, rel=0.2)
    assert found.start_angle_spread == pytest.approx(SHIPPED.start_angle_spread)  # nothing enters


def test_a_glide_and_a_collision_are_found_and_neighbours_end_them(videos):
    tracks = tracks_from_trajectory(videos[0])
    glides, collisions = find_glides(tracks), find_collisions(tracks)
    assert len(collisions) == 1 and len(glides) >= 2
    near = replace(tracks, pose=tracks.pose.copy())
    near.pose[:, :, 2] = near.pose[:, :, 0] + [0.0, 0.42, 0.0]  # the third object stays beside the first one
    assert len(find_collisions(near)) == 0


def test_windows_that_do_not_fit_lose_their_weight():
    """Each window measures a constant plus its own unknown three times; a tenth of them measures something else."""
    rng = np.random.default_rng(0)
    own = rng.normal(size=100)
    measured = 0.05 + own[:, None] * [0.0, 1.0, -1.0] + 1e-4 * rng.normal(size=(100, 3))
    measured[:10] += 1.0

    def residuals(constants, unknowns):
        return (constants.radius + unknowns * [0.0, 1.0, -1.0] - measured) / 1e-4

    fit = fit_windows(
        residuals,
        SHIPPED,
        np.zeros((100, 1)),
        steps=np.array([0.01]),
        bounds=(np.array([-9.0]), np.array([9.0])),
        prior={"radius": (0.2, 10.0)},
        tolerance=np.full(100, 12.0),
        max_iterations=30,
    )
    assert fit.constants.radius == pytest.approx(0.05, abs=1e-4)
    assert fit.weight[:10].max() < 1e-3 < 0.2 < np.median(fit.weight[10:])
    np.testing.assert_allclose(fit.unknowns[10:, 0], own[10:], atol=1e-3)
    np.testing.assert_allclose(fit.covariance[:, 0, 0], 1e-8 / 2, rtol=1e-3)


def contacts(count: int, *, scatter: float) -> Contacts:
    """Collisions of the world TRUTH with that scatter, measured with an error of 0.03."""
    rng = np.random.default_rng(1)
    approach = rng.uniform(0.005, 0.1, count)
    share = (approach - TRUTH.restitution_start_speed) / (TRUTH.restitution_full_speed - TRUTH.restitution_start_speed)
    restitution = 0.4 * np.clip(share, 0, 1) + rng.normal(0, scatter, count) + rng.normal(0, 0.03, count)
    return Contacts(
        shapes=rng.integers(0, 3, (count, 2)),
        approach=approach,
        restitution=restitution,
        restitution_sigma=np.full(count, 0.03),
        log_mass_ratio=rng.normal(0, 0.1 * 2**0.5, count) + rng.normal(0, 0.02, count),
        log_mass_sigma=np.full(count, 0.02),
        weight=np.ones(count),
    )


def test_the_law_of_the_bounce_and_the_spreads_are_found_again():
    measured = contacts(400, scatter=0.1)
    law = fit_bounce_law(measured)
    assert np.mean([law[name] for name in PAIR_NAMES]) == pytest.approx(0.4, abs=0.04)
    assert law["restitution_start_speed"] == pytest.approx(TRUTH.restitution_start_speed, abs=0.004)
    assert law["restitution_full_speed"] == pytest.approx(TRUTH.restitution_full_speed, abs=0.008)
    assert law["restitution_spread"] == pytest.approx(0.1, abs=0.015)
    assert fit_mass_spread(measured) == pytest.approx(0.1, abs=0.015)


def test_without_collisions_the_shipped_law_stays():
    law = fit_bounce_law(contacts(0, scatter=0.1))
    for name, value in law.items():
        assert value == pytest.approx(getattr(SHIPPED, name), rel=1e-3)


@pytest.fixture
def course(tmp_path, masks):
    """A workspace of profile smoke on data with frames and masks and nothing else, as the course's are."""
    frames = np.zeros((CLIP_FRAMES, 3, 160, 240), dtype=np.uint8)
    fill_cache(tmp_path, "train", [(n, frames, masks[n]) for n in range(3)])
    return Workspace.for_profile("smoke", root=tmp_path, runs=tmp_path / "runs", device="cpu")


def test_masks_are_enough_and_the_run_says_to_what_it_was_fitted(course):
    constants = train_physics(course, progress=False)
    config = json.loads((course.run_folder("rigid_body_physics") / "config.json").read_text())
    assert (config["fitted_to"], config["fitted_videos"]) == ("masks", 3)
    assert asdict(constants) != asdict(SHIPPED)
    assert constants.label_offset == EXACT_LABELS  # black frames do not show where the objects are
    assert train_physics(course, progress=False) == constants  # as it is


def test_annotations_are_used_where_there_are_any(tmp_path, videos, masks):
    frames = np.zeros((CLIP_FRAMES, 3, 160, 240), dtype=np.uint8)
    for n in range(2):
        write_video(tmp_path / "train" / f"video_{n}", frames, masks[n], annotation=videos[n] if n else None)
    here = Workspace.for_profile("smoke", root=tmp_path, runs=tmp_path / "runs", device="cpu")
    constants, source, count = fit_to_videos(here, progress=False)
    assert (source, count) == ("annotations", 1)
    read = read_annotation(tmp_path / "train" / "video_1" / "annotation.json")
    assert constants == fit_constants([tracks_from_trajectory(read)], progress=False)


@pytest.mark.parametrize("labels", list(LABELS))
def test_the_label_offset_is_measured_in_frames_and_masks_also_beside_annotations(tmp_path, labels):
    generate(tmp_path, train=4, val=0, unlabeled=0, hidden=0, seed=0, labels=labels, store="cache", progress=False)
    here = Workspace.for_profile("smoke", root=tmp_path, runs=tmp_path / "runs", device="cpu")
    constants, source, _ = fit_to_videos(here, progress=False)
    assert source == "annotations"
    if labels == "exact":
        assert constants.label_offset == EXACT_LABELS
    for name, value in asdict(LABELS[labels]).items():
        assert getattr(constants.label_offset, name) == pytest.approx(value, abs=0.12), name


def test_the_learned_network_still_needs_annotations(course):
    with pytest.raises(ValueError, match=r"have no annotation\.json, to which learned .*or train object_dynamics"):
        LearnedObjectDynamics.train(course)
    assert not course.run_folder("unet").exists()


def test_labels_without_motion_or_without_objects_are_one_line(tmp_path):
    number, frames, still = moving_square(0)
    fill_cache(tmp_path, "train", [(number, frames, np.repeat(still[:1], CLIP_FRAMES, axis=0))])
    here = Workspace.for_profile("smoke", root=tmp_path, runs=tmp_path / "runs", device="cpu")
    with pytest.raises(ValueError, match=r"no object glides alone for 4 frames .*; take more videos$"):
        train_physics(here, progress=False)
    fill_cache(tmp_path / "empty", "train", [(0, frames, np.zeros_like(still))])
    here = replace(here, root=tmp_path / "empty", runs=tmp_path / "others")
    with pytest.raises(ValueError, match="the masks hold no object in any of its 1 videos"):
        train_physics(here, progress=False)


def test_an_uninformed_collision_does_not_count(masks):
    """Two objects that only pass each other say nothing of a bounce."""
    windows = find_collisions(measure(masks[:4]))
    residuals, numbers = window_residuals(windows, floor=fitting.COLLISION_FLOOR)
    unknowns = start_unknowns(windows)
    unknowns[:, 1] += 50.0  # the first object is far away
    fit = fit_windows(
        residuals,
        SHIPPED,
        unknowns,
        steps=unknown_steps(2),
        bounds=unknown_bounds(2),
        prior={},
        tolerance=1e9 * numbers,
        max_iterations=1,
    )
    contacts = fitting.measure_contacts(windows, fit, numbers)
    assert (contacts.weight == 0).all()
    assert contacts.restitution_sigma.min() > 10


@pytest.mark.real_data
def test_three_real_videos_move_the_constants_within_their_prior(tmp_path, real_sample):
    for number, path in enumerate(sorted(real_sample.glob("*/*/mask.npy"))):
        shutil.copytree(path.parent, tmp_path / "train" / f"video_{number}")
    here = Workspace.for_profile("cpu_full", root=tmp_path, runs=tmp_path / "runs", device="cpu")
    found = train_physics(here, progress=False)
    assert found.label_shift_x == pytest.approx(-0.42, abs=0.15)
    assert found.label_shift_y == pytest.approx(-0.45, abs=0.15)
    for name, width in {**fitting.GLIDING, **fitting.CONTACT, **dict.fromkeys(PAIR_NAMES, 0.36)}.items():
        assert abs(np.log(getattr(found, name) / getattr(SHIPPED, name))) < 2.5 * width, name


def test_the_start_angle_of_an_object_does_not_depend_on_when_it_comes_into_view():
    worlds = Worlds.empty(1, 1)
    worlds.active[:], worlds.position[:] = True, [6.0, 0.0]
    worlds.velocity[:] = SHIPPED.start_speed * np.array([-np.cos(0.15), np.sin(0.15)])
    seen, found = [], []
    for frame in (4, 8):
        advance(worlds, 4 * FRAME_STEP, SHIPPED)
        position, velocity = worlds.position[0], worlds.velocity[0]
        cross = position[:, 0] * velocity[:, 1] - position[:, 1] * velocity[:, 0]
        seen.append(np.arctan2(cross, -(position * velocity).sum(-1))[0])
        window = Windows(
            worlds.shape, np.array([frame]), np.array([True]), np.zeros((1, 1, 1, 3)), np.zeros((1, 1, 1, 3, 3))
        )
        found.append(fitting._start_angles(window, position, velocity, SHIPPED)[0])
    assert 1.3 * 0.15 < abs(seen[0]) < abs(seen[1]) / 1.3  # the nearer it comes, the further past the origin it points
    assert np.abs(found) == pytest.approx(0.15, rel=0.05)
