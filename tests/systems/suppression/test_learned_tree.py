"""Proves that the learned suppression sees regions as they are, learns what helps, and can be read, kept and reused."""

import numpy as np
import pytest

from vidseg_utils.classes import N_CLASSES, class_id
from vidseg_utils.systems.suppression.learned_tree import ACTIONS, FEATURES, Examples, LearnedSuppression

M, NEAR, FAR = class_id("cube", "metal", "red"), class_id("cube", "rubber", "red"), class_id("sphere", "rubber", "blue")


def scene(*objects, height=160, width=240):
    """A mask with a rectangle for each (class id, row, column, rows, columns)."""
    mask = np.zeros((height, width), dtype=np.uint8)
    for id_, row, column, rows, columns in objects:
        mask[row : row + rows, column : column + columns] = id_
    return mask


def knowing(*class_ids):
    known = np.zeros((1, N_CLASSES), dtype=bool)
    known[0, list(class_ids)] = True
    return known


def test_a_regions_features_and_its_best_action_by_hand():
    forecast = scene((M, 0, 0, 10, 10), (NEAR, 0, 10, 10, 5), (FAR, 50, 50, 4, 5))
    truth = scene((M, 0, 0, 10, 15), (FAR, 50, 50, 4, 1))
    examples = Examples.from_forecasts(forecast[None], knowing(M), truth[None])
    order = examples.features[:, 1].argsort()  # by area
    assert examples.features[order].tolist() == [[0, 20, 0, 7], [0, 50, 1, 1], [1, 100, 0, 0]]
    assert [ACTIONS[action] for action in examples.actions[order]] == ["remove", "rename", "keep"]
    assert examples.stakes_px[order].tolist() == [16, 50, 100]


def test_areas_are_those_of_a_full_size_mask():
    forecast = scene((M, 0, 0, 5, 5), height=80, width=120)
    small = Examples.from_forecasts(forecast[None], knowing(M), np.zeros((1, 80, 120)))
    assert small.features[0, 1] == 100


@pytest.fixture(scope="module")
def learned():
    """From scenes in which unknown objects are renamed rightly, but small ones are never there."""
    parts = []
    for place in range(40):
        forecast = scene((M, 100, 5, 20, 20), (NEAR, 10, place, 15, 15), (NEAR, 60, place, 5, 5))
        truth = scene((M, 100, 5, 20, 20), (M, 10, place, 15, 15))
        parts.append((forecast, truth))
    forecasts, truths = map(np.stack, zip(*parts, strict=True))
    known = knowing(M).repeat(len(parts), axis=0)
    return Examples.from_forecasts(forecasts, known, truths), forecasts, known, truths


def test_the_tree_learns_what_helps(learned):
    examples, forecasts, known, truths = learned
    tree = LearnedSuppression(examples)
    np.testing.assert_array_equal(tree(forecasts, known), truths)
    np.testing.assert_array_equal(tree(forecasts[:1] * 0, known[:1]), forecasts[:1] * 0)  # an empty mask stays so


def test_the_tree_can_be_read(learned):
    text = LearnedSuppression(learned[0]).text()
    assert any(name in text for name in FEATURES)
    assert all(f"class: {action}" in text for action in ACTIONS)


def test_examples_are_kept_with_who_made_them(learned, tmp_path):
    path = tmp_path / "regions.npz"
    assert Examples.load(path, made_by="a") is None
    learned[0].save(path, made_by="a")
    again = Examples.load(path, made_by="a")
    for name, column in vars(learned[0]).items():
        np.testing.assert_array_equal(getattr(again, name), column)
    assert Examples.load(path, made_by="b") is None
    path.write_bytes(path.read_bytes()[:50])
    assert Examples.load(path, made_by="a") is None


def test_forecasts_of_nothing_teach_nothing():
    empty = np.zeros((1, 8, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match="train the forecaster first"):
        LearnedSuppression(Examples.from_forecasts(empty, knowing(M), empty))
