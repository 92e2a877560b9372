"""PNG files that we write: every decoder returns the same pixels, and the files are no larger than Pillow's."""

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from vidseg_utils.data.png import read_png, write_png


def _grain(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(rng.normal(120, 1, (height, width, 3)) + np.arange(width)[:, None] / 3, 0, 255).astype(np.uint8)


PICTURES = {
    "noise": np.random.default_rng(0).integers(0, 256, (160, 240, 3), dtype=np.uint8),
    "black": np.zeros((160, 240, 3), np.uint8),
    "stripes from 0 to 255": np.tile(np.array([0, 255], np.uint8), (160, 120))[:, :, None].repeat(3, axis=2),
    "grain": _grain(160, 240),
    "one pixel": np.array([[[1, 2, 3]]], np.uint8),
    "one column": _grain(7, 1),
    "a view that is not contiguous": _grain(240, 160).transpose(1, 0, 2)[:, ::-1],
}


def _by_torchvision(path) -> np.ndarray:
    decode_image = pytest.importorskip("torchvision.io").decode_image
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        return decode_image(torch.from_numpy(np.fromfile(path, np.uint8))).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("name", PICTURES)
def test_every_decoder_returns_the_same_pixels(tmp_path, name):
    path, pixels = tmp_path / "image_0.png", PICTURES[name]
    write_png(path, pixels)
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(image), pixels)
    np.testing.assert_array_equal(_by_torchvision(path), pixels)
    np.testing.assert_array_equal(read_png(path, height=pixels.shape[0], width=pixels.shape[1]), pixels)


def test_a_noisy_frame_is_no_larger_than_a_file_of_pillow(tmp_path):
    write_png(tmp_path / "image_0.png", PICTURES["grain"])
    buffer = io.BytesIO()
    Image.fromarray(PICTURES["grain"]).save(buffer, "PNG", compress_type=3)  # with run lengths and all filters
    assert (tmp_path / "image_0.png").stat().st_size <= 1.1 * len(buffer.getvalue())
