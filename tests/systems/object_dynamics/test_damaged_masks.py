"""Proves that tracks survive what labels and segmenters do: wrong names, gaps, cut, thin and patchy masks."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from vidseg_utils.classes import CLASSES_PER_SHAPE, COLOURS, N_CLASSES, class_id
from vidseg_utils.systems.object_dynamics.perception.class_assignment import assign_track_classes
from vidseg_utils.systems.object_dynamics.perception.outlines import measure_poses
from vidseg_utils.systems.object_dynamics.perception.runs import foreground
from vidseg_utils.systems.object_dynamics.perception.tracks import build_tracks
from vidseg_utils.world.mask_drawing import draw_masks

STILL_CUBE, SPHERE = class_id("cube", "rubber", "yellow"), class_id("sphere", "metal", "cyan")
CYLINDER, OTHER = class_id("cylinder", "rubber", "brown"), class_id("cube", "metal", "red")
IDS = np.array([STILL_CUBE, SPHERE, CYLINDER], dtype=np.uint8)
START = np.array([[-1.2, -1.0, 0.3], [0.6, 1.5, 0.0], [1.0, -1.2, 0.0]])
STEP = np.array([[0.0, 0.0, 0.0], [-0.03, -0.15, 0.0], [-0.1, 0.12, 0.0]])
POSES = START + np.arange(11)[:, None, None] * STEP  # (T, 3, 3)


@pytest.fixture
def masks():
    """(T, H, W): a still and two moving objects."""
    ids = np.broadcast_to(IDS, POSES.shape[:2])
    return draw_masks(ids, POSES, ids > 0, height=160, width=240)


def tracked(masks):
    return build_tracks(measure_poses(masks[None]), clips=1, frames=len(masks))


def column_cut(mask, object_id):
    """Columns of two pixels through the middle of the object."""
    column = int(np.median(np.nonzero(mask == object_id)[1]))
    cut = np.zeros(mask.shape, dtype=bool)
    cut[:, column : column + 2] = mask[:, column : column + 2] == object_id
    return cut


def confident_scores(masks):
    """The scores of a segmenter that is sure of these labels."""
    labels = masks[foreground(masks)].astype(int)
    scores = np.full((len(labels), N_CLASSES), 0.02 / (N_CLASSES - 1), dtype=np.float32)
    scores[np.arange(len(labels)), labels] = 0.98
    return scores


@pytest.mark.parametrize("object_id", IDS)
@pytest.mark.parametrize("frame", [0, 5, 10])
def test_a_wrong_name_in_one_frame_is_corrected(masks, object_id, frame):
    named = masks.copy()
    named[frame][masks[frame] == object_id] = OTHER
    np.testing.assert_array_equal(assign_track_classes(named[None])[0], masks)


@pytest.mark.parametrize("object_id", IDS)
@pytest.mark.parametrize(("first", "length"), [(0, 3), (4, 1), (5, 3), (8, 3)])
def test_an_object_without_a_mask_in_some_frames_is_one_object_in_the_others(masks, object_id, first, length):
    gap = masks.copy()
    gap[first : first + length][masks[first : first + length] == object_id] = 0
    assigned = assign_track_classes(gap[None])[0]
    np.testing.assert_array_equal(assigned, gap)
    tracks = tracked(assigned)
    assert sorted(tracks.class_id[0]) == sorted(IDS)
    seen = tracks.seen[0, :, tracks.class_id[0] == object_id][0]
    np.testing.assert_array_equal(~seen, (np.arange(11) >= first) & (np.arange(11) < first + length))


@pytest.mark.parametrize("object_id", IDS)
def test_an_object_that_is_cut_in_two_stays_one_object_at_its_position(masks, object_id):
    torn = masks.copy()
    for frame in (2, 6, 10):
        torn[frame][column_cut(masks[frame], object_id)] = 0
    assigned = assign_track_classes(torn[None])[0]
    np.testing.assert_array_equal(assigned, torn)
    tracks = tracked(assigned)
    slot = np.flatnonzero(tracks.class_id[0] == object_id)[0]
    error = tracks.pose[0, :, slot, :2] - POSES[:, np.flatnonzero(object_id == IDS)[0], :2]
    assert np.abs(error).max() < 0.1 and tracks.seen[0].all()


@pytest.mark.parametrize("object_id", IDS)
def test_a_thin_mask_is_measured_where_the_object_is(masks, object_id):
    thin = masks.copy()
    for frame, mask in enumerate(masks):
        inside = mask == object_id
        thin[frame][inside & ~binary_erosion(inside)] = 0
    assigned = assign_track_classes(thin[None])[0]
    np.testing.assert_array_equal(assigned, thin)
    tracks = tracked(assigned)
    slot = np.flatnonzero(tracks.class_id[0] == object_id)[0]
    error = tracks.pose[0, :, slot, :2] - POSES[:, np.flatnonzero(object_id == IDS)[0], :2]
    assert np.abs(error).max() < 0.1 and tracks.seen[0].all()


def test_two_labels_of_one_class_far_apart_are_two_objects(masks):
    """One of them has a wrong name; the other frames tell which."""
    named = masks.copy()
    named[3][masks[3] == CYLINDER] = STILL_CUBE
    np.testing.assert_array_equal(assign_track_classes(named[None])[0], masks)


@pytest.mark.parametrize("object_id", IDS)
def test_geometry_outweighs_a_segmenter_that_is_sure_of_a_wrong_shape(masks, object_id):
    for turn in (1, 2):
        wrong = masks.copy()
        wrong[masks == object_id] = (object_id - 1 + turn * CLASSES_PER_SHAPE) % (N_CLASSES - 1) + 1
        np.testing.assert_array_equal(assign_track_classes(wrong[None], [confident_scores(wrong)])[0], masks)
        np.testing.assert_array_equal(assign_track_classes(wrong[None])[0], wrong)  # labels are trusted


@pytest.mark.parametrize("company", [False, True], ids=["the only one of its colour", "beside another of its colour"])
def test_a_patch_of_another_material_belongs_to_the_object(masks, company):
    """Metal reflects its neighbours, and a segmenter takes the reflection for rubber, the other material."""
    if company:
        masks[masks == CYLINDER] = class_id("cylinder", "rubber", "cyan")
    patchy, rubber = masks.copy(), SPHERE + len(COLOURS)
    for frame in (3, 7, 8):
        row, _ = np.nonzero(masks[frame] == SPHERE)
        lower = (masks[frame] == SPHERE) & (np.arange(160)[:, None] > np.median(row) + 1)
        patchy[frame][lower] = rubber
    np.testing.assert_array_equal(assign_track_classes(patchy[None], [confident_scores(patchy)])[0], masks)


def test_objects_of_one_colour_and_two_materials_that_touch_stay_two():
    ids = np.array([class_id("sphere", "metal", "cyan"), class_id("cylinder", "rubber", "cyan")], dtype=np.uint8)
    poses = np.zeros((11, 2, 3))
    poses[:, 0, 1], poses[:, 1, 1] = np.linspace(-1.4, -0.4, 11), 0.0
    ids = np.broadcast_to(ids, poses.shape[:2])
    masks = draw_masks(ids, poses, ids > 0, height=160, width=240)
    np.testing.assert_array_equal(assign_track_classes(masks[None], [confident_scores(masks)])[0], masks)
