"""Figures of the report: matplotlib's SVG, made small and given the page's own colours for text and lines."""

import io
import re
from collections.abc import Callable

import numpy as np
from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vidseg_utils.run_folders import RunFolder, number
from vidseg_utils.visualisation.curves import plot_class_bars, plot_confusion, plot_score_bars, plot_training_curves
from vidseg_utils.visualisation.report.run_set import Sweep, monitored
from vidseg_utils.visualisation.style import BLUE, GRAY, STYLE

PX_PER_INCH = 96  # of CSS
MAX_BARS = 16  # in one figure
MAX_LINES, MAX_LABEL = 60, 44  # lines in a figure, characters of a label
# Colours of the style that follow the page's light or dark colours.
_PAGE_COLOURS = {"#555555": "currentColor", "#444444": "currentColor", "#e5e5e5": "var(--line)"}
_PAGE_COLOURS |= {"#ffffff": "var(--paper)"}

_SVG_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vidseg",  # the same figure has the same ids
    "text.parse_math": False,  # names of runs are no formulas
    "axes.facecolor": "none",
    "axes.formatter.useoffset": False,
}


def draw_svg(
    draw: Callable[[Axes], object], *, width: float, height: float, label: str, on_white: bool = False
) -> Markup:
    """The axes that `draw` plots into, as an SVG element. width, height: inches

    on_white: keep matplotlib's colours, for a figure that writes on coloured ground
    """
    with style.context([STYLE, _SVG_SETTINGS]):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        file = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(file, format="svg", facecolor="none", metadata=metadata, bbox_inches=None)
    svg = file.getvalue()
    svg = re.sub(r"^.*?(?=<svg)|<metadata>.*?</metadata>|<!--.*?-->|<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="#|url\(#)([\w-]+)', svg))
    svg = re.sub(r' id="([\w-]+)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"<]*", r"font-size: \1px", svg)
    svg = re.sub(r"\n\s*", "\n", re.sub(r"<defs>\s*</defs>|<g>\s*</g>", "", svg))
    if not on_white:
        for colour, ours in _PAGE_COLOURS.items():
            svg = svg.replace(colour, ours)
    view = re.search(r'viewBox="[^"]*"', svg)
    assert view, "matplotlib writes one"
    size = f'style="width:{width * PX_PER_INCH:.0f}px" {view[0]}'
    head = f'<svg class="plot" role="img" aria-label="{escape(label)}" {size}>'
    return Markup(f'<div class="{"on-white" if on_white else "on-page"}">{head}{svg[svg.index(">") + 1 :]}</div>')


def training_figures(run: RunFolder) -> list[Markup]:
    """Losses, and the metric that chose the weights, by epoch."""
    metric = monitored(run)
    losses = [key for key in ("train_loss", "val_loss") if number(run.history[0].get(key)) is not None]
    figures = []
    for keys in (losses, [metric] if metric and metric not in losses else []):
        if keys:
            label = f"{run.name}: {', '.join(keys)} by epoch"
            history = [{"epoch": row["epoch"], **{key: number(row.get(key)) for key in keys}} for row in run.history]
            best = keys[0] if keys[0] == metric and run.config["fit"].get("mode") == "max" else None
            figures.append(
                draw_svg(
                    lambda ax, h=history, k=keys, b=best: plot_training_curves(ax, h, *k, best=b),
                    width=3.4,
                    height=2.1,
                    label=label,
                )
            )
    return figures


def score_figure(scores: dict[str, float], references: dict[str, float] | None, *, label: str) -> Markup:
    """The scores as bars, the best at the top."""
    shown: dict[str, float] = {}
    for name, value in sorted(scores.items(), key=lambda item: -item[1])[:MAX_BARS]:
        short = _shorten(name)
        shown[short if short not in shown else f"{short} ({len(shown) + 1})"] = value
    height = 0.75 + 0.26 * len(shown)
    return draw_svg(lambda ax: plot_score_bars(ax, shown, references=references), width=6.6, height=height, label=label)


def _shorten(label: str) -> str:
    return label if len(label) <= MAX_LABEL else label[: MAX_LABEL - 1] + "…"


def sweep_curves(sweep: Sweep) -> Markup | None:
    """The metric of each run of the sweep by epoch, the best run's in colour; None without trainings of two epochs."""
    runs = [run for run in sweep.runs if len(run.history) > 1 and monitored(run)]
    runs = [run for run in runs if monitored(run) == monitored(runs[0])][:MAX_LINES]
    if not runs:
        return None
    key = str(monitored(runs[0]))

    def draw(ax: Axes) -> None:
        for run in reversed(runs):
            rows = [(row["epoch"], value) for row in run.history if (value := number(row.get(key))) is not None]
            epochs, values = zip(*rows, strict=True)
            if run is runs[0]:
                ax.plot(epochs, values, color=BLUE, label=_shorten(sweep.setting(run)))
            else:
                ax.plot(epochs, values, color=GRAY, linewidth=0.8)
        ax.set(xlabel="epoch", ylabel=key.replace("_", " "))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend()

    return draw_svg(draw, width=3.4, height=2.3, label=f"{sweep.name}: {key} by epoch")


def class_figure(ious: np.ndarray, *, system: str) -> Markup:
    """The IoU of each class."""
    label = f"IoU of each class, {system}"
    return draw_svg(lambda ax: plot_class_bars(ax, ious), width=8.6, height=2.2, label=label)


def confusion_figure(confusion: np.ndarray, *, by: str, system: str) -> Markup:
    """The confusion matrix by shape, material or colour."""
    size = {"shape": 2.6, "material": 2.4, "colour": 3.6}[by]
    label = f"confusion by {by}, {system}"
    return draw_svg(
        lambda ax: plot_confusion(ax, confusion, by=by), width=size + 0.5, height=size, label=label, on_white=True
    )
