"""Proves that labels with an offset against the exact masks are read without bias, and drawn as they lie."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from vidseg_utils.classes import N_CLASSES, shape_code
from vidseg_utils.data import nearest_scale
from vidseg_utils.metrics import jaccard
from vidseg_utils.systems.object_dynamics import ObjectDynamics
from vidseg_utils.systems.object_dynamics.perception.outlines import measure_poses
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.world.label_offset import COURSE_LABELS, EXACT_LABELS, LabelOffset
from vidseg_utils.world.mask_drawing import draw_masks

IDS = np.array([1, 18, 35], dtype=np.uint8)  # a cube, a sphere and a cylinder
CONSTANTS = PhysicsConstants()
COURSE_CONSTANTS = replace(
    CONSTANTS, label_shift_x=COURSE_LABELS.x, label_shift_y=COURSE_LABELS.y, label_fatness=COURSE_LABELS.fatness
)
SIZE = {"height": 160, "width": 240}


def scattered_poses(count, seed=0):
    """(M, 3, 3): poses of three objects that do not touch."""
    rng = np.random.default_rng(seed)
    middle = np.array([[-1.2, -1.0, 0.0], [0.3, 1.3, 0.0], [1.0, -0.8, 0.0]])
    return middle + rng.uniform(-1, 1, (count, 3, 3)) * [0.4, 0.4, 0.7]


def drawn(poses, offset):
    ids = np.broadcast_to(IDS, poses.shape[:2])
    return draw_masks(ids, poses, ids > 0, **SIZE, offset=offset)


def test_a_shift_by_whole_pixels_moves_the_mask():
    poses = scattered_poses(4)
    exact = drawn(poses, EXACT_LABELS)
    np.testing.assert_array_equal(drawn(poses, LabelOffset(x=2.0, y=-1.0)), np.roll(exact, (-1, 2), axis=(1, 2)))


def test_fat_labels_contain_the_exact_ones_and_more_by_their_rim():
    poses = scattered_poses(20)
    exact, fat = drawn(poses, EXACT_LABELS), drawn(poses, LabelOffset(fatness=0.5))
    np.testing.assert_array_equal(fat[exact > 0], exact[exact > 0])
    edges = sum(((exact > 0) != np.roll(exact > 0, 1, axis)).sum() for axis in (1, 2))
    rim = edges * np.pi / 4  # an outline of a length crosses 4 / pi as many edges of pixels, over all directions
    assert (fat > 0).sum() - (exact > 0).sum() == pytest.approx(0.5 * rim, rel=0.1)


@pytest.mark.parametrize(("height", "tolerance"), [(160, 0.002), (80, 0.006)])
def test_poses_are_unbiased_when_the_offset_is_known(height, tolerance):
    poses = scattered_poses(60)
    masks = nearest_scale(drawn(poses, COURSE_LABELS), height=height, width=height * 3 // 2)
    known, ignored = (measure_poses(masks[:, None], offset=offset) for offset in (COURSE_LABELS, EXACT_LABELS))
    error = known.pose - poses[known.clip, known.class_id % 16 - 1]
    biased = ignored.pose - poses[ignored.clip, ignored.class_id % 16 - 1]
    assert np.abs(error[:, :2].mean(axis=0)).max() < tolerance
    assert np.abs(biased[:, :2].mean(axis=0)).max() > 0.008
    assert known.residual.mean() < ignored.residual.mean()
    assert abs(error[known.class_id == 1, 2].mean()) < 0.02


class Painter(torch.nn.Module):
    """A perfect segmenter: the red channel of a frame says the class."""

    def forward(self, frames):
        ids = (frames[:, 0] * 255).round().long()
        return 9 * functional.one_hot(ids, N_CLASSES).movedim(-1, 1).float()


def gliding_clips(count, offset):
    """Masks (M, 22, H, W) of three objects, two of which glide."""
    start = scattered_poses(count, seed=1)
    worlds = Worlds.empty(count, 3)
    worlds.shape[:], worlds.active[:] = shape_code(IDS), True
    worlds.position[:], worlds.yaw[:] = start[:, :, :2], start[:, :, 2]
    worlds.velocity[:, :2] = [[0.01, 0.004], [-0.003, 0.012]]
    masks = []
    for _ in range(22):
        masks.append(drawn(worlds.poses, offset))
        advance(worlds, 6, CONSTANTS)
    return torch.from_numpy(np.stack(masks, axis=1))


def noted(trained, run, data):
    vars(trained)["_run"] = {run: data}
    return trained


SAME, OTHER = {"id": "1", "text": "some data"}, {"id": "2", "text": "other data"}
EXACT = {"id": "3", "text": "generated with seed 1 in the world clevrer: 3 train"}
COURSE = {"id": "4", "text": "generated with seed 1 in the world clevrer and course labels: 3 train"}


def scores(system, past, truth):
    return jaccard(system.predict(past), truth)


def test_a_forecast_in_the_labels_own_offset_scores_as_one_in_exact_labels():
    exact, course = gliding_clips(6, EXACT_LABELS), gliding_clips(6, COURSE_LABELS)
    best = scores(ObjectDynamics(CONSTANTS), exact[:, :11], exact[:, 21])
    known = scores(ObjectDynamics(COURSE_CONSTANTS), course[:, :11], course[:, 21])
    assert known > best - 0.01 > 0.9


def test_a_segmenter_of_exact_labels_is_read_as_exact_and_the_forecast_drawn_as_the_labels_lie():
    exact, course = gliding_clips(6, EXACT_LABELS), gliding_clips(6, COURSE_LABELS)
    past = (exact[:, :11, None] / 255.0).expand(-1, -1, 3, -1, -1)
    forecasters = [
        ObjectDynamics(noted(replace(constants), "constants", SAME), segmenter=noted(Painter(), "unet", learned_from))
        for constants, learned_from in ((CONSTANTS, EXACT), (COURSE_CONSTANTS, SAME), (COURSE_CONSTANTS, EXACT))
    ]
    exact_offset, wrong_reading, right = (scores(system, past, course[:, 21]) for system in forecasters)
    assert right > max(exact_offset, wrong_reading) + 0.02
    assert forecasters[1].segmenter_offset == COURSE_LABELS and forecasters[2].segmenter_offset == EXACT_LABELS
    assert forecasters[1].identity() != forecasters[2].identity()


@pytest.mark.parametrize("learned_from", [OTHER, COURSE])
def test_a_segmenter_of_other_labels_than_exact_generated_ones_is_read_as_the_courses(learned_from):
    fitted = noted(replace(CONSTANTS), "constants", SAME)
    assert ObjectDynamics(fitted, segmenter=noted(Painter(), "unet", learned_from)).segmenter_offset == COURSE_LABELS


def test_masks_of_the_own_segmenter_are_not_taken_for_true_ones():
    exact = gliding_clips(2, EXACT_LABELS)
    past = (exact[:, :11, None] / 255.0).expand(-1, -1, 3, -1, -1)
    system = ObjectDynamics(COURSE_CONSTANTS, segmenter=noted(Painter(), "unet", EXACT))
    segmented = system.segment(past)
    assert torch.equal(system.predict(past), system.predict(segmented, segmented=True))
    assert not torch.equal(system.predict(past), system.predict(segmented))


def test_a_shift_that_is_not_there_cancels_between_reading_and_drawing_and_fatness_costs_what_it_paints():
    exact, shift = gliding_clips(6, EXACT_LABELS), replace(COURSE_CONSTANTS, label_fatness=0.0)
    best, shifted, fat = (
        scores(ObjectDynamics(c), exact[:, :11], exact[:, 21]) for c in (CONSTANTS, shift, COURSE_CONSTANTS)
    )
    assert shifted > best - 0.01
    painted = gliding_clips(6, LabelOffset(fatness=COURSE_LABELS.fatness))[:, 21]
    assert fat > jaccard(painted, exact[:, 21]) - 0.02
