"""Cityscapes: the right frames around each label, its 20 classes, and the label on its own frame only."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from vidseg_utils.data import dataset_identity
from vidseg_utils.data.faults import Fault
from vidseg_utils.data.sources.cityscapes import CLASS_NAMES, CLASS_OF_ID, CityscapesSequences

HEIGHT, WIDTH = 32, 64


def _write(root, city, sequence, labelled, frames, label):
    """Frames are one grey level each, their number modulo 200."""
    pictures, labels = root / "leftImg8bit_sequence" / "train" / city, root / "gtFine" / "train" / city
    pictures.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    for number in frames:
        picture = np.full((HEIGHT, WIDTH, 3), number % 200, np.uint8)
        Image.fromarray(picture).save(pictures / f"{city}_{sequence:06d}_{number:06d}_leftImg8bit.png")
    Image.fromarray(label).save(labels / f"{city}_{sequence:06d}_{labelled:06d}_gtFine_labelIds.png")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("cityscapes")
    label = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)  # all 256 values
    _write(root, "aachen", 0, 19, range(30), label)
    _write(root, "hamburg", 3, 1019, range(1000, 1030), label)  # a long recording, cut into snippets
    _write(root, "ulm", 1, 19, range(17, 30), label)  # its first frames are missing
    return root


def _numbers(item):
    return item["frames"][:, 0, 0, 0].tolist()


def _labelled(item):
    return [position for position, mask in enumerate(item["masks"]) if (mask != 255).any()]


def test_the_nineteen_training_classes_and_a_twentieth(root):
    published = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13,
                 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip
    assert [CLASS_OF_ID[i] for i in range(256)] == [published.get(i, 19) for i in range(256)]
    assert len(CLASS_NAMES) == 20
    mask = CityscapesSequences(root, "train", 1)[0]["masks"][0]
    assert mask.shape == (HEIGHT, WIDTH)
    assert mask[0, 26] == CLASS_NAMES.index("car")
    assert mask.unique().tolist() == list(range(20))


def test_the_home_folder_may_be_written_as_a_tilde(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert len(CityscapesSequences(f"~/{root.name}", "train", 1)) == len(CityscapesSequences(root, "train", 1))
    assert dataset_identity(f"~/{root.name}") == dataset_identity(root)


def test_a_sequence_ends_at_the_labelled_frame(root, caplog):
    with caplog.at_level(logging.WARNING):
        sequences = CityscapesSequences(root, "train", 5)
    assert len(sequences) == 2
    assert "left out 1 of 3 snippets" in caplog.text
    assert _numbers(sequences[0]) == [15, 16, 17, 18, 19]
    assert _numbers(sequences[1]) == [n % 200 for n in range(1015, 1020)]
    assert _labelled(sequences[0]) == [4]
    assert sequences[0]["frames"].shape == (5, 3, HEIGHT, WIDTH)


def test_the_label_belongs_to_its_frame_at_a_random_position(root):
    sequences = CityscapesSequences(root, "train", 5, random_position=True)
    assert len(sequences) == 3  # in ulm the label can have position 0, 1 or 2
    torch.manual_seed(0)
    for item, allowed in ((0, {0, 1, 2, 3, 4}), (2, {0, 1, 2})):
        seen = set()
        for _ in range(40):
            sample = sequences[item]
            (position,) = _labelled(sample)
            assert _numbers(sample)[position] == 19
            seen.add(position)
        assert seen == allowed


def test_frames_can_be_skipped(root):
    assert _numbers(CityscapesSequences(root, "train", 4, step=6)[0]) == [1, 7, 13, 19]


def test_a_sequence_can_be_as_long_as_the_snippet(root):
    sequences = CityscapesSequences(root, "train", 30, random_position=True)
    assert _labelled(sequences[0]) == [19]
    with pytest.raises(ValueError, match="has a sequence of 21 frames"):
        CityscapesSequences(root, "train", 21)


def test_frames_and_mask_are_scaled_and_cropped_together(root):
    crop = v2.RandomCrop((8, 12))
    item = CityscapesSequences(root, "train", 3, size=(16, 32), transform=crop)[0]
    assert item["frames"].shape == (3, 3, 8, 12)
    assert item["masks"].shape == (3, 8, 12)


def test_missing_folders_are_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="gtFine/val is missing"):
        CityscapesSequences(root, "val")
    with pytest.raises(FileNotFoundError, match="is missing"):
        CityscapesSequences(tmp_path, "train")


def test_a_damaged_frame_is_one_line_from_a_loader_process_too(root):
    path = next((root / "leftImg8bit_sequence" / "train").glob("*/*_000019_leftImg8bit.png"))
    path.write_bytes(path.read_bytes()[:100])
    sequences = CityscapesSequences(root, "train", 3)
    for workers in (0, 1):
        with pytest.raises(Fault) as error:
            list(DataLoader(sequences, num_workers=workers, multiprocessing_context="fork" if workers else None))
        assert str(error.value) == f"{path}: unreadable image (cut off after 100 bytes)"


def test_labels_of_another_kind_are_named(root):
    for path in (root / "gtFine" / "train").glob("*/*_labelIds.png"):
        path.rename(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    with pytest.raises(ValueError, match=r"holds labels of another kind, such as labelTrainIds; .*_labelIds\.png"):
        CityscapesSequences(root, "train")
