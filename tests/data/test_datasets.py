"""Frames and clips from the cache: the right pixels in the right batch, also in workers, and no copy of the file."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.helpers import make_frames, make_masks
from vidseg_utils.data.cache import open_split
from vidseg_utils.data.datasets import ClipDataset, FrameDataset, collate
from vidseg_utils.data.transforms import build_augmentation


@pytest.fixture(scope="module")
def train(small_root):
    return open_split(small_root, "train", progress=False)


def test_a_clip_is_the_video(train):
    item = ClipDataset(train)[1]
    np.testing.assert_array_equal(item["frames"], make_frames(2))
    np.testing.assert_array_equal(item["masks"], make_masks(2))
    assert item["number"] == 2
    assert item["frames"].dtype == item["masks"].dtype == torch.uint8


def test_frames_of_all_videos_follow_each_other(train):
    frames = FrameDataset(train)
    assert len(frames) == 66
    np.testing.assert_array_equal(frames[22 + 7]["frame"], make_frames(2)[7])
    np.testing.assert_array_equal(frames[-1]["mask"], make_masks(10)[21])
    with pytest.raises(IndexError):
        frames[66]


def test_every_third_frame(train):
    frames = FrameDataset(train, every=3)
    assert len(frames) == 3 * 8
    np.testing.assert_array_equal(frames[8 + 2]["frame"], make_frames(2)[6])


def test_clips_without_labels(small_root):
    clips = ClipDataset(open_split(small_root, "hidden", progress=False))
    assert set(clips[0]) == {"frames", "number"}
    assert clips[1]["number"] == 15001
    labelled = ClipDataset(open_split(small_root, "val", progress=False), masks=False)
    assert set(labelled[0]) == {"frames", "number"}
    with pytest.raises(ValueError, match="'hidden' has no masks"):
        FrameDataset(clips.cache)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("own_collate", [True, False])
def test_batches_are_the_same_however_they_are_collated(train, workers, own_collate):
    options = {"collate_fn": collate} if own_collate else {}
    loader = DataLoader(ClipDataset(train), batch_size=2, num_workers=workers, **options)
    first, last = list(loader)
    assert first["number"].tolist() == [0, 2]
    assert last["frames"].shape == (1, 22, 3, 160, 240)
    np.testing.assert_array_equal(first["frames"][1], make_frames(2))
    np.testing.assert_array_equal(last["masks"][0], make_masks(10))


def test_a_batch_is_copied_once(train):
    clips = ClipDataset(train)
    items = clips.__getitems__([2, 0])
    batch = collate(items)
    assert batch["frames"][1].data_ptr() == items[1]["frames"].data_ptr()


def test_changing_an_item_does_not_change_the_cache(train):
    ClipDataset(train)[0]["frames"].zero_()
    FrameDataset(train)[0]["mask"].fill_(9)
    np.testing.assert_array_equal(train.frames[0], make_frames(0))
    np.testing.assert_array_equal(train.masks[0], make_masks(0))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_transform_reaches_every_item(train, workers):
    flips = build_augmentation("hflip", "vflip", "rotate")
    for kind, key in ((FrameDataset, "mask"), (ClipDataset, "masks")):
        torch.manual_seed(0)
        dataset = kind(train, transform=flips)
        batch = next(iter(DataLoader(dataset, batch_size=3, collate_fn=collate, num_workers=workers)))
        assert (batch[key] == 255).any()  # corners that rotation brings in from outside
        assert batch[key].shape[-2:] == (160, 240)
