"""Proves that a drawn tree shows every question and answer once, without one on top of another."""

import matplotlib.pyplot as plt

from vidseg_utils.systems.suppression.rules import RULE_TREE
from vidseg_utils.visualisation.decisions import decision_tree


def parts(tree):
    return [tree] if isinstance(tree, str) else [tree[0], *parts(tree[1]), *parts(tree[2])]


def test_the_rule_tree_is_drawn_whole():
    fig, ax = plt.subplots(figsize=(9, 4))
    assert decision_tree(ax, RULE_TREE) is ax
    drawn = [text.get_text() for text in ax.texts if text.get_text() not in ("yes", "no")]
    assert sorted(drawn) == sorted(parts(RULE_TREE))
    places = [text.get_position() for text in ax.texts]
    assert len(set(places)) == len(places)
    plt.close(fig)


def test_yes_stands_to_the_left_of_no():
    fig, ax = plt.subplots()
    decision_tree(ax, ("raining?", "umbrella", "hat"))
    at = {text.get_text(): text.get_position() for text in ax.texts}
    assert at["umbrella"][0] < at["raining?"][0] < at["hat"][0]
    assert at["yes"][0] < at["no"][0]
    assert at["umbrella"][1] < at["raining?"][1]
    plt.close(fig)
