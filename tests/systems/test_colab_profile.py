"""Proves that profile colab is reckoned to fit a T4's hour and Colab's disk. Nothing was measured on a T4.

Reckoned: a T4 computes 65 TFLOP/s in fp16 and reaches 30 % of that; a training step costs three times a forward pass.
Two cores of a laptop write thirteen generated videos a second, and Colab's two are taken to be half as fast; so they
take ten minutes where lesson 04 fits object dynamics and forecasts with it. Installing takes a minute.
"""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vidseg_utils.models import build_model
from vidseg_utils.profiles import get_profile
from vidseg_utils.systems import SegmenterRecipe, SimVPRecipe, Workspace
from vidseg_utils.task import CLIP_FRAMES

FLOPS_A_SECOND = 0.3 * 65e12
VIDEOS_A_SECOND, INSTALL_SECONDS, OBJECT_DYNAMICS_SECONDS = 6, 60, 600
COLAB_DISK_BYTES = 12e9


@pytest.fixture
def colab(tmp_path):
    return Workspace(get_profile("colab"), root=tmp_path, runs=tmp_path)


def training_seconds(recipe, n_train, n_val, shape):
    """Of all epochs. shape: of one sample."""
    name, config = recipe.model()
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build_model(name, **config)(torch.empty(1, *shape))
    return recipe.sizes.epochs * (3 * n_train + n_val) * counter.get_total_flops() / FLOPS_A_SECOND


def test_the_core_lessons_are_reckoned_to_end_within_an_hour(colab, monkeypatch):
    monkeypatch.setattr(SimVPRecipe, "splits", ["train", "unlabeled"])
    profile, segmenter, predictor = colab.profile, SegmenterRecipe(colab), SimVPRecipe(colab)
    frames = profile.train * CLIP_FRAMES // segmenter.sizes.frames_every
    frame = (3, profile.height, profile.width)
    unet = training_seconds(segmenter, frames, 2 * profile.val, frame)
    simvp = training_seconds(predictor, profile.train + profile.unlabeled, profile.val, (11, *frame))
    generating = sum(profile.split_sizes.values()) / VIDEOS_A_SECOND
    assert 5 * 60 < unet + simvp < 10 * 60
    # each lesson on a machine of its own: 01 to 04 generate; without Drive, 02, 03 and 04 train U-Net, 03 and 04 SimVP
    on_the_cpu = 5 * INSTALL_SECONDS + 4 * generating + OBJECT_DYNAMICS_SECONDS
    assert on_the_cpu + 3 * unet + 2 * simvp < 60 * 60


def test_the_data_fit_on_colabs_disk(colab):
    assert colab.profile.disk_bytes < COLAB_DISK_BYTES / 2  # runs, and packages, need some too
