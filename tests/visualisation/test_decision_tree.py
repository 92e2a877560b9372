"""Proves that a drawn tree shows every question and answer once, and that no two texts cover each other."""

import matplotlib.pyplot as plt

from vidseg_utils.systems.suppression.rules import RULE_TREE
from vidseg_utils.visualisation.decision_tree import plot_decision_tree


def parts(tree):
    return [tree] if isinstance(tree, str) else [tree[0], *parts(tree[1]), *parts(tree[2])]


def test_every_question_and_answer_of_the_rule_tree_is_drawn():
    fig, ax = plt.subplots(figsize=(9, 4))
    assert plot_decision_tree(ax, RULE_TREE) is ax
    drawn = [text.get_text() for text in ax.texts if text.get_text() not in ("yes", "no")]
    assert sorted(drawn) == sorted(parts(RULE_TREE))
    positions = [text.get_position() for text in ax.texts]
    assert len(set(positions)) == len(positions)
    plt.close(fig)


def test_yes_is_to_the_left_of_no():
    fig, ax = plt.subplots()
    plot_decision_tree(ax, ("raining?", "umbrella", "hat"))
    position = {text.get_text(): text.get_position() for text in ax.texts}
    assert position["umbrella"][0] < position["raining?"][0] < position["hat"][0]
    assert position["yes"][0] < position["no"][0]
    assert position["umbrella"][1] < position["raining?"][1]
    plt.close(fig)
