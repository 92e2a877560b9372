"""Profiles are found by name or environment variable, and single sizes can be replaced."""

import pytest

from vidseg_utils.profiles import PROFILES, get_profile


def test_auto_reads_the_environment_and_falls_back_to_cpu(monkeypatch):
    monkeypatch.delenv("VIDSEG_PROFILE", raising=False)
    assert get_profile().name == "cpu"
    monkeypatch.setenv("VIDSEG_PROFILE", "smoke")
    assert get_profile() == PROFILES["smoke"]
    assert get_profile("gpu").split_sizes == {"train": 1000, "val": 1000, "unlabeled": 13000, "hidden": 2000}


def test_a_single_size_can_be_replaced():
    assert get_profile("smoke", unet_epochs=3).unet_epochs == 3


def test_unknown_profiles_and_sizes_are_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"unknown profile 'tpu'; choose from \['cpu', 'gpu', 'smoke'\]"):
        get_profile("tpu")
    with pytest.raises(ValueError, match="unknown size 'unet_epoch'"):
        get_profile("cpu", unet_epoch=3)
