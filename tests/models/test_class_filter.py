"""The class filter: which classes count as seen, which channel an object gets, and that no unseen class can win."""

import torch

from vidseg_utils.models.class_filter import (
    IMPOSSIBLE_LOGIT,
    index_objects,
    seen_classes,
    suppress_unseen_classes,
)
from vidseg_utils.models.location_maps import to_channel_indices


def two_clips():
    """(2, 3, 16, 24): classes 5 and 20 in the first clip, 40 in the second."""
    masks = torch.zeros(2, 3, 16, 24, dtype=torch.long)
    masks[0, :, 1:6, 1:6], masks[0, :, 8:13, 2:7], masks[1, :, 2:7, 12:17] = 5, 20, 40
    return masks


def test_a_few_stray_pixels_are_not_an_object():
    masks = torch.zeros(1, 11, 80, 120, dtype=torch.long)
    masks[0, 0, 0, :5] = 7
    masks[0, :, 10:20, 10:20] = 8
    assert seen_classes(masks)[0].nonzero().flatten().tolist() == [0, 8]


def test_the_class_filter_suppresses_classes_that_the_past_does_not_show():
    logits = torch.zeros(1, 1, 49, 16, 24)
    logits[:, :, 30] = 5
    logits[:, :, 20] = 1
    past = two_clips()[:1]
    assert (suppress_unseen_classes(logits, past).argmax(dim=2) == 20).all()
    logits[:, :, 0] = 2
    assert (suppress_unseen_classes(logits, past).argmax(dim=2) == 0).all()


def test_background_remains_possible_where_the_past_shows_none_and_unknown_pixels_show_nothing():
    past = torch.full((1, 3, 16, 24), 5, dtype=torch.uint8)
    past[:, 0] = 255
    possible = suppress_unseen_classes(torch.zeros(1, 1, 49, 16, 24), past)[0, 0, :, 0, 0] > IMPOSSIBLE_LOGIT
    assert possible.nonzero().flatten().tolist() == [0, 5]


def test_each_clip_has_its_own_objects_as_channels():
    class_ids, clip_index, channel = index_objects(two_clips())
    assert class_ids.tolist() == [[0, 5, 20], [0, 40, 255]]
    assert list(zip(clip_index.tolist(), channel.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 1)]
    target = torch.tensor([[[[0, 5, 20, 40, 255]]], [[[0, 5, 20, 40, 255]]]], dtype=torch.uint8)
    assert to_channel_indices(target, class_ids).flatten(1).tolist() == [[0, 1, 2, 255, 255], [0, 255, 255, 1, 255]]


def test_clips_without_objects_get_one_without_a_pixel():
    class_ids, clip_index, channel = index_objects(torch.zeros(2, 3, 16, 24, dtype=torch.long))
    assert class_ids.tolist() == [[0, 48], [0, 255]]
    assert (clip_index.tolist(), channel.tolist()) == ([0], [1])
