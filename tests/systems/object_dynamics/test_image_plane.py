"""Proves that masks move through the image in straight lines, and that nearer ones hide farther ones."""

import numpy as np

from vidseg_utils.systems.object_dynamics.image_plane import extrapolate_masks


def clip():
    """Class 3 moves two columns a frame in front of class 7, which is higher up and rests; at the end they overlap."""
    masks = np.zeros((1, 11, 20, 60), dtype=np.uint8)
    for frame in range(11):
        masks[0, frame, 6:10, 44:50] = 7
        masks[0, frame, 8:14, 2 * frame : 2 * frame + 6] = 3
    return masks


def test_a_moving_object_moves_on_and_hides_what_is_farther():
    answer = extrapolate_masks(clip())[0]
    assert (answer[8:14, 42:48] == 3).all() and (answer == 3).sum() == 36
    assert (answer == 7).sum() == 24 - 8  # two rows of four columns are hidden


def test_an_object_outside_the_image_and_one_seen_once_are_left_out():
    masks = clip()
    masks[0, 4, 0, 0] = 9
    masks[masks == 255] = 0
    answer = extrapolate_masks(masks, horizon_frames=40)
    assert not (answer == 3).any() and not (answer == 9).any() and (answer == 7).sum() == 24


def test_unknown_pixels_are_no_object():
    masks = clip()
    masks[:, :, -1] = 255
    assert set(np.unique(extrapolate_masks(masks))) == {0, 3, 7}
