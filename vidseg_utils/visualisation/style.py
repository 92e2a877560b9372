"""The style of every picture, and the function that saves them.

Pictures are PNG of at most 256 colours, so that a notebook full of video frames stays under 500 kB.
"""

import io
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from PIL import Image

from vidseg_utils.classes import N_CLASSES, PALETTE
from vidseg_utils.paths import atomic_write, figures_dir

DPI = 100
MAX_COLOURS = 256  # of a palette PNG
MAX_FIGURE_BYTES = 150_000

# Okabe and Ito (2008), "Color Universal Design": colour-blind readers can tell these apart.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, GRAY = "#CC79A7", "#56B4E9", "#F0E442", "#7F7F7F"
CYCLE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GRAY, YELLOW)

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.prop_cycle": cycler(color=CYCLE),
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
    """Set matplotlib's defaults for all figures made afterwards."""
    plt.style.use(STYLE)


def class_colour(class_id: int) -> tuple[float, float, float]:
    """Red, green and blue of a class in [0, 1], as matplotlib takes them. Raises ValueError for an id outside 0..48."""
    if not 0 <= class_id < N_CLASSES:
        raise ValueError(f"class id {class_id} has no colour; ids run from 0 to {N_CLASSES - 1}")
    red, green, blue = (PALETTE[class_id] / 255).tolist()
    return red, green, blue


def hex_colour(class_id: int) -> str:
    """The colour of a class as "#rrggbb". Raises what `class_colour` raises."""
    return to_hex(class_colour(class_id))


def figure_png(figure: Figure) -> bytes:
    """The figure at 100 dpi as PNG of at most 256 colours, a third of the size of a full-colour one."""
    return _encode_png(_render(figure), colours=MAX_COLOURS)


def closed_figure_png(figure: Figure) -> bytes:
    """As `figure_png`, for a figure of pyplot, which is closed: a notebook would show an open one once more."""
    try:
        return figure_png(figure)
    finally:
        plt.close(figure)


def _render(figure: Figure) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, bbox_inches="tight", facecolor="white")
    return Image.open(file).convert("RGB")


def _encode_png(picture: Image.Image, *, colours: int) -> bytes:
    file = io.BytesIO()
    # These two steps keep rare colours, such as a small object's beside noise.
    quantized = picture.quantize(colours, method=Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
    quantized.save(file, format="png", optimize=True)
    return file.getvalue()


def save_figure(figure: Figure, name: str, *, folder: Path | None = None) -> Path:
    """Write `name`.png atomically into a folder, by default that of the pictures of README and docs; return its path.

    Reduces the number of colours until the file fits in 150 kB. Raises ValueError if 32 colours are still too many.
    """
    if not name or Path(name).name != name or name.endswith(".png"):
        raise ValueError(f"figure name {name!r} is not a plain file name; give one such as '02_overlays'")
    picture = _render(figure)
    for colours in (MAX_COLOURS, 128, 64, 32):
        png = _encode_png(picture, colours=colours)
        if len(png) <= MAX_FIGURE_BYTES:
            break
    else:
        raise ValueError(
            f"figure {name!r} takes {len(png) // 1000} kB, more than {MAX_FIGURE_BYTES // 1000} kB; make it smaller"
        )
    path = (folder or figures_dir()) / f"{name}.png"
    with atomic_write(path) as temporary:
        temporary.write_bytes(png)
    return path
