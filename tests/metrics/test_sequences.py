"""Scores of segmented videos are those worked by hand, from one matrix however the sequences are batched."""

import pytest
import torch

from vidseg_utils.metrics.masks import confusion_matrix, mean_accuracy, pixel_accuracy
from vidseg_utils.metrics.sequences import SequenceScore

# two frames of 1 x 4 pixels: (B, T, H, W)
TRUTH = torch.tensor([[[[0, 0, 0, 1]], [[0, 0, 2, 1]]]])
ANSWER = torch.tensor([[[[0, 0, 1, 1]], [[0, 1, 2, 0]]]])
STILL = torch.tensor([[[[True, True, False, True]]]])


def scored(*triples):
    score = SequenceScore(n_classes=5)
    for triple in triples:
        score.update(*triple)
    return score


def test_the_two_accuracies_worked_by_hand():
    confusion = confusion_matrix(ANSWER, TRUTH, n_classes=5)
    assert pixel_accuracy(confusion) == pytest.approx(5 / 8)
    # class 0: 3 of 5, class 1: 1 of 2, class 2: 1 of 1; classes 3 and 4 never occur
    assert mean_accuracy(confusion) == pytest.approx((3 / 5 + 1 / 2 + 1) / 3)


def test_a_sequence_worked_by_hand():
    result = scored((ANSWER, TRUTH, STILL)).result()
    assert result["miou"] == pytest.approx((3 / 6 + 1 / 4 + 1) / 3)
    assert result["flip_rate"] == pytest.approx(2 / 3)  # the second and the last pixel; the third moves
    assert result["pixel_accuracy"] == pytest.approx(5 / 8)


def test_each_frame_of_the_sequence_has_its_own_score():
    first, second = scored((ANSWER, TRUTH, STILL)).miou_by_frame()
    assert first == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert second == pytest.approx((1 / 3 + 0 + 1) / 3)


def test_a_perfect_and_steady_answer():
    masks = TRUTH[:, :1].expand(1, 3, 1, 4)
    result = scored((masks, masks, torch.ones(1, 2, 1, 4, dtype=torch.bool))).result()
    assert result == {"miou": 1.0, "mean_accuracy": 1.0, "pixel_accuracy": 1.0, "flip_rate": 0.0}


def test_unlabelled_frames_count_only_for_flips():
    sparse = TRUTH.clone()
    sparse[:, 0] = 255
    score = scored((ANSWER, sparse, STILL))
    assert score.result()["pixel_accuracy"] == pytest.approx(2 / 4)
    assert score.result()["flip_rate"] == pytest.approx(2 / 3)
    assert score.miou_by_frame()[0] != score.miou_by_frame()[0]  # NaN: never labelled


def test_batches_add_up():
    both = tuple(
        torch.cat([one, two]) for one, two in zip((ANSWER, TRUTH, STILL), (TRUTH, ANSWER, ~STILL), strict=True)
    )
    whole, parts = scored(both), scored((ANSWER, TRUTH, STILL), (TRUTH, ANSWER, ~STILL))
    assert whole.result() == parts.result()
    assert whole.miou_by_frame() == parts.miou_by_frame()


def test_sequences_that_do_not_fit_are_refused(unchecked_shapes):
    with pytest.raises(ValueError, match="don't fit"):
        scored((ANSWER, TRUTH, STILL[..., :3]))
    with pytest.raises(ValueError, match="sequences of 1 frames after sequences of 2"):
        scored((ANSWER, TRUTH, STILL), (ANSWER[:, :1], TRUTH[:, :1], STILL[:, :0]))
    with pytest.raises(ValueError, match="no labelled pixels"):
        scored((ANSWER, torch.full_like(TRUTH, 255), STILL)).result()
