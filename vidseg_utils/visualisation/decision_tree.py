"""A decision tree as a picture: questions in grey boxes, answers in blue ones, yes to the left, no to the right."""

from matplotlib.axes import Axes

from vidseg_utils.visualisation.style import BLUE, GRAY

Tree = str | tuple[str, "Tree", "Tree"]  # a leaf's text, or (question, subtree if yes, subtree if no)
_BOX = {"boxstyle": "round,pad=0.4", "facecolor": "white"}


def plot_decision_tree(ax: Axes, tree: Tree) -> Axes:
    """Draw a tree of questions. Each leaf has its own column; each question is centred over its two subtrees."""
    _, n_columns = _draw_subtree(ax, tree, column=0, depth=0)
    ax.set_xlim(-0.6, n_columns - 0.4)
    ax.set_ylim(-_depth(tree) - 0.4, 0.4)
    ax.set_axis_off()
    return ax


def _draw_subtree(ax: Axes, tree: Tree, *, column: int, depth: int) -> tuple[float, int]:
    """Draw a subtree whose first leaf is in `column`; returns the x position of its root and the next free column."""
    if isinstance(tree, str):
        ax.text(column, -depth, tree, ha="center", va="center", bbox=_BOX | {"edgecolor": BLUE, "linewidth": 1.5})
        return column, column + 1
    question, *subtrees = tree
    child_positions = []
    for subtree in subtrees:
        position, column = _draw_subtree(ax, subtree, column=column, depth=depth + 1)
        child_positions.append(position)
    middle = sum(child_positions) / 2
    for position, answer in zip(child_positions, ("yes", "no"), strict=True):
        ax.plot([middle, position], [-depth, -depth - 1], color=GRAY, linewidth=1, zorder=0)
        white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        ax.text((middle + position) / 2, -depth - 0.5, answer, ha="center", va="center", color="#444444", bbox=white)
    ax.text(middle, -depth, question, ha="center", va="center", bbox=_BOX | {"edgecolor": GRAY})
    return middle, column


def _depth(tree: Tree) -> int:
    return 0 if isinstance(tree, str) else 1 + max(map(_depth, tree[1:]))
