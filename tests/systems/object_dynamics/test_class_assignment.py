"""Proves that an object gets the right class for the whole video, however the classes of its pixels flicker."""

import numpy as np
import pytest

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.systems.object_dynamics.perception.class_assignment import assign_track_classes, link_components
from vidseg_utils.systems.object_dynamics.perception.components import find_components
from vidseg_utils.systems.object_dynamics.perception.runs import foreground
from vidseg_utils.world.mask_drawing import draw_masks

CUBE, SPHERE, CYLINDER = 1, 17, 33  # class ids of one appearance: gray metal
RED_CUBE = 2


def moving(class_ids, starts, steps, frames=11, height=80):
    """Masks (T, H, W) of objects that move by `steps` world units a frame."""
    time = np.arange(frames)[:, None, None]
    position = np.array(starts)[None] + time * np.array(steps)[None]
    poses = np.concatenate([position, np.full((*position.shape[:2], 1), 0.3)], axis=-1)
    ids = np.broadcast_to(np.array(class_ids, dtype=np.uint8), position.shape[:2])
    return draw_masks(ids, poses, ids > 0, height=height, width=height * 3 // 2)


@pytest.mark.parametrize("truth", [CUBE, SPHERE, CYLINDER])
def test_geometry_decides_where_pixels_take_every_shape(truth):
    masks = moving([truth, RED_CUBE], [[-1.5, -1.0], [1.0, 0.5]], [[0.15, 0.1], [0.0, 0.0]])
    rng = np.random.default_rng(0)
    shapes = rng.choice([CUBE, SPHERE, CYLINDER], size=masks.shape).astype(np.uint8)
    noisy = np.where(masks == truth, shapes, masks)
    np.testing.assert_array_equal(assign_track_classes(noisy[None])[0], masks)


def test_true_masks_are_left_as_they_are():
    masks = moving([CUBE, SPHERE, 40], [[-1.5, -1.0], [1.0, 0.7], [0.0, -1.5]], [[0.15, 0.1], [0.0, 0.0], [0.1, 0.2]])
    np.testing.assert_array_equal(assign_track_classes(masks[None])[0], masks)


def test_two_objects_of_one_appearance_that_touch_stay_two():
    masks = moving([CUBE, CYLINDER], [[0.0, -1.0], [0.0, 1.0]], [[0.0, 0.17], [0.0, -0.17]], frames=6)
    np.testing.assert_array_equal(assign_track_classes(masks[None])[0], masks)


def test_the_majority_of_frames_outvotes_one_frame():
    masks = moving([CUBE], [[-1.0, -1.0]], [[0.1, 0.15]])
    flicker = masks.copy()
    flicker[4][masks[4] == CUBE] = 8 + CYLINDER  # another shape and material
    np.testing.assert_array_equal(assign_track_classes(flicker[None])[0], masks)


def test_scores_overrule_labels():
    masks = moving([SPHERE], [[0.0, 0.0]], [[0.1, 0.0]])
    wrong = np.where(masks == SPHERE, SPHERE + 1, 0).astype(np.uint8)
    scores = np.full((foreground(wrong).sum(), N_CLASSES), 0.001)
    scores[:, SPHERE] = 0.9
    np.testing.assert_array_equal(assign_track_classes(wrong[None], [scores])[0], masks)


def test_a_fragment_at_the_edge_of_an_object_belongs_to_it():
    masks = moving([CUBE], [[1.0, 0.0]], [[0.0, 0.1]])
    torn = masks.copy()
    row, column = np.argwhere(masks[3] == CUBE)[0]
    torn[3, row : row + 3, column : column + 3][masks[3, row : row + 3, column : column + 3] == CUBE] = RED_CUBE
    assert len(find_components(torn).area) == 11
    np.testing.assert_array_equal(assign_track_classes(torn[None])[0], masks)


def test_a_track_goes_on_behind_another_object():
    masks = moving([CUBE, RED_CUBE], [[-0.2, -1.5], [0.2, 0.0]], [[0.0, 0.3], [0.0, 0.0]])
    assert (masks[5] == CUBE).sum() < (masks[0] == CUBE).sum() / 2
    assert link_components(find_components(masks)).max() == 1  # two tracks: 0 and 1


def test_an_empty_stage_stays_empty():
    assert not assign_track_classes(np.zeros((1, 11, 40, 60), dtype=np.uint8)).any()
    unknown = np.full((2, 11, 40, 60), 255, dtype=np.uint8)
    np.testing.assert_array_equal(assign_track_classes(unknown), unknown)
