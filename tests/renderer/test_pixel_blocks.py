"""Blocks of pixels cover the picture exactly once, and a picture survives being split and merged."""

import numpy as np
import pytest
import torch

from vidseg_utils.renderer.pixel_blocks import build_pixel_blocks


@pytest.mark.parametrize("size", [(160, 240), (80, 120), (40, 60), (50, 77)])
def test_blocks_cover_the_picture_once(size):
    blocks = build_pixel_blocks(*size)
    covered = np.zeros(size, int)
    for x0, x1, y0, y1 in blocks.edges:
        covered[y0:y1, x0:x1] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("size", [(160, 240), (80, 120), (40, 60), (50, 77)])
def test_a_picture_is_split_and_merged_unchanged(size):
    blocks = build_pixel_blocks(*size)
    pixels = torch.arange(size[0] * size[1])
    assert torch.equal(blocks.merge(blocks.split(pixels, size[0]), size[0]), pixels)
    assert torch.equal(blocks.split(pixels, size[0])[blocks.block_of_pixel, blocks.offset_in_block], pixels)
