"""Profiles are found by name or environment variable, and single sizes can be replaced."""

import pytest

from vidseg_utils.profiles import PROFILES, get_profile


def test_auto_reads_the_environment_and_falls_back_to_cpu(monkeypatch):
    monkeypatch.delenv("VIDSEG_PROFILE", raising=False)
    assert get_profile().name == "cpu"
    monkeypatch.setenv("VIDSEG_PROFILE", "smoke")
    assert get_profile() == PROFILES["smoke"]
    assert get_profile("gpu").split_sizes == {"train": 1000, "val": 1000, "unlabeled": 13000, "hidden": 2000}


def test_cpu_full_is_cpu_at_the_size_of_frames_of_the_course():
    laptop, full = get_profile("cpu"), get_profile("cpu_full")
    assert (full.height, full.width) == (get_profile("gpu").height, get_profile("gpu").width) == (160, 240)
    assert (full.split_sizes, full.seed) == (laptop.split_sizes, laptop.seed)  # so it has the same videos
    assert full.unet_base_channels == laptop.unet_base_channels  # so its U-Net can start from the other's weights


def test_a_single_size_can_be_replaced():
    assert get_profile("smoke", unet_epochs=3).unet_epochs == 3


def test_unknown_profiles_and_sizes_are_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"unknown profile 'tpu'; choose from \['cpu', 'cpu_full', 'gpu', 'smoke'\]"):
        get_profile("tpu")
    with pytest.raises(ValueError, match="unknown size 'unet_epoch'"):
        get_profile("cpu", unet_epoch=3)
