"""Proves which speedups a training gets, that they are recorded, and that it keeps them when it resumes."""

import importlib.util

import pytest
import torch
from torch.utils.data import Subset

from tests.helpers import NoisyStripes, fill_cache, moving_square, toy_fit, toy_step
from vidseg_utils.data import FrameDataset, build_augmentation, to_float
from vidseg_utils.models import build_model
from vidseg_utils.paths import write_json
from vidseg_utils.training import speedups
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.loop import fit
from vidseg_utils.training.run_folder import read_config
from vidseg_utils.training.speedups import choose_speedups

CPU, GPU = torch.device("cpu"), torch.device("cuda")
OPEN = ("precision", "channels_last", "compile", "data_on_device")


@pytest.fixture
def choose(tmp_path, monkeypatch):
    """A function that returns the speedups of a training on a pretended GPU with units for bf16."""
    monkeypatch.setattr(speedups, "fastest_precision", lambda device: "bf16")
    monkeypatch.setattr(speedups, "fits_on_device", lambda data, device: True)

    def chosen(network, device=GPU, n_processes=1, **settings):
        config = choose_speedups(
            FitConfig(**{"precision": "auto", **settings}),
            run=tmp_path,
            network=network,
            train_data=NoisyStripes(30),
            device=device,
            n_processes=n_processes,
        )
        return tuple(getattr(config, name) for name in OPEN)

    return chosen


def test_what_pays_depends_on_the_network_and_the_device(choose):
    assert choose("unet") == ("bf16", True, False, True)
    assert choose("simvp") == ("bf16", False, False, True)
    assert choose("mask_simvp") == ("no", False, False, True)
    assert choose(None) == choose("deeplabv3") == ("bf16", True, False, True)
    assert choose("unet", CPU) == ("bf16", True, False, False)


def test_only_a_long_training_of_one_process_is_compiled(choose):
    assert not choose("simvp", epochs=1666)[2]
    assert choose("simvp", epochs=1667)[2]  # 30 samples each
    assert not choose("simvp", epochs=1667, n_processes=2)[2]
    assert not choose("mask_simvp", epochs=10**6)[2]


def test_settings_that_are_given_stay(choose):
    given = {"precision": "no", "channels_last": True, "compile": True, "data_on_device": False}
    assert choose("mask_simvp", **given) == tuple(given.values())


def test_a_training_goes_on_as_it_has_begun(choose, tmp_path):
    begun = {"precision": "fp16", "channels_last": True, "compile": True, "data_on_device": False}
    write_json(tmp_path / "config.json", {"fit": begun})
    assert choose("mask_simvp", CPU) == choose("mask_simvp") == tuple(begun.values())
    write_json(tmp_path / "config.json", {"fit": {"precision": "no", "channels_last": True}})  # of an earlier version
    assert choose("simvp", epochs=10**6) == ("no", True, False, False)


def test_what_was_chosen_is_recorded_and_a_run_of_an_earlier_version_is_loaded(tmp_path):
    toy_fit(tmp_path / "run", epochs=1)
    config = read_config(tmp_path / "run")
    assert [config["fit"].pop(name) for name in OPEN[1:]] == [True, False, False]
    write_json(tmp_path / "run" / "config.json", config)
    toy_fit(tmp_path / "run", epochs=1, step=None)


def test_a_step_looks_for_no_package_on_the_disk(tmp_path, monkeypatch):
    searched, find = [], importlib.util.find_spec

    def find_and_count(name, package=None):
        searched.append(name)
        return find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_and_count)
    counts = []
    for epochs in (1, 4):
        searched.clear()
        toy_fit(tmp_path / f"{epochs} epochs", epochs=epochs, clip_norm=1.0)
        counts.append(len(searched))
    assert counts[0] == counts[1]


def test_a_compiled_network_trains_and_the_network_itself_validates(tmp_path, monkeypatch):
    trained, validated = [], []

    class Compiled(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, images):
            return self.network(images)

    def step(network, batch):
        trained.append(type(network))
        return toy_step(network, batch)

    def validate(network, loader, device):
        validated.append(type(network))
        return {"accuracy": 1.0}

    monkeypatch.setattr(torch, "compile", Compiled)
    toy_fit(tmp_path / "run", epochs=1, step=step, validate=validate, compile=True)
    assert trained == [Compiled] * 4
    assert validated == [torch.nn.Sequential]


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return fill_cache(tmp_path_factory.mktemp("data"), "train", map(moving_square, range(2)))


def test_a_training_on_data_of_the_device_resumes_bit_for_bit(split, tmp_path):
    """The CPU in place of a GPU; dropout and augmentation are random."""

    def train(run, *, batches=100):
        torch.manual_seed(0)
        model = build_model("unet", base_channels=2)
        steps = []

        def step(network, batch):
            if len(steps) == batches:
                raise KeyboardInterrupt
            steps.append(batch["frame"].shape)
            logits = network(torch.nn.functional.dropout(to_float(batch["frame"]), 0.2))
            return torch.nn.functional.cross_entropy(logits, batch["mask"].long(), ignore_index=255)

        fit(
            model,
            FrameDataset(split, every=5, transform=build_augmentation("hflip", "object_crop", "rotate", "light")),
            Subset(FrameDataset(split), [0]),
            step=step,
            validate=lambda model, loader, device: {"loss": float(len(loader))},
            config=FitConfig(epochs=2, batch_size=4, data_on_device=True),
            run=run,
            description={},
            device=CPU,
        )
        return steps

    assert train(tmp_path / "whole") == [(4, 3, 48, 64), (4, 3, 48, 64), (2, 3, 48, 64)] * 2
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "resumed", batches=4)
    assert len(train(tmp_path / "resumed")) == 3
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "resumed")]
    assert files[0] == files[1]
    assert read_config(tmp_path / "whole")["fit"]["data_on_device"] is True
