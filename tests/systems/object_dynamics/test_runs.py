"""Proves that runs hold the pixels of a clip, and that connected runs are the regions that scipy finds."""

import numpy as np
import pytest
from scipy.ndimage import label

from vidseg_utils.systems.object_dynamics.perception.runs import bounding_boxes, connect, find_runs, foreground

EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=int)


@pytest.fixture(params=[0.2, 0.5, 0.9], ids=["sparse", "half", "dense"])
def clip(request):
    """Frames of random class ids that touch all borders, some of them unknown."""
    rng = np.random.default_rng(0)
    ids = rng.choice(np.array([1, 2, 17, 255], dtype=np.uint8), (3, 12, 17))
    return np.where(rng.random(ids.shape) < request.param, ids, 0).astype(np.uint8)


def test_runs_hold_the_foreground_pixels_in_order(clip):
    runs = find_runs(clip)
    shown = foreground(clip)
    np.testing.assert_array_equal(runs.to_pixels(runs.class_id), clip[shown])
    frame, row, column = np.nonzero(shown)
    for values, of_pixels in ((runs.frame, frame), (runs.row, row)):
        np.testing.assert_array_equal(runs.to_pixels(values), of_pixels)
    np.testing.assert_array_equal(
        np.concatenate([np.arange(*ends) for ends in np.stack([runs.left, runs.right], 1)]), column
    )
    ones = np.ones((shown.sum(), 2))
    np.testing.assert_array_equal(runs.sum_pixels(ones), np.repeat(runs.length[:, None], 2, axis=1))


@pytest.mark.parametrize("n_values", [1, 8, 48])
def test_connected_runs_are_the_connected_regions_of_one_value_in_a_frame(clip, n_values):
    runs = find_runs(clip)
    region = connect(runs, runs.class_id % n_values)
    found = np.full(clip.shape, -1)
    found[foreground(clip)] = runs.to_pixels(region)
    expected, boxes, count = np.full(clip.shape, -1), [], 0
    for value in range(n_values):
        for frame, mask in enumerate(clip):
            parts, n_parts = label(foreground(mask) & (mask % n_values == value), structure=EIGHT_NEIGHBOURS)
            for part in range(1, n_parts + 1):
                expected[frame][parts == part] = count
                rows, columns = np.nonzero(parts == part)
                boxes.append([rows.min(), rows.max() + 1, columns.min(), columns.max() + 1])
                count += 1
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(bounding_boxes(runs, region), boxes)


def test_an_empty_clip_has_no_runs():
    runs = find_runs(np.zeros((2, 4, 6), dtype=np.uint8))
    assert not len(connect(runs, runs.class_id)) and not len(bounding_boxes(runs, runs.row))
