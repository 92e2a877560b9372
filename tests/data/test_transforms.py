"""Augmentation changes an image and its mask together, all frames of a clip alike, and never creates a new label."""

import pytest
import torch

from vidseg_utils.data.transforms import AUGMENTATIONS, augment, build_augmentation, to_float


def _clip():
    """A blob whose red value is its label times 5, in 4 frames that are all the same."""
    masks = torch.zeros(4, 80, 120, dtype=torch.uint8)
    masks[:, 10:40, 20:60] = 7
    masks[:, 50:75, 70:110] = 48
    frames = torch.stack([masks * 5, masks, masks], dim=1)
    return frames, masks


KEEP_SIZE = [name for name in AUGMENTATIONS if name != "object_crop"]


@pytest.mark.parametrize("name", KEEP_SIZE)
def test_all_frames_of_a_clip_change_alike_and_the_mask_with_them(name):
    frames, masks = _clip()
    transform = build_augmentation(name)
    changed = 0
    for seed in range(8):
        torch.manual_seed(seed)
        new_frames, new_masks = augment(transform, frames, masks)
        assert new_frames.shape == frames.shape
        assert new_masks.shape == masks.shape
        assert (new_frames == new_frames[:1]).all()
        assert (new_masks == new_masks[:1]).all()
        assert set(new_masks.unique().tolist()) <= {0, 7, 48, 255}
        agree = (new_frames[:, 1] == new_masks)[new_masks != 255]  # except at the blended outlines
        assert agree.float().mean() > 0.95
        changed += not torch.equal(new_masks, masks)
    assert changed >= 2


def test_a_rotation_labels_pixels_from_outside_as_ignored():
    frames, masks = _clip()
    torch.manual_seed(1)
    _, rotated = augment(build_augmentation("rotate"), frames, masks)
    assert rotated[0, 0, 0] == 255 or rotated[0, 0, -1] == 255


def test_a_flip_is_exact():
    frames, masks = _clip()
    flip = build_augmentation("hflip")
    seen = set()
    for seed in range(10):
        torch.manual_seed(seed)
        new_frames, new_masks = augment(flip, frames, masks)
        flipped = torch.equal(new_masks, masks.flip(-1)) and torch.equal(new_frames, frames.flip(-1))
        assert flipped or (torch.equal(new_masks, masks) and torch.equal(new_frames, frames))
        seen.add(flipped)
    assert seen == {True, False}


def test_single_frames_and_clips_without_masks():
    frames, masks = _clip()
    every = build_augmentation(*KEEP_SIZE)
    frame, mask = augment(every, frames[0], masks[0])
    assert (frame.shape, mask.shape) == ((3, 80, 120), (80, 120))
    clip, none = augment(every, frames)
    assert clip.shape == frames.shape
    assert none is None
    assert type(clip) is torch.Tensor


def test_without_names_nothing_changes_and_a_wrong_name_is_refused():
    frames, masks = _clip()
    assert torch.equal(augment(build_augmentation(), frames, masks)[1], masks)
    with pytest.raises(ValueError, match="unknown augmentation 'mirror'; choose from"):
        build_augmentation("mirror")


def test_to_float_spans_zero_to_one():
    values = to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    torch.testing.assert_close(values, torch.tensor([0.0, 0.2, 1.0]))


def test_an_object_crop_contains_an_object_and_moves_image_and_mask_alike():
    mask = torch.zeros(80, 120, dtype=torch.uint8)
    mask[70:75, 3:8] = 9  # in a corner, which most random windows would miss
    frame = mask.expand(3, -1, -1).contiguous()
    for seed in range(20):
        torch.manual_seed(seed)
        cropped, window = augment(build_augmentation("object_crop"), frame, mask)
        assert window.shape == (32, 32)
        assert (window == 9).any()
        torch.testing.assert_close(cropped[0], window)


def test_an_object_crop_of_an_empty_scene_has_a_random_position():
    empty = torch.zeros(80, 120, dtype=torch.uint8)
    assert augment(build_augmentation("object_crop"), empty.expand(3, -1, -1), empty)[1].shape == (32, 32)
    assert augment(build_augmentation("object_crop"), empty.expand(3, -1, -1))[0].shape == (3, 32, 32)
