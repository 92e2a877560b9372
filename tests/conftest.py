"""Fixtures for all rooms. Tests use one thread: small tensors gain nothing from more, and a busy machine loses much."""

import shutil
from pathlib import Path

import jaxtyping
import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_style():
    """What a test changes in matplotlib's defaults ends with it: each test sees the same, in any order."""
    with mpl.rc_context():
        yield


@pytest.fixture
def unchecked_shapes():
    """Annotated shapes are not checked, so that a wrong one reaches the function's own error message."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of the test's own for data, runs and figures."""
    monkeypatch.setenv("VIDSEG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VIDSEG_PROFILE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def tiny_cityscapes(tmp_path):
    """Root of a Cityscapes tree of 64x128 pixels, two snippets a split: a car drives between road and sky."""
    root, height = tmp_path / "cityscapes", 64
    for split, city in (("train", "aachen"), ("val", "bonn")):
        pictures, labels = root / "leftImg8bit_sequence" / split / city, root / "gtFine" / split / city
        pictures.mkdir(parents=True)
        labels.mkdir(parents=True)
        for sequence in range(2):
            for number in range(8, 22):  # the labelled one is number 19
                label = np.full((height, 2 * height), 7, np.uint8)  # road
                label[: height // 2] = 23  # sky
                label[height // 2 : height * 3 // 4, 2 * number : 2 * number + 30] = 26  # car
                picture = np.stack([label * 4, label * 9, 255 - label * 5], axis=-1)
                name = f"{city}_{sequence:06d}_{number:06d}"
                Image.fromarray(picture).save(pictures / f"{name}_leftImg8bit.png")
                if number == 19:
                    Image.fromarray(label).save(labels / f"{name}_gtFine_labelIds.png")
    return root


@pytest.fixture(scope="session")
def real_sample() -> Path:
    """Root of some of the course's own videos, for tests marked `real_data`. Do not change it."""
    root = Path(__file__).resolve().parents[2] / "shared" / "data" / "competition_sample"
    if not root.is_dir():
        pytest.skip(f"{root} is absent")
    return root


@pytest.fixture
def read_only_sample(real_sample, tmp_path):
    """A copy of the course's videos that nobody may write to, not even a superuser who heeds the mode."""
    made_by_us = shutil.ignore_patterns(".cache", "check_report.json")
    root = shutil.copytree(real_sample, tmp_path / "sample", ignore=made_by_us)
    paths = [root, *root.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield root
    for path in paths:
        path.chmod(0o755)
