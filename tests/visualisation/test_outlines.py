"""Proves that the enlarged outline runs along the sides of a label's pixels, and moves by the shift."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from vidseg_utils.visualisation.outlines import outline_segments, plot_outline


@pytest.fixture
def mask():
    mask = np.zeros((12, 16), dtype=np.uint8)
    mask[4:6, 7:10] = 5
    return mask


def test_the_outline_of_a_rectangle_is_its_perimeter(mask):
    segments = outline_segments(mask == 5)
    assert len(segments) == 2 * (2 + 3)
    np.testing.assert_allclose(np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1), 1)
    np.testing.assert_allclose(segments.min(axis=(0, 1)), [6.5, 3.5])
    np.testing.assert_allclose(segments.max(axis=(0, 1)), [9.5, 5.5])


def test_the_picture_shows_the_object_with_a_margin_and_the_shifted_outline(mask):
    frame = np.full((3, 12, 16), 100, dtype=np.uint8)
    ax = plot_outline(plt.figure().gca(), frame, mask, 5, shift=(0.4, -0.3), margin_px=2, title="label")
    assert ax.get_xlim() == (4.5, 11.5) and ax.get_ylim() == (7.5, 1.5)
    segments = np.array(ax.collections[0].get_segments())
    np.testing.assert_allclose(segments, outline_segments(mask == 5) + np.array([0.4, -0.3]))


def test_an_absent_class_is_refused(mask):
    with pytest.raises(ValueError, match="the mask has no pixel of class 6"):
        plot_outline(plt.figure().gca(), np.zeros((3, 12, 16), np.uint8), mask, 6)
