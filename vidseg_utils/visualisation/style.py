"""One look for every picture, and the only place that saves one.

Pictures are PNG of at most 256 colours, so that a notebook full of video frames stays under 500 kB.
"""

import io
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from vidseg_utils.classes import N_CLASSES, PALETTE
from vidseg_utils.paths import atomic_write, figures_dir

DPI = 100
MAX_FIGURE_BYTES = 150_000

# Okabe and Ito (2008): told apart by the colour-blind too.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, GRAY = "#CC79A7", "#56B4E9", "#F0E442", "#7F7F7F"
CYCLE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GRAY, YELLOW)

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.prop_cycle": plt.cycler(color=CYCLE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "figure.dpi": DPI,
    "figure.figsize": (7.0, 3.2),
    "font.size": 9,
    "grid.color": "#E5E5E5",
    "image.interpolation": "nearest",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.8,
    "savefig.bbox": "tight",
    "savefig.dpi": DPI,
}


def use_style() -> None:
    """Set the look for all pictures from here on."""
    plt.rcParams.update(_STYLE)


def class_colour(class_id: int) -> tuple[float, float, float]:
    """A class's red, green and blue in [0, 1], as matplotlib takes them. Raises ValueError for an id outside 0..48."""
    if not 0 <= class_id < N_CLASSES:
        raise ValueError(f"class id {class_id} has no colour; ids run from 0 to {N_CLASSES - 1}")
    return tuple(float(v) / 255 for v in PALETTE[class_id])


def figure_png(figure: Figure) -> bytes:
    """The figure at 100 dpi as PNG of at most 256 colours, a third of the size of a full-colour one."""
    return _png(_drawn(figure), colours=256)


def _drawn(figure: Figure) -> Image.Image:
    full = io.BytesIO()
    figure.savefig(full, format="png", dpi=DPI, bbox_inches="tight", facecolor="white")
    return Image.open(full).convert("RGB")


def _png(picture: Image.Image, *, colours: int) -> bytes:
    file = io.BytesIO()
    few = picture.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(file, format="png", optimize=True)
    return file.getvalue()


def save_figure(figure: Figure, name: str) -> Path:
    """Write FIGURES/`name`.png atomically and return its path.

    Takes fewer colours until it fits in 150 kB; raises ValueError if even 32 colours do not.
    """
    if not name or Path(name).name != name or name.endswith(".png"):
        raise ValueError(f"figure name {name!r} is no plain name; give one such as '02_overlays'")
    picture = _drawn(figure)
    for colours in (256, 128, 64, 32):
        png = _png(picture, colours=colours)
        if len(png) <= MAX_FIGURE_BYTES:
            break
    else:
        raise ValueError(
            f"figure {name!r} takes {len(png) // 1000} kB, more than {MAX_FIGURE_BYTES // 1000} kB; make it smaller"
        )
    path = figures_dir() / f"{name}.png"
    with atomic_write(path) as temporary:
        temporary.write_bytes(png)
    return path
