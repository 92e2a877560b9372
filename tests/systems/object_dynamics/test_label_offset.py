"""Proves that labels with an offset against the exact masks are read without bias, and drawn as they lie."""

import numpy as np
import pytest

from vidseg_utils.data import nearest_scale
from vidseg_utils.systems.object_dynamics.perception.outlines import measure_poses
from vidseg_utils.world.label_offset import COURSE_LABELS, LabelOffset
from vidseg_utils.world.mask_drawing import draw_masks

IDS = np.array([1, 18, 35], dtype=np.uint8)  # a cube, a sphere and a cylinder
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
    exact = drawn(poses, LabelOffset())
    np.testing.assert_array_equal(drawn(poses, LabelOffset(x=2.0, y=-1.0)), np.roll(exact, (-1, 2), axis=(1, 2)))


def test_fat_labels_contain_the_exact_ones_and_more_by_their_rim():
    poses = scattered_poses(20)
    exact, fat = drawn(poses, LabelOffset()), drawn(poses, LabelOffset(fatness=0.5))
    np.testing.assert_array_equal(fat[exact > 0], exact[exact > 0])
    edges = sum(((exact > 0) != np.roll(exact > 0, 1, axis)).sum() for axis in (1, 2))
    rim = edges * np.pi / 4  # an outline of a length crosses 4 / pi as many edges of pixels, over all directions
    assert (fat > 0).sum() - (exact > 0).sum() == pytest.approx(0.5 * rim, rel=0.1)


@pytest.mark.parametrize(("height", "tolerance"), [(160, 0.002), (80, 0.006)])
def test_poses_are_unbiased_when_the_offset_is_known(height, tolerance):
    poses = scattered_poses(60)
    masks = nearest_scale(drawn(poses, COURSE_LABELS), height=height, width=height * 3 // 2)
    known, ignored = (measure_poses(masks[:, None], offset=offset) for offset in (COURSE_LABELS, LabelOffset()))
    error = known.pose - poses[known.clip, known.class_id % 16 - 1]
    biased = ignored.pose - poses[ignored.clip, ignored.class_id % 16 - 1]
    assert np.abs(error[:, :2].mean(axis=0)).max() < tolerance
    assert np.abs(biased[:, :2].mean(axis=0)).max() > 0.008
    assert known.residual.mean() < ignored.residual.mean()
    assert abs(error[known.class_id == 1, 2].mean()) < 0.02
