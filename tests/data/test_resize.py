"""Scaling down: frames keep their mean over each area for any two sizes; labels of masks are never blended."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from vidseg_utils.data.resize import area_scale, nearest_scale

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 3, 160, 240), dtype=np.uint8)


@pytest.mark.parametrize("size", [(80, 120), (40, 60), (160, 120), (32, 48)])
def test_integer_factors_give_the_mean_of_whole_pixels(size):
    expected = interpolate(torch.from_numpy(FRAMES).double(), size=size, mode="area").add(0.5).floor()
    np.testing.assert_array_equal(area_scale(FRAMES, height=size[0], width=size[1]), expected)


@pytest.mark.parametrize("size", [(100, 150), (159, 239), (7, 11), (80, 121)])
def test_other_factors_share_pixels_by_area(size):
    flat = np.full_like(FRAMES, 201)
    assert (area_scale(flat, height=size[0], width=size[1]) == 201).all()
    ramp = np.broadcast_to(np.linspace(0, 239, 240).astype(np.uint8), FRAMES.shape)
    small = area_scale(ramp, height=size[0], width=size[1])[0, 0, 0]
    centres = (np.arange(size[1]) + 0.5) * 240 / size[1] - 0.5
    np.testing.assert_allclose(small, centres, atol=0.51)


def test_the_same_size_is_the_same_array():
    assert area_scale(FRAMES, height=160, width=240) is FRAMES


def test_masks_take_the_label_at_the_centre():
    masks = np.zeros((1, 160, 240), np.uint8)
    masks[:, 1::2, 1::2] = 48
    assert (nearest_scale(masks, height=80, width=120) == 48).all()
    assert set(np.unique(nearest_scale(masks, height=100, width=150))) <= {0, 48}
