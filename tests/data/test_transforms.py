"""Augmentation changes an image and its mask together, all frames of a clip alike, and never creates a new label."""

import pytest
import torch

from vidseg_utils.data.datasets import to_float
from vidseg_utils.data.transforms import AUGMENTATIONS, IgnoreRim, augment, build_augmentation


def _clip():
    """A blob whose red value is its label times 5, in 4 frames that are all the same."""
    masks = torch.zeros(4, 80, 120, dtype=torch.uint8)
    masks[:, 10:40, 20:60] = 7
    masks[:, 50:75, 70:110] = 48
    frames = torch.stack([masks * 5, masks, masks], dim=1)
    return frames, masks


GEOMETRY = ("hflip", "vflip", "crop", "rotate")
KEEP_SIZE = [name for name in AUGMENTATIONS if name != "object_crop"]


@pytest.mark.parametrize("name", GEOMETRY)
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


APPEARANCE = ("resample", "codec", "light", "object_light", "real")


@pytest.mark.parametrize("name", APPEARANCE)
def test_a_change_of_appearance_leaves_the_mask_and_follows_the_seed(name):
    frames, masks = _clip()
    frames[:, :, 20:30, 30:50] = 200  # a pattern, which scaling and JPEG change
    for pictures, labels in ((frames, masks), (frames[0], masks[0])):
        outcomes = []
        for seed in (0, 1, 2, 3, 4, 0):
            torch.manual_seed(seed)
            changed, same = augment(build_augmentation(name), pictures, labels)
            assert changed.shape == pictures.shape and changed.dtype == torch.uint8
            assert torch.equal(same, labels)
            outcomes.append(changed)
        assert torch.equal(outcomes[0], outcomes[5])
        assert any(not torch.equal(pictures, outcome) for outcome in outcomes)
        # a small change: the picture is still the same one
        assert all((outcome.float() - pictures).abs().mean() < 12 for outcome in outcomes)


def test_light_on_objects_spares_the_ground_and_changes_metal_most():
    frame = torch.full((3, 80, 120), 100, dtype=torch.uint8)
    mask = torch.zeros(80, 120, dtype=torch.uint8)
    mask[:, 40:80], mask[:, 80:110], mask[:, 110:] = 1, 9, 255  # metal, rubber and ignored
    change = torch.zeros(80, 120)
    for seed in range(20):
        torch.manual_seed(seed)
        lit, _ = augment(build_augmentation("object_light"), frame, mask)
        change += (lit.float() - frame).abs().mean(dim=0)
    assert (change[(mask == 0) | (mask == 255)] == 0).all()
    assert change[mask == 1].mean() > 2 * change[mask == 9].mean() > 0


def test_light_on_objects_needs_a_mask():
    frames, _ = _clip()
    assert torch.equal(augment(build_augmentation("object_light"), frames)[0], frames)


def test_resampling_softens_an_edge_and_keeps_the_mean():
    frame = torch.zeros(3, 80, 120, dtype=torch.uint8)
    frame[:, :, ::2] = 200  # the finest detail there is
    spreads = []
    for seed in range(12):
        torch.manual_seed(seed)
        resampled, _ = augment(build_augmentation("resample"), frame)
        assert abs(resampled.float().mean().item() - 100) < 2
        spreads.append(resampled.float().std().item())
    assert min(spreads) < 50 and max(spreads) <= frame.float().std().item() + 1


def test_only_pixels_well_inside_a_label_remain_without_the_rim():
    mask = torch.zeros(12, 14, dtype=torch.uint8)
    mask[:, 6:] = 3
    frame = torch.zeros(3, 12, 14, dtype=torch.uint8)
    expected = mask.clone()
    expected[:, 4:8] = 255
    for frames, masks in ((frame, mask), (frame.expand(2, -1, -1, -1), mask.expand(2, -1, -1))):
        kept, inside = augment(IgnoreRim(), frames, masks)
        assert torch.equal(kept, frames)
        assert torch.equal(inside, expected.expand_as(masks))
