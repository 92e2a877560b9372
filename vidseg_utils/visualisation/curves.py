"""Numbers as pictures: training curves, scores by horizon and by class, confusion, and objects' paths on the floor."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from vidseg_utils.classes import COLOURS, MATERIALS, N_CLASSES, SHAPES, class_attributes, class_name
from vidseg_utils.task import CLIP_VIDEO_FRAMES, PAST_FRAMES
from vidseg_utils.visualisation.floor_plan import floor_plan
from vidseg_utils.visualisation.style import CYCLE, GRAY, class_colour
from vidseg_utils.world.trajectory import Trajectory

_GROUPS = {"shape": SHAPES, "material": MATERIALS, "colour": COLOURS}
_WHITE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}  # behind text that lines may cross


def training_curves(
    ax: Axes, history: Sequence[Mapping], *keys: str, best: str | None = None, log: bool = False
) -> Axes:
    """Draw columns of history.jsonl against the epoch.

    history: rows as dicts; a row without a key, or with None, leaves a gap in that curve
    best: a key whose largest value is ringed and named in the legend; log: logarithmic y axis
    Raises ValueError when no row has one of the keys.
    """
    known = sorted({key for row in history for key in row})
    for number, key in enumerate(keys):
        if key not in known:
            raise ValueError(f"the history has no {key!r}; choose from {known}")
        rows = [row for row in history if row.get(key) is not None]
        places, values = [row["epoch"] for row in rows], [row[key] for row in rows]
        label, colour = key.replace("_", " "), CYCLE[number]
        if key == best and values:
            value = max(values)
            at = places[values.index(value)]
            label += f" (best {value:.3f}, epoch {at})"
            ax.plot(at, value, "o", color=colour, markerfacecolor="none", markersize=10)
        ax.plot(places, values, color=colour, marker="o", markersize=3, label=label)
    if log:
        ax.set_yscale("log")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("epoch")
    ax.legend()
    return ax


def horizon_curves(ax: Axes, scores: Mapping[str, Sequence[float]], *, ylabel: str) -> Axes:
    """Draw one curve a system over the predicted frames; names that begin with "copy" are grey references."""
    colours = iter(CYCLE)
    for name, values in scores.items():
        reference = name.startswith("copy")
        frames = PAST_FRAMES + np.arange(len(values))
        style = {"color": GRAY, "linestyle": "--"} if reference else {"color": next(colours), "marker": "o"}
        ax.plot(frames, values, markersize=3, label=name, **style)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="frame", ylabel=ylabel)
    ax.legend()
    return ax


def score_bars(ax: Axes, scores: Mapping[str, float], *, references: Mapping[str, float] | None = None) -> Axes:
    """Draw each system's Jaccard as a horizontal bar, best at the top; dashed lines for references, say copy-last."""
    names = sorted(scores, key=lambda name: scores[name])
    bars = ax.barh(names, [scores[name] for name in names], color=CYCLE[0], height=0.6)
    ax.bar_label(bars, fmt="%.3f", padding=3, bbox=_WHITE, zorder=5)
    for name, value in (references or {}).items():
        ax.axvline(value, color=GRAY, linestyle="--", linewidth=1.2)
        ax.annotate(name, (value, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom", color="#444444")
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("Jaccard")
    ax.margins(x=0.12)
    return ax


def class_bars(ax: Axes, values: Sequence[float], *, ylabel: str = "IoU", mean: bool = True) -> Axes:
    """Draw one bar an object class in the class's own colour, in blocks of shape and material.

    values: (49,) such as IoU or a count, background first (not drawn); NaN = absent, marked with a small cross
    mean: draw the mean over the classes that are there
    """
    values = np.asarray(values, dtype=float)
    if values.shape != (N_CLASSES,):
        raise ValueError(f"values have shape {values.shape}; expected ({N_CLASSES},)")
    ids = np.arange(1, N_CLASSES)
    places = ids - 1 + (ids - 1) // len(COLOURS) * 1.0  # a gap after each block of eight colours
    present = np.isfinite(values[1:])
    ax.bar(places[present], values[1:][present], width=0.9, color=[class_colour(i) for i in ids[present]])
    if not present.all():
        ax.plot(places[~present], np.zeros((~present).sum()), "x", color=GRAY, markersize=4, clip_on=False)
    if mean and present.any():
        average = values[1:][present].mean()
        ax.axhline(average, color="#444444", linestyle="--", linewidth=1)
        at = {"xycoords": ("axes fraction", "data"), "xytext": (0, 3), "textcoords": "offset points"}
        ax.annotate(f"mean {average:.3g}", (1.0, average), **at, ha="right", va="bottom", bbox=_WHITE)
    blocks = places.reshape(-1, len(COLOURS)).mean(axis=1)
    ax.set_xticks(blocks, [" ".join(class_attributes(int(i))[1::-1]) for i in ids[:: len(COLOURS)]])
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel(ylabel)
    ax.margins(x=0.01)
    return ax


def class_palette(ax: Axes) -> Axes:
    """Draw the 48 object classes as a table of swatches: colours across, material and shape down, ids inside."""
    rows = len(SHAPES) * len(MATERIALS)
    table = np.array([class_colour(i) for i in range(1, N_CLASSES)]).reshape(rows, len(COLOURS), 3)
    ax.imshow(table, aspect="auto")
    for id_ in range(1, N_CLASSES):
        row, column = divmod(id_ - 1, len(COLOURS))
        dark = np.dot(table[row, column], (0.299, 0.587, 0.114)) < 0.5
        ax.text(column, row, str(id_), ha="center", va="center", color="white" if dark else "black")
    ax.set_xticks(range(len(COLOURS)), COLOURS)
    ax.set_yticks(range(rows), [class_name(1 + r * len(COLOURS)).removeprefix(COLOURS[0]).strip() for r in range(rows)])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return ax


def grouped_confusion(confusion: np.ndarray, *, by: str) -> tuple[np.ndarray, list[str]]:
    """Sum a confusion matrix over the classes that share a shape, a material or a colour.

    confusion: (49, 49) counts, rows are the truth; by: "shape", "material" or "colour"
    returns: (G + 1, G + 1) counts and the G + 1 names, background first
    """
    if by not in _GROUPS:
        raise ValueError(f"unknown grouping {by!r}; choose from {list(_GROUPS)}")
    confusion = np.asarray(confusion)
    if confusion.shape != (N_CLASSES, N_CLASSES):
        raise ValueError(f"confusion matrix has shape {confusion.shape}; expected ({N_CLASSES}, {N_CLASSES})")
    names = ["background", *_GROUPS[by]]
    place = list(_GROUPS).index(by)
    member = np.zeros((N_CLASSES, len(names)), dtype=confusion.dtype)
    member[0, 0] = 1
    for id_ in range(1, N_CLASSES):
        member[id_, names.index(class_attributes(id_)[place])] = 1
    return member.T @ confusion @ member, names


def confusion_heatmap(ax: Axes, confusion: np.ndarray, *, by: str) -> Axes:
    """Draw a (49, 49) confusion matrix grouped by shape, material or colour, each row as shares of its true pixels."""
    counts, names = grouped_confusion(confusion, by=by)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*shares.shape):
        if shares[row, column] >= 0.005:
            white = shares[row, column] > 0.6
            text = f"{shares[row, column]:.2f}".removeprefix("0")
            ax.text(column, row, text, ha="center", va="center", color="white" if white else "black", fontsize=8)
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="predicted", ylabel="truth", title=f"by {by}")
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return ax


