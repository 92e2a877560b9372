"""Proves that learned suppression computes its features, learns helpful actions, prints its tree, and is saved."""

import numpy as np
import pytest

from vidseg_utils.classes import N_CLASSES, class_id
from vidseg_utils.systems.suppression.learned_tree import ACTIONS, FEATURES, Examples, LearnedSuppression

SEEN = class_id("cube", "metal", "red")
SIMILAR, DIFFERENT = class_id("cube", "rubber", "red"), class_id("sphere", "rubber", "blue")


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


def test_features_and_best_actions_of_three_regions_computed_by_hand():
    forecast = scene((SEEN, 0, 0, 10, 10), (SIMILAR, 0, 10, 10, 5), (DIFFERENT, 50, 50, 4, 5))
    truth = scene((SEEN, 0, 0, 10, 15), (DIFFERENT, 50, 50, 4, 1))
    examples = Examples.from_forecasts(forecast[None], knowing(SEEN), truth[None])
    order = examples.features[:, 1].argsort()  # by area
    assert examples.features[order].tolist() == [[0, 20, 0, 7], [0, 50, 1, 1], [1, 100, 0, 0]]
    assert [ACTIONS[action] for action in examples.actions[order]] == ["remove", "rename", "keep"]
    assert examples.importance_px[order].tolist() == [16, 50, 100]


def test_areas_are_scaled_to_a_full_size_mask():
    forecast = scene((SEEN, 0, 0, 5, 5), height=80, width=120)
    small = Examples.from_forecasts(forecast[None], knowing(SEEN), np.zeros((1, 80, 120)))
    assert small.features[0, 1] == 100


@pytest.fixture(scope="module")
def learned():
    """Examples from scenes in which renaming is correct for large unknown objects, and removing for small ones."""
    scenes = []
    for column in range(40):
        forecast = scene((SEEN, 100, 5, 20, 20), (SIMILAR, 10, column, 15, 15), (SIMILAR, 60, column, 5, 5))
        truth = scene((SEEN, 100, 5, 20, 20), (SEEN, 10, column, 15, 15))
        scenes.append((forecast, truth))
    forecasts, truths = map(np.stack, zip(*scenes, strict=True))
    known = knowing(SEEN).repeat(len(scenes), axis=0)
    return Examples.from_forecasts(forecasts, known, truths), forecasts, known, truths


def test_the_tree_learns_the_best_actions(learned):
    examples, forecasts, known, truths = learned
    tree = LearnedSuppression(examples)
    np.testing.assert_array_equal(tree(forecasts, known), truths)
    np.testing.assert_array_equal(tree(forecasts[:1] * 0, known[:1]), forecasts[:1] * 0)  # an empty mask stays so


def test_the_tree_is_printed_with_features_and_actions(learned):
    text = LearnedSuppression(learned[0]).text()
    assert any(name in text for name in FEATURES)
    assert all(f"class: {action}" in text for action in ACTIONS)


def test_saved_examples_are_reused_for_the_same_networks_only(learned, tmp_path):
    path = tmp_path / "regions.npz"
    assert Examples.load(path, made_by="a") is None
    learned[0].save(path, made_by="a")
    again = Examples.load(path, made_by="a")
    for name, column in vars(learned[0]).items():
        np.testing.assert_array_equal(getattr(again, name), column)
    assert Examples.load(path, made_by="b") is None
    path.write_bytes(path.read_bytes()[:50])
    assert Examples.load(path, made_by="a") is None


def test_empty_forecasts_teach_nothing_and_every_region_stays(caplog):
    """A network that was hardly trained must not end the lesson."""
    empty, forecast = np.zeros((1, 160, 240), dtype=np.uint8), scene((SEEN, 0, 0, 10, 10))[None]
    suppress = LearnedSuppression(Examples.from_forecasts(empty, knowing(SEEN), forecast))
    assert "nothing was learned, so every region stays" in suppress.text()
    assert "nothing was learned" in caplog.text
    np.testing.assert_array_equal(suppress(forecast, knowing()), forecast)
