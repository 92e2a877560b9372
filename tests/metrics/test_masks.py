"""The score is the course's: worked by hand, equal to torchmetrics, the same streamed as whole."""

import math

import pytest
import torch
from torchmetrics.functional import jaccard_index

from vidseg_utils.classes import IGNORE_INDEX
from vidseg_utils.metrics import (
    OBJECT_KINDS,
    MaskScore,
    confusion_matrix,
    iou_per_class,
    jaccard,
    object_accuracy,
    object_kinds,
    reference_masks,
)


def random_masks(*shape, seed=0):
    return torch.randint(0, 49, shape, generator=torch.Generator().manual_seed(seed))


def test_identity_scores_one_and_disjoint_scores_zero():
    masks = random_masks(3, 20, 30)
    assert jaccard(masks, masks) == 1.0
    assert jaccard(torch.zeros(1, 4, 4), torch.ones(1, 4, 4)) == 0.0


def test_a_case_worked_by_hand():
    target = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 2]]])
    prediction = torch.tensor([[[0, 0, 0, 1], [0, 0, 1, 1]]])
    # background 4 of 5, class 1: 2 of 4, class 2: 0 of 1; the 46 absent classes are left out
    assert jaccard(prediction, target) == pytest.approx((4 / 5 + 2 / 4 + 0) / 3)


def test_a_class_predicted_but_absent_counts_as_zero_and_absent_ones_are_nan():
    iou = iou_per_class(confusion_matrix(torch.tensor([[[0, 5]]]), torch.tensor([[[0, 0]]])))
    assert iou[0] == 0.5
    assert iou[5] == 0
    assert math.isnan(iou[7])


def test_ignored_pixels_count_nowhere():
    target, prediction = torch.tensor([[[0, 255, 1]]]), torch.tensor([[[0, 9, 1]]])
    assert jaccard(prediction, target) == 1.0


def test_the_background_can_be_ignored():
    counts = confusion_matrix(torch.tensor([[[0, 3, 1, 0]]]), torch.tensor([[[0, 0, 1, 1]]]), ignore_index=0)
    assert counts[0].sum() == 0
    assert counts[1, 1] == counts[1, 0] == 1


def test_it_is_the_macro_jaccard_index_of_torchmetrics():
    target, prediction = random_masks(4, 16, 24, seed=1), random_masks(4, 16, 24, seed=2)
    keep = random_masks(4, 16, 24, seed=3) > 10
    prediction = torch.where(keep, target, prediction)
    target[0, 0, :5] = 255
    theirs = jaccard_index(prediction, target, task="multiclass", num_classes=49, average="macro", ignore_index=255)
    assert jaccard(prediction, target) == pytest.approx(float(theirs), abs=1e-6)


def test_streaming_equals_whole_and_is_not_the_mean_of_batches():
    masks, prediction = random_masks(6, 22, 8, 12), random_masks(6, 8, 12, seed=5)
    whole, streamed = MaskScore(), MaskScore()
    whole.update(prediction, masks)
    for i in range(0, 6, 2):
        streamed.update(prediction[i : i + 2], masks[i : i + 2])
    assert streamed.result() == whole.result()
    assert whole.result()["jaccard"] == pytest.approx(jaccard(prediction, masks[:, -1]))
    batches = [jaccard(prediction[i : i + 2], masks[i : i + 2, -1]) for i in range(0, 6, 2)]
    assert sum(batches) / 3 != pytest.approx(whole.result()["jaccard"], abs=1e-4)


def clip_with_a_still_a_moving_and_a_late_object():
    masks = torch.zeros(1, 22, 10, 20, dtype=torch.long)
    masks[:, :, 0:3, 0:3] = 1  # stays
    masks[:, :11, 5:8, 0:3] = 2  # moves
    masks[:, 11:, 5:8, 10:13] = 2
    masks[:, 15:, 7:10, 17:20] = 3  # comes late
    return masks


def test_objects_are_sorted_into_still_moving_and_late():
    clip = clip_with_a_still_a_moving_and_a_late_object()[0]
    assert sorted(object_kinds(clip)) == [("late", 3), ("moving", 2), ("still", 1)]


def test_recall_is_reported_by_kind_of_object():
    masks = clip_with_a_still_a_moving_and_a_late_object()
    copy_last, oracle = reference_masks(masks)
    score = MaskScore()
    score.update(copy_last, masks)
    assert {kind: score.result()[f"recall_{kind}"] for kind in OBJECT_KINDS} == {
        "still": 1.0,
        "moving": 0.0,
        "late": 0.0,
    }
    score = MaskScore()
    score.update(oracle, masks)
    assert {kind: score.result()[f"recall_{kind}"] for kind in OBJECT_KINDS} == {
        "still": 1.0,
        "moving": 1.0,
        "late": 0.0,
    }


def test_reference_masks_are_background_where_the_true_mask_has_no_label():
    masks = clip_with_a_still_a_moving_and_a_late_object()
    masks[:, 10, 0] = masks[:, 21, 1] = IGNORE_INDEX
    copy_last, oracle = reference_masks(masks)
    assert not copy_last[:, 0].any() and not oracle[:, 1].any()
    assert max(copy_last.max(), oracle.max()) == 2


def test_the_mean_iou_of_the_objects_counts_each_object_of_each_clip_once():
    masks = torch.zeros(2, 22, 4, 6, dtype=torch.long)
    masks[:, :, 0, :4] = 1  # in both clips
    masks[1, :, 2, :2] = 2
    masks[1, -1, 2, 1] = 255  # unlabelled, so it does not count
    answer = masks[:, -1].clone()
    answer[0, 0, 2:] = 1  # in clip 0, two pixels too many: 4 / 6
    answer[0, 3] = 9  # a class that no clip holds
    answer[1, 0, :2] = 0  # in clip 1, half of it: 2 / 4
    answer[1, 2, 1] = 2
    score = MaskScore()
    score.update(answer, masks)
    assert score.result()["objects_miou"] == pytest.approx((4 / 6 + 2 / 4 + 1) / 3)


def test_a_split_without_objects_has_neither_their_miou_nor_a_recall():
    score = MaskScore()
    score.update(torch.zeros(1, 4, 4, dtype=torch.long), torch.zeros(1, 22, 4, 4, dtype=torch.long))
    assert score.result() == {"jaccard": 1.0}


def test_wrong_shapes_and_class_ids_are_refused(unchecked_shapes):
    with pytest.raises(ValueError, match="differ in shape"):
        jaccard(torch.zeros(1, 4, 4), torch.zeros(1, 4, 5))
    with pytest.raises(ValueError, match="prediction holds class id 49"):
        jaccard(torch.full((1, 4, 4), 49), torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="target holds class id 200"):
        jaccard(torch.zeros(1, 4, 4), torch.full((1, 4, 4), 200))


def test_the_accuracy_of_objects_counts_their_pixels_alone():
    target = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 2]]])
    prediction = torch.tensor([[[0, 5, 0, 1], [0, 0, 1, 1]]])
    assert object_accuracy(confusion_matrix(prediction, target)) == 2 / 4
    assert math.isnan(object_accuracy(confusion_matrix(target * 0, target * 0)))
