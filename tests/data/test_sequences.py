"""Sequences for recurrent networks: a label always belongs to its own frame, and each video has its own noise."""

import numpy as np
import pytest
import torch

from vidseg_utils.data.cache import open_split
from vidseg_utils.data.sequences import ClipSequences
from vidseg_utils.data.transforms import build_augmentation


@pytest.fixture(scope="module")
def train(small_root):
    return open_split(small_root, "train", height=40, width=60, progress=False)  # videos 0, 2 and 10


def where(train, index, item):
    """Indices in the clip of the frames of a sequence."""
    return [next(t for t in range(22) if (train.frames[index, t] == f.numpy()).all()) for f in item["frames"]]


def test_a_sequence_starts_with_the_clip_and_has_all_labels(train):
    item = ClipSequences(train, 12)[1]
    np.testing.assert_array_equal(item["frames"], train.frames[1, :12])
    np.testing.assert_array_equal(item["masks"], train.masks[1, :12])


def test_the_labelled_frame_can_have_every_position_in_the_sequence(train):
    torch.manual_seed(0)
    sequences = ClipSequences(train, 4, step=2, labels="one", random_start=True)
    for index, number, positions in ((2, 10, {0, 1, 2, 3}), (1, 2, {0, 1})):  # frame 2 cannot be later
        seen = set()
        for _ in range(40):
            item = sequences[index]
            (position,) = [p for p, mask in enumerate(item["masks"]) if (mask != 255).any()]
            frames = where(train, index, item)
            assert np.diff(frames).tolist() == [2, 2, 2]
            assert frames[position] == number
            np.testing.assert_array_equal(item["masks"][position], train.masks[index, number])
            seen.add(position)
        assert seen == positions


def test_all_frames_and_masks_change_alike(train):
    plain, crop = ClipSequences(train, 5)[0], build_augmentation("hflip", "object_crop")
    torch.manual_seed(1)
    item = ClipSequences(train, 5, transform=crop)[0]
    height, width = item["frames"].shape[-2:]
    assert item["masks"].shape[-2:] == (height, width) != (40, 60)
    for flip in (False, True):
        frames, masks = (plain[key].flip(-1) if flip else plain[key] for key in ("frames", "masks"))
        for top in range(41 - height):
            for left in range(61 - width):
                window = (..., slice(top, top + height), slice(left, left + width))
                if torch.equal(frames[window], item["frames"]):
                    assert torch.equal(masks[window], item["masks"])
                    return
    raise AssertionError("no common window holds all frames")


def test_a_frame_has_the_same_noise_every_time(train):
    clean, noisy = ClipSequences(train, 12), ClipSequences(train, 12, noise=0.1)
    first, again = noisy[1]["frames"], noisy[1]["frames"]
    assert torch.equal(first, again)
    assert torch.equal(ClipSequences(train, 3, noise=0.1)[1]["frames"], first[:3])  # for any part of the clip
    grain = first.float() - clean[1]["frames"].float()
    assert grain.std() == pytest.approx(25.5, rel=0.05)
    other = noisy[0]["frames"].float() - clean[0]["frames"].float()
    for first_grain, second_grain in (
        (grain[0], grain[1]),
        (grain[0], other[0]),
    ):  # each frame of each video has its own noise
        assert abs(float(torch.corrcoef(torch.stack([first_grain.flatten(), second_grain.flatten()]))[0, 1])) < 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 12, "step": 2}, "12 frames with step 2 span 23; a clip has 22"),
        ({"length": 0}, "must be at least 1"),
        ({"length": 5, "labels": "some"}, r"unknown labels 'some'; choose from \['all', 'one'\]"),
        ({"length": 5, "noise": -1}, "noise is a standard deviation"),
    ],
)
def test_impossible_sequences_are_refused(train, options, message):
    with pytest.raises(ValueError, match=message):
        ClipSequences(train, **options)


def test_a_split_without_labels_is_refused(small_root):
    with pytest.raises(ValueError, match="'hidden' has no masks"):
        ClipSequences(open_split(small_root, "hidden", progress=False), 5)
