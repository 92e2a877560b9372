"""Proves that systems train on a data set that has only training and validation videos, and say so."""

import logging
import shutil

import pytest

from vidseg_utils.data import has_videos
from vidseg_utils.systems import SYSTEMS, build_system
from vidseg_utils.training.run_folder import read_config


@pytest.fixture
def two_splits(root):
    """The data set of `root` without unlabelled and hidden videos; the profile's sizes still ask for some."""
    for split in ("unlabeled", "hidden"):
        for path in (root / ".cache").glob(f"{split}_*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return root


@pytest.mark.parametrize(
    ("system", "run", "recorded"),
    [
        ("simvp_unet", "simvp", {"train_on": ["train"]}),
        ("mask_simvp", "mask_objects", {"unlabeled": False}),
        ("convlstm_unet", "convlstm", {"train_on": ["train"]}),
        ("jepa", "jepa_embeddings", {"train_on": ["train"]}),
    ],
)
def test_without_unlabelled_videos_the_training_videos_are_used(two_splits, workspace, caplog, system, run, recorded):
    here = workspace()
    with caplog.at_level(logging.WARNING):
        SYSTEMS[system].train(here)
    assert [r.getMessage() for r in caplog.records if "no unlabelled videos" in r.getMessage()] == [
        f"{run}: {two_splits} has no unlabelled videos; training on its training videos alone"
    ]
    config = read_config(here.run_folder(run))
    assert config["train_samples"] == 2
    assert recorded.items() <= config.items()
    build_system(system, workspace=here)


def test_semi_supervised_stages_train_on_labelled_videos_alone(two_splits, workspace, caplog):
    here = workspace()
    SYSTEMS["semi_supervised_simvp"].train(here)
    assert "semi_pseudo_labels" not in caplog.text
    assert "pseudo_labels: " in caplog.text
    assert read_config(here.run_folder("semi_pseudo_labels"))["train_samples"] == 2


def test_which_splits_have_videos_is_read_from_the_data(root, tmp_path):
    assert has_videos(root, "unlabeled")  # filled directly, without a folder of images
    (root / "elsewhere" / "hidden").mkdir(parents=True)
    assert not has_videos(root / "elsewhere", "hidden")  # an empty folder
    with pytest.raises(FileNotFoundError, match="no data at"):
        has_videos(tmp_path / "missing", "train")
    with pytest.raises(ValueError, match="unknown split"):
        has_videos(root, "test")
