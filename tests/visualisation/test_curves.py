"""Proves that curves, bars and matrices show the numbers they are given: heights, gaps and groups."""

import numpy as np
import pytest
import torch

from vidseg_utils.classes import class_id
from vidseg_utils.metrics import ReliabilityCurve
from vidseg_utils.visualisation import curves
from vidseg_utils.visualisation.style import class_colour


def test_training_curves_leave_gaps_and_ring_the_best(ax):
    history = [{"epoch": e, "loss": 1 / e, "jaccard": [0.1, None, 0.4, 0.3][e - 1]} for e in range(1, 5)]
    curves.plot_training_curves(ax, history, "loss", "jaccard", best="jaccard")
    by_label = {line.get_label(): line for line in ax.lines}
    assert list(by_label["loss"].get_ydata()) == [1, 1 / 2, 1 / 3, 1 / 4]
    assert list(by_label["jaccard (best 0.400, epoch 3)"].get_xdata()) == [1, 3, 4]


def test_an_unknown_column_of_the_history_is_refused_with_the_choices(ax):
    with pytest.raises(ValueError, match=r"no 'acuracy'; choose from \['epoch', 'loss'\]"):
        curves.plot_training_curves(ax, [{"epoch": 1, "loss": 2.0}], "acuracy")


def test_a_key_that_is_none_in_every_epoch_is_drawn_as_an_empty_curve(ax):
    curves.plot_training_curves(ax, [{"epoch": 1, "loss": 1.0, "jaccard": None}], "loss", "jaccard", best="jaccard")
    assert [len(line.get_xdata()) for line in ax.lines] == [1, 0]


def test_horizon_curves_begin_at_the_first_predicted_frame(ax):
    curves.plot_horizon_curves(ax, {"simvp": [1, 2, 3], "copy last": [2, 3, 4]}, ylabel="MSE")
    assert list(ax.lines[0].get_xdata()) == [11, 12, 13]
    assert ax.lines[1].get_linestyle() == "--" and ax.lines[0].get_linestyle() == "-"


def test_a_reliability_curve_says_its_error_and_leaves_out_empty_intervals(ax):
    probability, frequency = (
        torch.tensor(values, dtype=torch.float64) for values in ([0.2, np.nan, 0.9], [0.2, np.nan, 0.5])
    )
    curve = ReliabilityCurve(probability, frequency, torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64))
    assert curves.plot_reliability(ax, {"a": curve}) is ax
    line = ax.lines[1]
    assert line.get_label() == "a (error 0.30)" and np.isfinite(line.get_ydata()).sum() == 2


def test_score_bars_put_the_best_on_top(ax):
    curves.plot_score_bars(ax, {"b": 0.2, "a": 0.4, "c": 0.1}, references={"copy_last": 0.3})
    assert [bar.get_width() for bar in ax.patches] == [0.1, 0.2, 0.4]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["c", "b", "a"]


def test_class_bars_draw_present_classes_in_their_colours(ax):
    values = np.full(49, np.nan)
    values[[3, 48]] = 0.5, 0.7
    curves.plot_class_bars(ax, values)
    assert [bar.get_height() for bar in ax.patches] == [0.5, 0.7]
    assert ax.patches[1].get_facecolor()[:3] == pytest.approx(class_colour(48))
    assert [label.get_text() for label in ax.get_xticklabels()][:2] == ["metal cube", "rubber cube"]
    with pytest.raises(ValueError, match=r"expected \(49,\)"):
        curves.plot_class_bars(ax, np.zeros(48))


def test_the_palette_has_a_swatch_for_every_class(ax):
    curves.plot_class_palette(ax)
    assert sorted(int(text.get_text()) for text in ax.texts) == list(range(1, 49))
    row, column = divmod(class_id("sphere", "metal", "red") - 1, 8)
    shown = ax.images[0].get_array()[row, column]
    assert np.allclose(shown, class_colour(class_id("sphere", "metal", "red")))
    assert ax.get_yticklabels()[row].get_text() == "metal sphere"


@pytest.mark.parametrize(("by", "groups"), [("shape", 3), ("material", 2), ("colour", 8)])
def test_grouped_confusion_keeps_every_pixel(by, groups):
    counts = np.random.default_rng(0).integers(0, 9, (49, 49))
    grouped, names = curves.group_confusion(counts, by=by)
    assert grouped.shape == (groups + 1, groups + 1) == (len(names), len(names))
    assert grouped.sum() == counts.sum()
    assert grouped[0, 0] == counts[0, 0]


def test_a_mistake_of_colour_stays_on_the_diagonal_by_shape():
    counts = np.zeros((49, 49), dtype=int)
    counts[class_id("cube", "metal", "red"), class_id("cube", "metal", "blue")] = 5
    by_shape, names = curves.group_confusion(counts, by="shape")
    assert by_shape[names.index("cube"), names.index("cube")] == 5
    by_colour, names = curves.group_confusion(counts, by="colour")
    assert by_colour[names.index("red"), names.index("blue")] == 5


def test_an_unknown_grouping_names_the_choices(ax):
    with pytest.raises(ValueError, match=r"unknown grouping 'size'; choose from \['shape', 'material', 'colour'\]"):
        curves.plot_confusion(ax, np.zeros((49, 49)), by="size")


def test_confusion_heatmap_shows_shares_of_the_true_pixels(ax):
    counts = np.zeros((49, 49), dtype=int)
    counts[1, 1], counts[1, 0] = 3, 1
    curves.plot_confusion(ax, counts, by="shape")
    shown = ax.images[0].get_array()
    assert shown[1, 1] == 0.75 and shown[1, 0] == 0.25 and shown[2].sum() == 0