def floor_paths(ax: Axes, trajectory: Trajectory) -> Axes:
    """Draw the objects' paths on the floor from above, the camera at the bottom and its field of view in white.

    Solid with dots: the 11 course frames of the input; dashed: the 11 to be forecast; a ring: the last place; a cross:
    a collision; a name in brackets: an object never in view in the input.
    """
    path = trajectory.at(CLIP_VIDEO_FRAMES)
    floor_plan(ax)
    for n, id_ in enumerate(path.class_ids.tolist()):
        x, y = path.positions[:, n, 0], path.positions[:, n, 1]
        late = not path.in_view[:PAST_FRAMES, n].any()
        name = f"({class_name(id_)})" if late else class_name(id_)
        colour = class_colour(id_)
        ax.plot(y[:PAST_FRAMES], x[:PAST_FRAMES], color=colour, marker=".", markersize=4, label=name)
        ax.plot(y[PAST_FRAMES - 1 :], x[PAST_FRAMES - 1 :], color=colour, linestyle=(0, (2, 1)))
        ax.plot(y[-1:], x[-1:], "o", color=colour, markerfacecolor="none", markersize=9)
    hits = [c.location for c in path.collisions if c.frame <= CLIP_VIDEO_FRAMES[-1]]
    if hits:
        ax.plot([h[1] for h in hits], [h[0] for h in hits], "x", color="black", markersize=6, label="collision")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return ax
