"""Proves that a data set is recognised after copying, renaming and storing it otherwise, and other data are not."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.helpers import fill_cache, make_frames, make_masks, write_split
from vidseg_utils.data.identity import dataset_identity, has_grown
from vidseg_utils.data.sources.generate import generate
from vidseg_utils.simulator import PhysicsSettings

SIZES = {"train": 2, "val": 1, "unlabeled": 0, "hidden": 1}


def make(root, **changes):
    generate(root, **({**SIZES, "seed": 5, "processes": 1, "progress": False} | changes))
    return dataset_identity(root)


def test_a_generated_set_is_known_by_seed_physics_and_sizes(tmp_path):
    made = make(tmp_path / "a")
    assert made["text"] == "generated with seed 5 in the world clevrer and course labels: 2 train, 1 val, 1 hidden"
    assert len(made["id"]) == 12
    int(made["id"], 16)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert dataset_identity(tmp_path / "copy") == made
    assert make(tmp_path / "cache", store="cache") == made  # as image files or straight in the cache
    others = [
        make(tmp_path / "seed", seed=6),
        make(tmp_path / "physics", physics=PhysicsSettings(restitution=0.5)),
        make(tmp_path / "a", val=2),  # it grows
    ]
    assert len({identity["id"] for identity in [made, *others]}) == 4
    assert '"restitution": 0.5' in others[1]["text"]
    assert [has_grown(made, other) for other in [made, *others]] == [False, False, False, True]
    other_physics = make(tmp_path / "physics, too", physics=PhysicsSettings(restitution=0.4))
    assert not has_grown(others[1], other_physics)


def test_a_set_whose_generation_was_interrupted_is_another_one(tmp_path):
    made = make(tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / "train" / "video_1")
    now = dataset_identity(tmp_path / "a")
    assert now["text"] == "generated with seed 5 in the world clevrer and course labels: 1 train, 1 val, 1 hidden"
    assert has_grown(now, made)


@pytest.fixture
def root(tmp_path):
    write_split(tmp_path / "real", "train", range(7))
    write_split(tmp_path / "real", "val", [7])
    return tmp_path / "real"


def test_any_other_set_is_known_by_numbers_and_pixels(root, tmp_path):
    real = dataset_identity(root)
    assert real["text"] == "not generated: 7 train, 1 val"
    write_split(tmp_path / "padded", "train", range(7), pattern="video_{:05d}")
    write_split(tmp_path / "padded", "val", [7])
    assert dataset_identity(tmp_path / "padded") == real
    path = root / "train" / "video_0" / "image_0.png"
    before = path.read_bytes()
    Image.open(path).save(path, optimize=True)  # the same pixels
    assert path.read_bytes() != before
    assert dataset_identity(root) == real
    fill_cache(tmp_path / "cache", "train", [(n, make_frames(n), make_masks(n)) for n in range(7)])
    fill_cache(tmp_path / "cache", "val", [(7, make_frames(7), make_masks(7))])
    assert dataset_identity(tmp_path / "cache") == real


@pytest.mark.parametrize("change", ["frame", "mask", "number", "fewer", "damage"])
def test_another_pixel_label_or_number_is_another_set(root, change):
    real, video = dataset_identity(root), root / "train" / "video_6"
    if change == "frame":
        Image.new("RGB", (240, 160), (1, 2, 3)).save(video / "image_0.png")
    elif change == "mask":
        np.save(video / "mask.npy", make_masks(3))
    elif change == "number":
        video.rename(root / "train" / "video_60")
    elif change == "fewer":
        shutil.rmtree(root / "train" / "video_1")
    else:
        (video / "mask.npy").write_bytes(b"damaged")
    assert dataset_identity(root)["id"] != real["id"]


def test_cityscapes_has_an_identity(tiny_cityscapes, tmp_path):
    street = dataset_identity(tiny_cityscapes)
    assert street["text"] == "Cityscapes: 4 labelled frames"
    shutil.copytree(tiny_cityscapes, tmp_path / "copy")
    assert dataset_identity(tmp_path / "copy") == street
    label = next((tmp_path / "copy" / "gtFine" / "train").rglob("*_labelIds.png"))
    Image.fromarray(np.zeros((64, 128), np.uint8)).save(label)
    assert dataset_identity(tmp_path / "copy")["id"] != street["id"]


def test_no_data_have_no_identity(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no data at .*nowhere; make some"):
        dataset_identity(tmp_path / "nowhere")
    (tmp_path / "generated.json").write_text(json.dumps({"seed": 0}))
    with pytest.raises(ValueError, match="has no videos in any of the splits"):
        dataset_identity(tmp_path)
