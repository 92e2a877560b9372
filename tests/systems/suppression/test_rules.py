"""Proves the rule tree of new-object suppression: each branch by a hand-made case, random masks by a loop over pixels.

`M` and `N` are known classes, `X` and `Y` unknown ones. Masks are drawn with these letters and dots.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.suppression import suppress_pixel_by_pixel
from vidseg_utils.classes import N_CLASSES, class_id
from vidseg_utils.systems.suppression.regions import find_regions
from vidseg_utils.systems.suppression.rules import CLASS_DISTANCE, known_classes, suppress_new_objects

M, N = class_id("cube", "metal", "red"), class_id("sphere", "rubber", "blue")
X, Y = class_id("cylinder", "rubber", "red"), class_id("sphere", "metal", "yellow")
LETTERS = {".": 0, "M": M, "N": N, "X": X, "Y": Y}
SMALL = 4  # pixels, so that a mask of a few letters is enough


def drawn(picture):
    return np.array([[LETTERS[letter] for letter in line] for line in picture.split()], dtype=np.uint8)


def set_of(*class_ids):
    known = np.zeros(N_CLASSES, dtype=bool)
    known[list(class_ids)] = True
    return known


CASES = {
    "a known object stays": ("MM.. MM..", "MM.. MM.."),
    "a small known region is removed": ("MM.. M...", ".... ...."),
    "a known object of exactly the limit stays": ("MMMM", "MMMM"),
    "a small unknown region joins the known one that it touches": ("MMMM XX..", "MMMM MM.."),
    "a small unknown region that touches nothing is removed": ("XX.. .... MMMM", ".... .... MMMM"),
    "a large unknown region joins the known one that it touches": ("MMMM XXXX XXXX", "MMMM MMMM MMMM"),
    "a large unknown region alone becomes the nearest known class": ("XXXX .... NNNN", "MMMM .... NNNN"),
    "corners do not touch": ("MM.. MM.. ..X.", "MM.. MM.. ...."),
    "unknown neighbours do not count": ("XX.YY XX.YY XYY..", "MM.NN MM.NN M...."),  # the large ones: nearest known
    "a small unknown region beside a large unknown one is removed": ("XXXX X.YY", "MMMM M..."),
    "the longest border decides": ("MXNN MXXN MMNN", "MNNN MNNN MMNN"),
    "several borders with one class add up": ("..MMMM. NNXXXNN NNX.XNN", "..MMMM. NNNNNNN NNN.NNN"),
    "a small known region stays if a region that joins it makes it large": ("MMXX", "MMMM"),
    "a small known region and a region that joins it are removed if both together are small": ("MX.", "..."),
    "two unknown regions may join one known one": ("XMMMMX", "MMMMMM"),
    "an empty mask stays empty": ("....", "...."),
}


@pytest.mark.parametrize("name", CASES)
def test_a_hand_made_case_has_the_expected_answer(name):
    picture, expected = CASES[name]
    mask, known = drawn(picture), set_of(M, N)
    answer = suppress_new_objects(mask, known, small_px=SMALL)
    np.testing.assert_array_equal(answer, drawn(expected))
    np.testing.assert_array_equal(answer, suppress_pixel_by_pixel(mask, known, small_px=SMALL))
    assert answer.dtype == np.uint8


def test_a_tie_of_borders_goes_to_the_lowest_class():
    assert M < N
    np.testing.assert_array_equal(
        suppress_new_objects(drawn("NNNN .XX. MMMM"), set_of(M, N), small_px=SMALL), drawn("NNNN .MM. MMMM")
    )


def test_without_known_classes_every_object_is_removed():
    assert not suppress_new_objects(drawn("XXXX YYYY YYYY"), set_of(), small_px=SMALL).any()


def test_no_region_joins_the_background():
    np.testing.assert_array_equal(
        suppress_new_objects(drawn("XXXX"), set_of(0, M), small_px=SMALL), suppress_new_objects(
            drawn("XXXX"), set_of(M), small_px=SMALL
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (["cube rubber red", "cube metal green"], "cube rubber red"),  # a colour outweighs shape and material
        (["cube metal red", "cylinder metal blue"], "cube metal red"),  # 2 + 1 is less than 4
        (["cylinder metal red", "cube rubber red"], "cylinder metal red"),  # material is the cheapest
        (["sphere rubber blue", "sphere metal blue"], "sphere rubber blue"),
        (["sphere rubber red", "cube rubber red"], "cube rubber red"),  # equally far: the lower id
    ],
)
def test_colour_weighs_4_shape_2_material_1(seen, expected):
    seen_ids = [class_id(*words.split()) for words in seen]
    answer = suppress_new_objects(np.full((2, 4), X), set_of(*seen_ids), small_px=SMALL)
    assert set(answer.ravel().tolist()) == {class_id(*expected.split())}


def test_distances_are_sums_of_the_weights_of_differing_attributes():
    assert CLASS_DISTANCE[M, M] == 0
    assert CLASS_DISTANCE[M, class_id("cube", "rubber", "red")] == 1
    assert CLASS_DISTANCE[M, class_id("cube", "rubber", "blue")] == 5
    assert CLASS_DISTANCE[M, class_id("sphere", "rubber", "blue")] == 7
    assert np.isinf(CLASS_DISTANCE[0]).all()


def test_the_limit_is_100_px_at_full_size_and_the_same_share_of_the_area_at_other_sizes():
    for height, width, side in ((160, 240, 10), (80, 120, 5)):
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[:side, :side] = M
        np.testing.assert_array_equal(suppress_new_objects(mask, set_of(M)), mask)
        mask[0, 0] = 0
        assert not suppress_new_objects(mask, set_of(M)).any()


mosaics = st.builds(
    lambda seed, height, width, colours: np.random.default_rng(seed).choice(
        np.array([0, 0, M, N, X, Y], dtype=np.uint8)[: 2 + colours], size=(3, height, width)
    ),
    st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4),
)  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(masks=mosaics, seen=st.sets(st.sampled_from([M, N, X])), small_px=st.integers(0, 8))
def test_random_masks_get_the_same_answer_as_from_a_loop_over_pixels(masks, seen, small_px):
    known = np.stack([set_of(*seen), set_of(M), set_of(*seen)])
    answer = suppress_new_objects(masks, known, small_px=small_px)
    expected = [suppress_pixel_by_pixel(mask, each, small_px=small_px) for mask, each in zip(masks, known, strict=True)]
    np.testing.assert_array_equal(answer, expected)
    np.testing.assert_array_equal(suppress_new_objects(answer, known, small_px=small_px), answer)  # no further change
    for mask, each in zip(answer, known, strict=True):
        assert set(np.unique(mask)) - {0} <= set(np.flatnonzero(each))


def test_regions_end_with_rows_and_with_masks():
    masks = np.zeros((2, 2, 3), dtype=np.uint8)
    masks[0, 0, 2] = masks[0, 1, 0] = M  # next to each other in memory only
    masks[0, 1, 2] = masks[1, 0, 2] = N  # above each other only if the masks were one picture
    regions = find_regions(masks)
    columns = (regions.mask_index, regions.class_id, regions.area_px)
    assert sorted(np.stack(columns, axis=1).tolist()) == [[0, M, 1], [0, M, 1], [0, N, 1], [1, N, 1]]
    assert regions.border_px.tolist() == [1]  # M above N at the right edge of the first mask


def test_known_classes_are_those_of_the_objects_in_past_masks():
    past = np.stack([drawn("MM.. ...."), drawn("MM.. ...X")])
    assert np.flatnonzero(known_classes(past)).tolist() == sorted([M, X])
    assert np.flatnonzero(known_classes(past, least_px=2)).tolist() == [M]
    assert known_classes(np.stack([past, past])).shape == (2, N_CLASSES)


@pytest.mark.parametrize(
    ("masks", "known", "message"),
    [
        (np.zeros((2, 4, 4)), np.zeros(N_CLASSES, dtype=bool), r"expected known classes \(2, 49\) bool"),
        (np.zeros((4, 4)), np.zeros(N_CLASSES), r"got \(49,\) float64"),
        (np.full((4, 4), 255), np.zeros(N_CLASSES, dtype=bool), "class ids run from 0 to 48; the masks hold 255"),
    ],
)
def test_wrong_input_is_refused(masks, known, message):
    with pytest.raises(ValueError, match=message):
        suppress_new_objects(masks, known)


def test_past_masks_with_ids_that_are_no_class_are_refused():
    with pytest.raises(ValueError, match="past masks hold 255"):
        known_classes(np.full((1, 2, 2), 255, dtype=np.uint8))


def test_a_single_mask_without_batch_axis_is_refused():
    with pytest.raises(ValueError, match=r"got shape \(4, 6\); add the batch axis with masks\[None\]"):
        find_regions(np.zeros((4, 6), dtype=np.uint8))
