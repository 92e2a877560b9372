"""Proves that masks are carried through the picture in straight lines, nearer ones before farther ones."""

import numpy as np

from vidseg_utils.systems.object_dynamics.image_plane import extrapolate_masks


def clip():
    """Class 3 goes two columns a frame and stays whole; class 7, higher up, stands in its way at the end."""
    masks = np.zeros((1, 11, 20, 60), dtype=np.uint8)
    for frame in range(11):
        masks[0, frame, 6:10, 44:50] = 7
        masks[0, frame, 8:14, 2 * frame : 2 * frame + 6] = 3
    return masks


def test_what_moves_goes_on_and_hides_what_is_farther():
    answer = extrapolate_masks(clip())[0]
    assert (answer[8:14, 42:48] == 3).all() and (answer == 3).sum() == 36
    assert (answer == 7).sum() == 24 - 8  # two rows of four columns are hidden


def test_what_leaves_the_picture_is_gone_and_what_was_seen_once_is_left_out():
    masks = clip()
    masks[0, 4, 0, 0] = 9
    masks[masks == 255] = 0
    answer = extrapolate_masks(masks, horizon_frames=40)
    assert not (answer == 3).any() and not (answer == 9).any() and (answer == 7).sum() == 24


def test_unknown_pixels_are_nobody():
    masks = clip()
    masks[:, :, -1] = 255
    assert set(np.unique(extrapolate_masks(masks))) == {0, 3, 7}
