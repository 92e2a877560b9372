"""Proves that the overlay colours exactly the masked pixels, that contours and errors are found where they are,
and that wrong shapes and class ids are refused."""

import numpy as np
import pytest
import torch

from vidseg_utils.classes import PALETTE, class_name
from vidseg_utils.visualisation.overlays import (
    ERROR_KINDS,
    add_class_legend,
    classify_errors,
    find_contours,
    frame_to_rgb,
    mask_to_rgb,
    overlay_mask,
    plot_error_map,
    show_overlay,
)


@pytest.fixture
def frame():
    return np.full((3, 12, 16), 100, dtype=np.uint8)


@pytest.fixture
def mask():
    mask = np.zeros((12, 16), dtype=np.uint8)
    mask[2:8, 3:9] = 5
    mask[4:8, 9:13] = 40
    return mask


def test_background_is_untouched_and_objects_are_mixed_half_and_half(frame, mask):
    result = overlay_mask(frame, mask, 0.5)
    assert result.shape == (12, 16, 3) and result.dtype == np.uint8
    assert (result[mask == 0] == 100).all()
    inside = (mask == 5) & ~find_contours(mask)
    expected = np.round((100 + PALETTE[5].astype(float)) / 2)
    assert inside.any() and np.abs(result[inside] - expected).max() <= 1


def test_opacity_zero_shows_the_frame_and_one_the_palette(frame, mask):
    assert (overlay_mask(frame, mask, 0.0) == 100).all()
    inside = (mask == 40) & ~find_contours(mask)
    assert (overlay_mask(frame, mask, 1.0)[inside] == PALETTE[40]).all()


def test_float_frames_and_tensors_give_the_same_picture(frame, mask):
    expected = overlay_mask(frame, mask)
    assert (overlay_mask(torch.from_numpy(frame) / 255, torch.from_numpy(mask).long()) == expected).all()


def test_ignored_pixels_are_white(frame):
    mask = np.full((12, 16), 255)
    assert (mask_to_rgb(mask) == 255).all()
    assert (overlay_mask(frame, mask, 1.0) == 255).all()


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [((12, 15), 0, r"mask has shape \(12, 15\); expected \(12, 16\)"), ((12, 16), 49, "mask holds 49; class ids")],
)
def test_a_mask_that_does_not_fit_is_refused(frame, shape, value, message):
    with pytest.raises(ValueError, match=message):
        overlay_mask(frame, np.full(shape, value))


def test_an_array_that_is_not_a_frame_is_refused(mask):
    with pytest.raises(ValueError, match=r"expected \(3, H, W\)"):
        frame_to_rgb(np.zeros((12, 16, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="frame is int64"):
        frame_to_rgb(np.zeros((3, 12, 16), dtype=np.int64))
    with pytest.raises(ValueError, match=r"opacity 1.5 is not in \[0, 1\]"):
        overlay_mask(np.zeros((3, 12, 16), dtype=np.uint8), mask, 1.5)


def test_contours_lie_inside_objects_and_on_both_sides_where_two_touch(mask):
    border = find_contours(mask)
    assert not border[mask == 0].any()
    assert border[2, 3:9].all() and not border[3:7, 4:8].any()
    assert border[5, 8] and border[5, 9]  # where the two objects touch


def test_the_legend_names_the_classes_present_largest_first(ax, mask):
    legend = add_class_legend(ax, mask)
    assert [text.get_text() for text in legend.get_texts()] == [class_name(5), class_name(40)]
    assert add_class_legend(ax, np.zeros_like(mask)) is None
    many = np.arange(1, 49).reshape(6, 8)
    assert add_class_legend(ax, many).get_texts()[-1].get_text() == "and 36 more"


def test_each_kind_of_pixel_is_told_apart():
    target = np.array([[0, 7, 7, 0, 7, 255]])
    prediction = np.array([[0, 7, 0, 7, 8, 3]])
    names = [list(ERROR_KINDS)[kind] for kind in classify_errors(prediction, target)[0]]
    assert names == list(ERROR_KINDS)


def test_the_legend_of_an_error_map_gives_the_share_of_each_kind(ax, mask):
    plot_error_map(ax, np.zeros_like(mask), mask)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    missed = (mask > 0).mean()
    assert f"object missed: {missed:.1%}" in texts and "wrong class: 0.0%" in texts


def test_show_overlay_puts_the_picture_into_the_axes_it_is_given(ax, frame, mask):
    assert show_overlay(ax, frame, mask, title="here", legend=True) is ax
    assert (ax.images[0].get_array() == overlay_mask(frame, mask)).all() and ax.get_title() == "here"
