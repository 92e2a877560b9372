"""Proves that pseudo-labels are the segmenter's, made once, resumed, and remade for another segmenter or split."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers import fill_cache
from vidseg_utils.data import open_split
from vidseg_utils.systems.pseudo_labels import PseudoLabelledClips, label_split, without_late_objects
from vidseg_utils.training.weights import weights_hash

HEIGHT, WIDTH = 16, 24


class Brightness(nn.Module):
    """Says class 7 where the picture is brighter than a threshold; counts the videos, and may be interrupted."""

    def __init__(self, threshold=0.5, fails_at=None):
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(threshold))
        self.videos, self.fails_at = 0, fails_at

    def forward(self, images):
        if self.videos == self.fails_at:
            raise KeyboardInterrupt
        self.videos += 1
        logits = torch.zeros(len(images), 49, *images.shape[-2:])
        logits[:, 7] = images.mean(dim=1) - self.threshold
        return logits


@pytest.fixture(scope="module")
def fill():
    """fill(root, key="…", videos=20): clips of noise at the working size."""

    def fill(root, *, key, videos=20):
        rng = np.random.default_rng(0)
        clips = ((number, rng.integers(0, 255, (22, 3, 160, 240), dtype=np.uint8), None) for number in range(videos))
        fill_cache(root, "unlabeled", clips, key=key)
        return open_split(root, "unlabeled", height=HEIGHT, width=WIDTH, progress=False)

    return fill


@pytest.fixture(scope="module")
def split(tmp_path_factory, fill):
    return fill(tmp_path_factory.mktemp("data"), key="test")


def labels_of(segmenter, split, **options):
    return label_split(segmenter, split, progress=False, **options)


def test_labels_are_the_segmenters_masks_and_made_once(split):
    segmenter = Brightness()
    labels = labels_of(segmenter, split)
    bright = np.asarray(split.frames, dtype=np.float32).mean(axis=2) / 255 > 0.5
    assert labels.shape == (20, 22, HEIGHT, WIDTH)
    assert labels.dtype == np.uint8
    assert (np.where(bright, 7, 0) == labels).mean() > 0.999  # except for rounding
    assert segmenter.videos == 20
    np.testing.assert_array_equal(labels_of(segmenter, split), labels)
    assert segmenter.videos == 20


def test_another_segmenter_makes_them_stale(split):
    before = np.array(labels_of(Brightness(), split))
    other = Brightness(threshold=0.4)
    assert (labels_of(other, split) > before).any()
    assert other.videos == 20


def test_a_split_that_was_cached_anew_makes_them_stale(tmp_path, fill):
    labels_of(Brightness(), fill(tmp_path, key="first", videos=2))
    again = Brightness()
    labels_of(again, fill(tmp_path, key="second", videos=2))
    assert again.videos == 2


def test_an_interrupted_labelling_resumes_with_the_same_result(split):
    whole = np.array(labels_of(Brightness(0.3), split))
    with pytest.raises(KeyboardInterrupt):
        labels_of(Brightness(0.45, fails_at=3), split)
    with pytest.raises(KeyboardInterrupt):
        labels_of(Brightness(0.3, fails_at=18), split)
    rest = Brightness(0.3)
    np.testing.assert_array_equal(labels_of(rest, split), whole)
    assert rest.videos == 2  # the first 18 had been saved


@pytest.mark.parametrize("name", ["progress.json", "masks.npy"])
def test_damaged_labels_are_made_again(split, name):
    labels = labels_of(Brightness(), split, n_frames=2)
    expected, folder = np.array(labels), Path(labels.filename).parent
    del labels
    (folder / name).write_bytes(b"nonsense")
    np.testing.assert_array_equal(labels_of(Brightness(), split, n_frames=2), expected)


def test_identity_changes_with_any_weight():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    before = weights_hash(model)
    assert weights_hash(model) == before
    model[1].running_mean[0] += 1e-6
    assert weights_hash(model) != before


def test_clips_with_pseudo_labels_have_the_items_of_labelled_clips(split):
    clips = PseudoLabelledClips(split, labels_of(Brightness(), split))
    item = clips[3]
    assert len(clips) == 20
    assert item["frames"].shape == (22, 3, HEIGHT, WIDTH)
    assert item["masks"].dtype == torch.uint8
    np.testing.assert_array_equal(item["masks"], labels_of(Brightness(), split)[3])
    with pytest.raises(ValueError, match="don't fit"):
        PseudoLabelledClips(split, labels_of(Brightness(), split, n_frames=11))


def test_cleaning_keeps_videos_without_late_objects():
    masks = np.zeros((5, 22, 4, 6), dtype=np.uint8)
    masks[0, :, 0] = 5  # always there
    masks[1, 11:, 0] = 5  # comes with the first future frame
    masks[2, 10:, 0] = 5  # just in time
    masks[3, 15, 0, :2] = 5  # two pixels in one frame
    masks[4, 11:, 0] = 255  # no class at all
    assert without_late_objects(masks, least_px=1).tolist() == [True, False, True, False, True]
    assert without_late_objects(masks, least_px=3).tolist() == [True, False, True, True, True]
