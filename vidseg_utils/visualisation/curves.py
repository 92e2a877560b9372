"""Numbers as pictures: training curves, scores of systems, of frames and of classes, and confusion matrices."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator

from vidseg_utils.classes import BACKGROUND, COLOURS, MATERIALS, N_CLASSES, SHAPES, class_attributes, class_name
from vidseg_utils.metrics import ReliabilityCurve
from vidseg_utils.task import PAST_FRAMES
from vidseg_utils.visualisation.style import CYCLE, GRAY, class_colour, figure_png

_ATTRIBUTES = {"shape": SHAPES, "material": MATERIALS, "colour": COLOURS}
_WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # behind text that a line may cross
CLASSES_PER_BLOCK = len(COLOURS)  # classes of one shape and material have consecutive ids
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in the brightness that the eye sees (ITU-R BT.601)
MIN_SHOWN_SHARE = 0.005  # smaller shares of a confusion matrix are not written into their cell


def plot_training_curves(
    ax: Axes, history: Sequence[Mapping], *keys: str, best: str | None = None, log: bool = False
) -> Axes:
    """Draw columns of history.jsonl against the epoch.

    history: one dict an epoch; an epoch without the key, or with None, leaves a gap in that curve
    best: the key whose largest value is ringed and written into the legend; log: logarithmic y axis
    Raises ValueError for a key that no epoch has.
    """
    known = sorted({key for row in history for key in row})
    for number, key in enumerate(keys):
        if key not in known:
            raise ValueError(f"the history has no {key!r}; choose from {known}")
        rows = [row for row in history if row.get(key) is not None]
        epochs, values = [row["epoch"] for row in rows], [row[key] for row in rows]
        label, colour = key.replace("_", " "), CYCLE[number]
        if key == best and values:
            best_value = max(values)
            best_epoch = epochs[values.index(best_value)]
            label += f" (best {best_value:.3f}, epoch {best_epoch})"
            ax.plot(best_epoch, best_value, "o", color=colour, markerfacecolor="none", markersize=10)
        ax.plot(epochs, values, color=colour, marker="o", markersize=3, label=label)
    if log:
        ax.set_yscale("log")
    _use_integer_ticks(ax)
    ax.set_xlabel("epoch")
    ax.legend()
    return ax


def training_curves_png(history: Sequence[Mapping], monitor: str, title: str) -> bytes:
    """The picture of a training that still runs: the losses, and the metric `monitor` if it is no loss."""
    figure = Figure(figsize=(7, 2.2), layout="constrained")
    FigureCanvasAgg(figure)
    losses = ["train_loss"] + [key for key in ("val_loss",) if key in history[0]]
    panels = [losses] if monitor in losses else [losses, [monitor]]
    for ax, keys in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        plot_training_curves(ax, history, *keys)
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure_png(figure)


def _use_integer_ticks(ax: Axes) -> None:
    locator = AutoLocator()
    locator.set_params(integer=True)
    ax.xaxis.set_major_locator(locator)


def plot_horizon_curves(ax: Axes, scores: Mapping[str, Sequence[float]], *, ylabel: str) -> Axes:
    """Draw one curve for each system over the predicted frames; systems named "copy…" are grey and dashed."""
    colours = iter(CYCLE)
    for name, values in scores.items():
        frames = PAST_FRAMES + np.arange(len(values))
        if name.startswith("copy"):
            ax.plot(frames, values, markersize=3, label=name, color=GRAY, linestyle="--")
        else:
            ax.plot(frames, values, markersize=3, label=name, color=next(colours), marker="o")
    _use_integer_ticks(ax)
    ax.set(xlabel="frame", ylabel=ylabel)
    ax.legend()
    return ax


def plot_reliability(ax: Axes, curves: Mapping[str, ReliabilityCurve]) -> Axes:
    """Draw how often forecasts came true over how probable they were, with each system's calibration error."""
    ax.plot([0, 1], [0, 1], color=GRAY, linestyle="--", label="true probabilities")
    for name, curve in curves.items():
        label = f"{name} (error {curve.error:.2f})"
        ax.plot(curve.probability.numpy(), curve.frequency.numpy(), marker="o", markersize=3, label=label)
    ax.set(xlabel="forecast probability", ylabel="share that came true", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax


def plot_score_bars(ax: Axes, scores: Mapping[str, float], *, references: Mapping[str, float] | None = None) -> Axes:
    """Draw each system's Jaccard as a horizontal bar, best at the top, and each reference score as a dashed line."""
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


def plot_class_bars(ax: Axes, values: Sequence[float] | np.ndarray, *, ylabel: str = "IoU", mean: bool = True) -> Axes:
    """Draw one bar for each object class, in the class's colour, in blocks of the same shape and material.

    values: (49,) such as IoU or a count, background first (not drawn); NaN = absent, marked with a small cross
    mean: draw the mean over the classes that are present
    """
    values = np.asarray(values, dtype=float)
    if values.shape != (N_CLASSES,):
        raise ValueError(f"values have shape {values.shape}; expected ({N_CLASSES},)")
    ids, objects = np.arange(1, N_CLASSES), values[1:]
    positions = ids - 1.0 + (ids - 1) // CLASSES_PER_BLOCK  # a gap of one bar after each block
    present = np.isfinite(objects)
    ax.bar(positions[present], objects[present], width=0.9, color=[class_colour(i) for i in ids[present]])
    if not present.all():
        ax.plot(positions[~present], np.zeros((~present).sum()), "x", color=GRAY, markersize=4, clip_on=False)
    if mean and present.any():
        average = objects[present].mean()
        ax.axhline(average, color="#444444", linestyle="--", linewidth=1)
        ax.annotate(
            f"mean {average:.3g}",
            (1.0, average),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
        )
    block_centres = positions.reshape(-1, CLASSES_PER_BLOCK).mean(axis=1)
    ax.set_xticks(block_centres, [" ".join(class_attributes(int(i))[1::-1]) for i in ids[::CLASSES_PER_BLOCK]])
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel(ylabel)
    ax.margins(x=0.01)
    return ax


def plot_class_palette(ax: Axes) -> Axes:
    """Draw the 48 object classes as a table of swatches: colours across, material and shape down, ids inside."""
    rows = len(SHAPES) * len(MATERIALS)
    table = np.array([class_colour(i) for i in range(1, N_CLASSES)]).reshape(rows, len(COLOURS), 3)
    ax.imshow(table, aspect="auto")
    for class_id in range(1, N_CLASSES):
        row, column = divmod(class_id - 1, len(COLOURS))
        dark = np.dot(table[row, column], LUMA) < 0.5
        ax.text(column, row, str(class_id), ha="center", va="center", color="white" if dark else "black")
    ax.set_xticks(range(len(COLOURS)), COLOURS)
    ax.set_yticks(range(rows), [class_name(1 + r * len(COLOURS)).removeprefix(COLOURS[0]).strip() for r in range(rows)])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return ax


def group_confusion(confusion: np.ndarray, *, by: str) -> tuple[np.ndarray, list[str]]:
    """Sum a confusion matrix over the classes that share a shape, a material or a colour.

    confusion: (49, 49) counts, rows are the truth; by: "shape", "material" or "colour"
    returns: (G + 1, G + 1) counts and the names of the G + 1 groups, background first
    """
    if by not in _ATTRIBUTES:
        raise ValueError(f"unknown grouping {by!r}; choose from {list(_ATTRIBUTES)}")
    confusion = np.asarray(confusion)
    if confusion.shape != (N_CLASSES, N_CLASSES):
        raise ValueError(f"confusion matrix has shape {confusion.shape}; expected ({N_CLASSES}, {N_CLASSES})")
    names = ["background", *_ATTRIBUTES[by]]
    attribute = list(_ATTRIBUTES).index(by)
    is_member = np.zeros((N_CLASSES, len(names)), dtype=confusion.dtype)
    is_member[BACKGROUND, 0] = 1
    for class_id in range(1, N_CLASSES):
        is_member[class_id, names.index(class_attributes(class_id)[attribute])] = 1
    return is_member.T @ confusion @ is_member, names


def plot_confusion(ax: Axes, confusion: np.ndarray, *, by: str) -> Axes:
    """Draw a (49, 49) confusion matrix grouped by shape, material or colour, each row as shares of its true pixels."""
    counts, names = group_confusion(confusion, by=by)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*shares.shape):
        if shares[row, column] >= MIN_SHOWN_SHARE:
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
