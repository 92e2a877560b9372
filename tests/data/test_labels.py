"""Labels from which nothing can be learned or scored are refused in one line; the check of a data set names them."""

import numpy as np
import pytest

from tests.helpers import fill_cache, make_frames, make_masks, write_split
from vidseg_utils.data.check import check_root
from vidseg_utils.data.labels import check_labels
from vidseg_utils.evaluation.evaluate import evaluate_system
from vidseg_utils.systems import SYSTEMS, CopyLast, Workspace


def judged_nowhere(masks):
    masks[:] = 255


def without_frame_21(masks):
    masks[21] = 255


def binary(masks):
    masks[masks > 0] = 255


def background(masks):
    masks[:] = 0


def labelled_as(change, root, *, splits=("train", "val")):
    for split in ("train", "val"):
        videos = []
        for number in (0, 1):
            masks = make_masks(number)
            if split in splits:
                change(masks)
            videos.append((number, make_frames(number), masks))
        fill_cache(root, split, videos)
    return Workspace.for_profile("smoke", root=root, runs=root / "runs", device="cpu")


@pytest.mark.parametrize(
    ("system", "change", "splits", "message"),
    [
        (
            "unet_copy_last",
            judged_nowhere,
            ("train", "val"),
            r"train: the masks have no label in 6 of 22 frames",
        ),
        (
            "unet_copy_last",
            judged_nowhere,
            ("val",),
            r"val: the masks have no label in 2 of 22 frames of any of its 2",
        ),
        (
            "unet_copy_last",
            binary,
            ("train", "val"),
            r"hold no object .* not 255 as in binary masks",
        ),
        ("unet_copy_last", background, ("train",), r"train: the masks hold no object in any of its 2 videos"),
        ("mask_simvp", without_frame_21, ("val",), r"val: the masks have no label in frame 21 of any of its 2 videos"),
        ("semi_supervised_simvp", without_frame_21, ("train",), r"train: the masks have no label in frame 21"),
    ],
)
def test_training_says_what_is_wrong_with_the_labels(tmp_path, system, change, splits, message):
    workspace = labelled_as(change, tmp_path, splits=splits)
    with pytest.raises(ValueError, match=message):
        SYSTEMS[system].train(workspace)


@pytest.mark.parametrize(
    ("change", "message"),
    [(without_frame_21, "no label in frame 21"), (judged_nowhere, "no label in frame 21"), (binary, "hold no object")],
)
def test_evaluation_says_what_is_wrong_with_the_labels(tmp_path, change, message):
    split = labelled_as(change, tmp_path).split("val")
    with pytest.raises(ValueError, match=message):
        evaluate_system(CopyLast(), split, true_masks=True, progress=False)


def test_one_good_video_is_enough(tmp_path):
    videos = [(0, make_frames(0), np.full_like(make_masks(0), 255)), (1, make_frames(1), make_masks(1))]
    check_labels(fill_cache(tmp_path, "train", videos), frames=[21])


@pytest.mark.parametrize(
    ("change", "note", "sound"),
    [
        (judged_nowhere, "all frames: every pixel is 255", False),
        (without_frame_21, "frame 21: every pixel is 255", True),
        (binary, "255 is no object: binary masks need class ids 1 to 48", False),
        (background, "no class id from 1 to 48", False),
    ],
)
def test_the_check_of_a_data_set_names_such_masks(tmp_path, change, note, sound):
    write_split(tmp_path, "train", (0, 1))
    write_split(tmp_path, "val", (2,))
    for path in tmp_path.glob("train/*/mask.npy"):
        masks = np.load(path)
        change(masks)
        np.save(path, masks)
    report = check_root(tmp_path, progress=False)
    assert note in report.table()
    assert report.sound is sound
    if not sound:
        assert [(fault.kind, fault.path.name) for fault in report.faults] == [("no object in the split", "train")]
