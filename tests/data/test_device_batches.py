"""Proves that data on the device have the samples of the data set that they were copied from, if they fit."""

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset

from tests.helpers import fill_cache, moving_square
from vidseg_utils.data import ClipDataset, FrameDataset, MaskDataset, build_augmentation, collate
from vidseg_utils.data.datasets import labelled_masks
from vidseg_utils.data.device_batches import DeviceBatches, fits_on_device, hold_on_device

CPU, GPU = torch.device("cpu"), torch.device("cuda")  # the CPU holds all data, in place of a GPU


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return fill_cache(tmp_path_factory.mktemp("data"), "train", map(moving_square, range(3)))


@pytest.fixture(params=["frames", "clips", "unlabelled clips", "masks", "two sets"])
def data(request, split):
    masks = labelled_masks(split)
    return {
        "frames": lambda: FrameDataset(split, every=4),
        "clips": lambda: ClipDataset(split),
        "unlabelled clips": lambda: ClipDataset(split, masks=False),
        "masks": lambda: MaskDataset(masks, masks),
        "two sets": lambda: ConcatDataset([MaskDataset(masks[:2], masks[:2]), MaskDataset(masks[:, :11], masks)]),
    }[request.param]()


def test_batches_are_those_of_the_data_set(data):
    held = hold_on_device(data, CPU)
    assert isinstance(held, DeviceBatches)
    assert len(held) == len(data)
    for ours, theirs in zip(*(DataLoader(d, batch_size=4, collate_fn=collate) for d in (held, data)), strict=True):
        assert ours.keys() == theirs.keys()
        for name, batch in ours.items():
            assert torch.equal(batch, theirs[name])
            assert batch.dtype == theirs[name].dtype
    assert held[len(data) - 1].keys() == data[len(data) - 1].keys()
    with pytest.raises(IndexError):
        held[len(data)]


def test_frames_are_augmented_in_batches(split):
    data = FrameDataset(split, transform=build_augmentation("hflip", "object_crop"), every=2)
    held = hold_on_device(data, CPU)
    torch.manual_seed(0)
    (batch,) = DataLoader(held, batch_size=len(held), collate_fn=collate)
    assert batch["frame"].shape == (33, 3, 48, 64)
    assert batch["mask"].shape == (33, 48, 64)
    assert torch.equal(batch["frame"][:, 0] == 220, batch["mask"] == 9)  # pictures and masks change alike
    torch.manual_seed(0)
    (again,) = DataLoader(held, batch_size=len(held), collate_fn=collate)
    assert torch.equal(batch["frame"], again["frame"])


def test_what_cannot_be_held_stays_as_it_is(split):
    others = [
        FrameDataset(split, transform=build_augmentation("real")),
        ClipDataset(split, transform=build_augmentation("hflip")),
        ConcatDataset([ClipDataset(split), ClipDataset(split, masks=False)]),
        ConcatDataset([FrameDataset(split), FrameDataset(split)]),
        Subset(ClipDataset(split), [0]),
    ]
    for data in others:
        assert not fits_on_device(data, CPU)
        assert hold_on_device(data, CPU) is data


def test_data_take_at_most_half_of_the_free_memory_of_a_gpu(split, monkeypatch):
    n_bytes = 3 * 6 * 4 * 160 * 240  # 3 videos, 6 frames each, 3 colours and a label
    free = 2 * n_bytes
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (free, 10 * free))
    data = FrameDataset(split, every=4)
    assert fits_on_device(data, GPU)
    free -= 1
    assert not fits_on_device(data, GPU)
    assert hold_on_device(data, GPU) is data
