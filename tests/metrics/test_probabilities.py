"""Proves that masks from probabilities raise the expected Jaccard index, and that the reliability curve is right."""

import numpy as np
import pytest
import torch

from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX, N_CLASSES
from vidseg_utils.metrics import (
    Reliability,
    choose_classes,
    class_shares,
    confusion_matrix,
    drawing_threshold,
    iou_per_class,
    score_futures,
)


def test_the_threshold_is_where_one_more_pixel_neither_raises_nor_lowers_the_score():
    intersection, union = 30.0, 100.0
    p = drawing_threshold(intersection / union)
    assert (intersection + p) / (union + 1 - p) == pytest.approx(intersection / union)


def test_a_pixel_gets_its_most_probable_object_from_the_threshold_on():
    probabilities = torch.zeros(1, N_CLASSES, 1, 3)
    probabilities[0, [BACKGROUND, 7, 9], 0] = torch.tensor([[0.55, 0.80, 0.2], [0.25, 0.15, 0.1], [0.2, 0.05, 0.7]])
    assert choose_classes(probabilities, score=0.3).tolist() == [[[7, BACKGROUND, 9]]]
    assert choose_classes(probabilities, score=0.9).tolist() == [[[BACKGROUND, BACKGROUND, 9]]]


def test_the_chosen_masks_score_higher_than_the_most_probable_class_where_objects_are_uncertain():
    rng = np.random.default_rng(0)
    chance = torch.tensor(rng.uniform(0, 0.6, size=(1, 200, 200)))
    probabilities = torch.zeros(1, N_CLASSES, 200, 200)
    probabilities[:, 7], probabilities[:, BACKGROUND] = chance, 1 - chance
    truth = torch.where(torch.tensor(rng.uniform(size=chance.shape)) < chance, 7, BACKGROUND)
    chosen, most_probable = (
        iou_per_class(confusion_matrix(mask, truth))[7]
        for mask in (choose_classes(probabilities, score=0.35), probabilities.argmax(dim=1))
    )
    assert chosen > most_probable + 0.05


def test_possible_masks_give_shares_of_the_classes():
    masks = torch.tensor([[[[7, 0]], [[7, 9]], [[7, 0]], [[3, 0]]]], dtype=torch.uint8)  # 4 masks of 2 pixels
    shares = class_shares(masks)
    assert shares.shape == (1, N_CLASSES, 1, 2)
    assert shares[0, [3, 7, 0, 9], 0].tolist() == [[0.25, 0.0], [0.75, 0.0], [0.0, 0.75], [0.0, 0.25]]


def test_the_curve_compares_probability_and_frequency_of_each_interval():
    probabilities = torch.zeros(1, N_CLASSES, 1, 5)
    probabilities[0, 7, 0] = torch.tensor([0.25, 0.25, 0.92, 0.04, 0.92])
    probabilities[0, BACKGROUND, 0] = 1 - probabilities[0, 7, 0]
    target = torch.tensor([[[7, 3, 7, 7, IGNORE_INDEX]]])  # 0.04 is too little to count, 255 is not judged
    reliability = Reliability()
    reliability.update(probabilities, target)
    curve = reliability.result()
    assert curve.count.tolist() == [0, 0, 2, 0, 0, 0, 0, 0, 0, 1]
    assert curve.probability[[2, 9]].tolist() == pytest.approx([0.25, 0.92])
    assert curve.frequency[[2, 9]].tolist() == [0.5, 1.0]
    assert curve.error == pytest.approx((2 * 0.25 + 0.08) / 3)


def test_true_probabilities_have_nearly_no_error_and_half_of_them_a_large_one():
    rng = np.random.default_rng(0)
    chance = torch.tensor(rng.uniform(0.1, 1, size=(1, 100, 100)))
    probabilities = torch.zeros(1, N_CLASSES, 100, 100)
    probabilities[:, 7] = chance
    truth = torch.where(torch.tensor(rng.uniform(size=chance.shape)) < chance, 7, 0)
    errors = []
    for share in (1.0, 0.5):
        reliability = Reliability()
        reliability.update(share * probabilities, truth)
        errors.append(reliability.result().error)
    assert errors[0] < 0.02 and errors[1] > 0.2


def test_without_forecasts_the_error_is_nan():
    assert np.isnan(Reliability().result().error)


@pytest.mark.parametrize("distance", [lambda a, b: (a - b).norm(dim=-1), lambda a, b: (a - b).square().sum(-1).log1p()])
def test_futures_score_best_where_they_scatter_as_the_truth_does(distance):
    torch.manual_seed(0)
    truth = torch.randn(4000, 2)

    def score(spread, shift=0.0):
        return score_futures(spread * torch.randn(4000, 4, 2) + shift, truth, distance).mean()

    assert score(1.0) < min(score(0.0), score(2.0), score(1.0, shift=0.5))
    assert score_futures(truth[:, None], truth, distance).abs().max() < 1e-6  # one future: its distance
