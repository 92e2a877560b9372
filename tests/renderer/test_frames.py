"""Frames: they agree with masks, show light, shadow and noise as CLEVRER's do, and depend on nothing else."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numba import njit

from tests.renderer.trajectories import (
    METAL_CUBE,
    METAL_CYLINDER,
    RUBBER_CUBE,
    RUBBER_SPHERE,
    STANDING_CYLINDER,
    random_trajectory,
    still_trajectory,
)
from vidseg_utils.classes import class_id
from vidseg_utils.data.sources.clevrer_video import decode_video
from vidseg_utils.renderer.frames import render_video
from vidseg_utils.renderer.kernels.rows import filter_row
from vidseg_utils.renderer.masks import cast_masks, render_masks
from vidseg_utils.simulator.physics import simulate_video
from vidseg_utils.task import CLIP_VIDEO_FRAMES
from vidseg_utils.world.camera import project
from vidseg_utils.world.label_offset import COURSE_LABELS
from vidseg_utils.world.trajectory import read_annotation

NO_OBJECTS = still_trajectory([], np.zeros((0, 3)))


@pytest.mark.parametrize("size", [(160, 240), (80, 120), (41, 63)])
def test_frames_agree_with_masks(size):
    trajectory = random_trajectory(2)
    frames, masks = render_video(trajectory, height=size[0], width=size[1])
    empty = render_video(NO_OBJECTS, height=size[0], width=size[1])[0][0]
    assert frames.shape == (12, 3, *size)
    assert frames.dtype == masks.dtype == np.uint8
    assert (masks == render_masks(trajectory, height=size[0], width=size[1])).all()
    changed = abs(frames.astype(int) - empty).max(axis=1) > 25
    assert changed[masks > 0].mean() > 0.9  # all but grey objects on the grey ground
    assert changed[masks == 0].mean() < 0.03  # only outlines and contact shadows


def test_edges_are_blended_in_frames_and_never_in_masks():
    frames, masks = render_video(still_trajectory([RUBBER_SPHERE], [[0.5, 0, 0.2]]))
    assert set(np.unique(masks)) == {0, RUBBER_SPHERE}
    blue = frames[0, 2].astype(float) - frames[0, 0]
    share = blue / np.median(blue[masks[0] > 0])  # 1 inside, 0 on the grey ground
    assert 10 < ((share > 0.25) & (share < 0.75)).sum() < 80  # a ring one pixel wide


def test_objects_cast_shadows_on_the_ground():
    frames, masks = render_video(still_trajectory([class_id("sphere", "rubber", "gray")], [[0, 0, 0.2]]))
    empty = render_video(NO_OBJECTS)[0]
    darker = (empty.astype(int) - frames)[0].mean(axis=0) * (masks[0] == 0)
    assert darker.max() > 15
    assert (darker > 2).sum() > 100
    assert abs((frames.astype(int) - empty)[0, :, :30]).max() <= 1  # and only near them


def test_metal_shines_and_rubber_does_not():
    brightest = {}
    for material in ("metal", "rubber"):
        frames, masks = render_video(still_trajectory([class_id("sphere", material, "blue")], [[0.5, 0.5, 0.2]]))
        brightest[material] = frames[0].min(axis=0)[masks[0] > 0].max()
    assert brightest["metal"] > 180 > 120 > brightest["rubber"]


def test_the_lid_of_a_metal_cylinder_has_two_bright_sectors():
    """Brushed along its radii, this lid is brighter before and behind its middle than to the left and right of it."""
    position, cyan = np.array([0.8, 1.1, 0.2]), class_id("cylinder", "metal", "cyan")
    frame = render_video(still_trajectory([cyan], [position], STANDING_CYLINDER))[0][0]
    around = position + 0.12 * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]) + [0, 0, 0.19]
    column, row = np.floor(project(around)[:, :2]).astype(int).T
    front, back, right, left = frame[1, row, column].astype(int)
    assert min(front, back) > max(right, left) + 10


def test_absent_and_far_objects_are_not_drawn():
    positions = np.array([[np.nan, np.nan, np.nan], [4.4, 0, 0.2], [9.0, 0, 0.2], [-3, 40, 0.2]])
    ids = np.array([RUBBER_SPHERE, METAL_CUBE, METAL_CYLINDER, METAL_CUBE])
    assert not cast_masks(ids, positions[None], np.broadcast_to(np.eye(3), (1, 4, 3, 3))).any()
    frames, masks = render_video(still_trajectory(ids, positions))
    empty, _ = render_video(NO_OBJECTS)
    assert not masks.any()
    assert (frames == empty).all()


@pytest.mark.parametrize("damaged", ["position", "height", "rotation"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_objects_without_a_finite_pose_are_not_drawn(damaged, value):
    poses = still_trajectory([METAL_CUBE, RUBBER_SPHERE, METAL_CYLINDER], [[0.3, y, 0.2] for y in (-1, 0, 1)])
    positions, rotations = poses.positions.copy(), poses.rotations.copy()
    {"position": positions, "height": positions[..., 2], "rotation": rotations[..., 0, 0]}[damaged][:] = value
    frames, masks = render_video(replace(poses, positions=positions, rotations=rotations))
    assert (frames == render_video(NO_OBJECTS)[0]).all() and not masks.any()


def test_a_matrix_that_is_no_rotation_does_no_harm():
    """Its pixels are NaN, which no table has an entry for."""
    frames = render_video(still_trajectory([METAL_CUBE], [[0.3, 0.3, 0.2]], np.zeros((3, 3))))[0]
    assert frames.shape == (1, 3, 160, 240)


def test_of_two_objects_that_are_equally_near_the_first_is_seen():
    """They do not add up, which would leave a black area: the tops of these cubes lie in one plane."""
    positions = [[0.4, -0.05, 0.2], [0.4, 0.05, 0.2]]
    both = render_video(still_trajectory([RUBBER_CUBE, METAL_CUBE], positions))[0][0]
    first = render_video(still_trajectory([RUBBER_CUBE], positions[:1]))[0][0]
    column, row = np.floor(project(np.array([0.4, 0, 0.398]))[:2]).astype(int)
    assert (both[:, row, column] == first[:, row, column]).all()


def test_the_same_seed_gives_the_same_noise_and_none_gives_none():
    trajectory = random_trajectory(4, n_frames=3)
    clean = render_video(trajectory)[0]
    assert (clean == render_video(trajectory)[0]).all()
    noisy = render_video(trajectory, noise_seed=1)[0]
    assert (noisy == render_video(trajectory, noise_seed=1)[0]).all()
    assert (noisy != render_video(trajectory, noise_seed=2)[0]).any()
    assert 0.5 < np.std(noisy.astype(int) - clean) < 2


def test_rendering_leaves_the_cached_ground_unchanged():
    empty = render_video(NO_OBJECTS)[0]
    render_video(still_trajectory([METAL_CUBE], [[0, 0, 0.2]]))
    assert (render_video(NO_OBJECTS)[0] == empty).all()


def test_objects_at_rest_look_the_same_in_every_frame_as_alone():
    trajectory = still_trajectory([METAL_CUBE, RUBBER_SPHERE], [[0.3, 0.3, 0.2], [-1, -1, 0.2]], n_frames=4)
    together, alone = render_video(trajectory)[0], render_video(trajectory.select_frames((0,)))[0]
    assert (together == alone).all()


@pytest.mark.parametrize("n_still", [0, 3])
def test_a_frame_is_the_same_after_other_frames_as_alone(n_still):
    """Only what has changed is drawn again: nothing of an earlier frame may remain, and nothing may be missing."""
    video = random_trajectory(6)
    positions, rotations = video.positions.copy(), video.rotations.copy()
    positions[:, :n_still], rotations[:, :n_still] = positions[:1, :n_still], rotations[:1, :n_still]
    positions[:, :, 2] = 0.2
    video = replace(video, positions=positions, rotations=rotations)
    frames, masks = render_video(video, label_offset=COURSE_LABELS)
    for t in range(len(frames)):
        (frame,), (mask,) = render_video(video.select_frames((t,)), label_offset=COURSE_LABELS)
        assert (frame == frames[t]).all() and (mask == masks[t]).all()


def test_an_object_that_vanishes_leaves_the_empty_ground():
    shown = still_trajectory([METAL_CUBE], [[0.3, 0.3, 0.2]], n_frames=2)
    positions = shown.positions.copy()
    positions[1] = np.nan
    frames, masks = render_video(replace(shown, positions=positions))
    assert (frames[1] == render_video(NO_OBJECTS)[0][0]).all() and not masks[1].any()
    assert (frames[0] == render_video(shown)[0][0]).all()


def test_videos_that_threads_draw_side_by_side_are_the_same_as_alone():
    clips = [simulate_video(5, number).select_frames((0, 60, 126)) for number in range(4)]
    alone = [render_video(clip, label_offset=COURSE_LABELS) for clip in clips]
    with ThreadPoolExecutor(len(clips)) as threads:
        together = list(threads.map(lambda clip: render_video(clip, label_offset=COURSE_LABELS), clips * 2))
    for pictures, expected in zip(together, alone * 2, strict=True):
        for part, expected_part in zip(pictures, expected, strict=True):
            np.testing.assert_array_equal(part, expected_part)


@njit
def filtered(picture):
    """The picture (3, H, W), filtered."""
    out, buffer = np.zeros_like(picture), np.empty(picture.shape[2] + 4, np.int32)
    for number in range(picture.shape[1]):
        filter_row(picture, number, 0, picture.shape[2], buffer, out)
    return out


def test_frames_are_filtered_as_bicubic_scaling_does():
    """A row of one bright pixel becomes the taps, a plain surface keeps its level, and the edge is continued."""
    picture = np.full((3, 9, 9), 64, np.uint8)
    assert (filtered(picture) == 64).all()
    picture[:, :, 4] = 128
    assert filtered(picture)[0, 4].tolist() == [64, 64, 61, 71, 120, 71, 61, 64, 64]
    assert filtered(picture.swapaxes(1, 2).copy())[0, :, 0].tolist() == [64, 64, 61, 71, 120, 71, 61, 64, 64]
    picture[:, :, 0] = 128
    assert filtered(picture)[0, 0, :3].tolist() == [124, 68, 58]


@pytest.mark.real_data
@pytest.mark.parametrize("number", ["00000", "10000"])
def test_frames_come_within_41_dB_of_the_real_ones(real_sample, number):
    folder = real_sample.parent / "clevrer"
    real = decode_video(folder / f"video_{number}.mp4")[::4].astype(float)
    trajectory = read_annotation(folder / f"annotation_{number}.json").select_frames(CLIP_VIDEO_FRAMES[::4])
    frames, masks = render_video(trajectory)
    errors = ((frames - real) ** 2).mean(axis=1)
    decibel = 10 * np.log10(255**2 / errors.mean(axis=(1, 2)))
    assert decibel.mean() > 41
    assert decibel.min() > 39
    assert 10 * np.log10(255**2 / errors[masks > 0].mean()) > 31
