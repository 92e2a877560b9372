"""Decision trees as pictures: questions in boxes, yes to the left, no to the right."""

from matplotlib.axes import Axes

from vidseg_utils.visualisation.style import BLUE, GRAY

Tree = str | tuple[str, "Tree", "Tree"]  # a leaf's text, or (question, if yes, if no)
_BOX = {"boxstyle": "round,pad=0.4", "facecolor": "white"}


def decision_tree(ax: Axes, tree: Tree) -> Axes:
    """Draw a tree of questions: each leaf has a column of its own, each question stands over the middle of its own."""
    columns = _draw(ax, tree, column=0, depth=0)[1]
    ax.set_xlim(-0.6, columns - 0.4)
    ax.set_ylim(-_depth(tree) - 0.4, 0.4)
    ax.set_axis_off()
    return ax


def _draw(ax: Axes, tree: Tree, *, column: int, depth: int) -> tuple[float, int]:
    """Draw a part of the tree from `column` on; returns where its top stands and the next free column."""
    if isinstance(tree, str):
        ax.text(column, -depth, tree, ha="center", va="center", bbox=_BOX | {"edgecolor": BLUE, "linewidth": 1.5})
        return column, column + 1
    question, *branches = tree
    places = []
    for branch in branches:
        place, column = _draw(ax, branch, column=column, depth=depth + 1)
        places.append(place)
    middle = sum(places) / 2
    for place, answer in zip(places, ("yes", "no"), strict=True):
        ax.plot([middle, place], [-depth, -depth - 1], color=GRAY, linewidth=1, zorder=0)
        white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        ax.text((middle + place) / 2, -depth - 0.5, answer, ha="center", va="center", color="#444444", bbox=white)
    ax.text(middle, -depth, question, ha="center", va="center", bbox=_BOX | {"edgecolor": GRAY})
    return middle, column


def _depth(tree: Tree) -> int:
    return 0 if isinstance(tree, str) else 1 + max(map(_depth, tree[1:]))
