"""Proves that profiles are found by name or environment variable, and single sizes can be replaced."""

import pytest

from vidseg_utils.profiles import PROFILES, Sizes, get_profile
from vidseg_utils.systems import Workspace
from vidseg_utils.systems.simvp_unet import SimVPSizes
from vidseg_utils.systems.unet_segmenter import UNetSizes


def test_auto_reads_the_environment_and_falls_back_to_cpu(monkeypatch):
    monkeypatch.delenv("VIDSEG_PROFILE", raising=False)
    assert get_profile().name == "cpu"
    monkeypatch.setenv("VIDSEG_PROFILE", "smoke")
    assert get_profile() == PROFILES["smoke"]
    assert get_profile("gpu").split_sizes == {"train": 1000, "val": 1000, "unlabeled": 13000, "hidden": 2000}


def test_auto_is_colab_on_a_gpu_of_colab(monkeypatch):
    monkeypatch.delenv("VIDSEG_PROFILE", raising=False)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab_20261120")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert get_profile().name == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert get_profile().name == Workspace.for_profile(device="cpu").profile.name == "colab"
    monkeypatch.setenv("VIDSEG_PROFILE", "smoke")
    assert get_profile().name == "smoke"


def test_the_disk_of_a_profile_is_reckoned():
    assert get_profile("colab").disk_bytes < 12e9
    assert get_profile("gpu").disk_bytes == pytest.approx(70e9, rel=0.02)


def test_cpu_full_is_cpu_at_the_size_of_frames_of_the_course():
    laptop, full = get_profile("cpu"), get_profile("cpu_full")
    assert (full.height, full.width) == (get_profile("gpu").height, get_profile("gpu").width) == (160, 240)
    assert (full.split_sizes, full.seed) == (laptop.split_sizes, laptop.seed)  # so it has the same videos
    laptop_unet, full_unet = UNetSizes.for_profile(laptop), UNetSizes.for_profile(full)
    assert full_unet.base_channels == laptop_unet.base_channels  # so weights can be taken over
    assert full_unet.epochs != laptop_unet.epochs


def test_a_single_size_can_be_replaced():
    profile = get_profile("smoke", {"height": 16, "unet.epochs": 3})
    assert (profile.height, profile.width) == (16, 60)
    assert (UNetSizes.for_profile(profile).epochs, UNetSizes.for_profile(profile).batch_size) == (3, 8)
    assert SimVPSizes.for_profile(profile).epochs == 1


@pytest.mark.parametrize(
    ("text", "size", "value"),
    [
        ("3", "unet.epochs", 3),
        ("1e-4", "unet.learning_rate", 1e-4),
        ("false", "simvp.residual", False),
        ("flat", "unet.head", "flat"),
        ("hflip,rotate", "unet.augmentation", ("hflip", "rotate")),
        ("", "unet.augmentation", ()),
        (1, "unet.learning_rate", 1.0),
        (["hflip"], "unet.augmentation", ("hflip",)),
    ],
)
def test_a_size_is_read_as_its_type(text, size, value):
    group, _, name = size.partition(".")
    found = getattr(Sizes.groups[group].for_profile(get_profile("smoke", {size: text})), name)
    assert (found, type(found)) == (value, type(value))


def test_unknown_profiles_and_sizes_are_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"unknown profile 'tpu'; choose from \['colab', 'cpu', .*'gpu', 'smoke'\]"):
        get_profile("tpu")
    with pytest.raises(ValueError, match=r"unknown size 'hight'; choose from \['train', .*'height'"):
        get_profile("cpu", {"hight": 3})
    with pytest.raises(ValueError, match=r"unknown size 'unett.epochs'; recipes with sizes are \[.*'unet'\]"):
        Workspace.for_profile("cpu", sizes={"unett.epochs": 3})
    with pytest.raises(
        ValueError, match=r"unknown size 'unet.epoch'; choose from \['unet.base_channels', .*'unet.epochs'"
    ):
        Workspace.for_profile("cpu", sizes={"unet.epoch": 3})


@pytest.mark.parametrize("value", ["many", 2.5, True, None])
def test_a_size_of_another_type_is_refused(value):
    with pytest.raises(ValueError, match=r"size unet\.epochs takes int, not "):
        Workspace.for_profile("cpu", sizes={"unet.epochs": value})
    with pytest.raises(ValueError, match="size height takes int, not "):
        get_profile("cpu", {"height": value})


def test_every_recipe_has_a_value_for_every_profile():
    assert {"unet", "simvp", "mask", "convlstm", "recurrent", "semi", "interaction", "tokens"} <= set(Sizes.groups)
    for sizes in Sizes.groups.values():
        for profile in PROFILES.values():
            assert all(value is not None for value in vars(sizes.for_profile(profile)).values())
