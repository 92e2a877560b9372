"""Clips as rows of pictures, and as GIF or mp4 files."""

import base64
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from vidseg_utils.paths import atomic_write
from vidseg_utils.task import FRAME_STEP, HEIGHT, PAST_FRAMES, VIDEO_RATE, WIDTH
from vidseg_utils.visualisation.overlays import Clip, frame_to_rgb, mask_to_rgb, overlay_mask, show_rgb
from vidseg_utils.visualisation.style import DPI, RED

REAL_RATE = VIDEO_RATE / FRAME_STEP  # frames a second at which a clip runs as fast as its video
REST_PICTURES = 6  # films of forecasts rest on their last picture
GAP_PX, TITLE_PX, FOOTER_PX = 6, 16, 16  # of a film, for each unit of its scale
GIF_COLOURS = 128  # few colours keep the file small; the frames have flat surfaces


def clip_to_rgb(frames: Clip | None = None, masks: Clip | None = None) -> np.ndarray:
    """A clip as pictures: its frames, its masks, or the masks laid over the frames if both are given.

    frames: (T, 3, H, W) uint8, or float in [0, 1]; masks: (T, H, W) class ids; returns: (T, H, W, 3) uint8
    Raises ValueError if neither is given.
    """
    if frames is not None and masks is not None:
        return np.stack([overlay_mask(frame, mask) for frame, mask in zip(frames, masks, strict=True)])
    if frames is not None:
        return np.stack([frame_to_rgb(frame) for frame in frames])
    if masks is not None:
        return np.stack([mask_to_rgb(mask) for mask in masks])
    raise ValueError("nothing to draw; give frames, masks or both")


def plot_filmstrip(
    rows: Mapping[str, np.ndarray], *, columns: int = 6, first_frame: int = 0, width: float = 9.0
) -> np.ndarray:
    """Draw clips as rows of pictures: `columns` frames spread over the clip, among them the first and the last.

    In a clip with given and future frames, the last given one (frame 10) is shown too, in place of the nearest one.

    rows: name -> (T, H, W, 3) uint8, as `clip_to_rgb` returns; all of one length
    first_frame: frame number of the clip's first picture; the titles of future frames (from 11 on) are red
    width: of the figure, inches
    returns: its axes (rows, columns)
    Raises ValueError for rows of different lengths, or without frames.
    """
    lengths = {name: len(clip) for name, clip in rows.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"the rows of a filmstrip must have one length; got {lengths}")
    length = next(iter(lengths.values()))
    indices = np.unique(np.linspace(0, length - 1, min(columns, length)).round().astype(int))
    last_given = PAST_FRAMES - 1 - first_frame
    if len(indices) > 2 and 0 < last_given < length - 1:
        indices[1 + np.abs(indices[1:-1] - last_given).argmin()] = last_given
    height_px, width_px = next(iter(rows.values())).shape[1:3]
    size = (width, len(rows) * width / len(indices) * height_px / width_px + 0.25)
    axes = plt.subplots(len(rows), len(indices), figsize=size, squeeze=False)[1]
    for row, (name, clip) in zip(axes, rows.items(), strict=True):
        for ax, index in zip(row, indices, strict=True):
            show_rgb(ax, clip[index])
        row[0].text(-0.04, 0.5, name, transform=row[0].transAxes, rotation=90, ha="right", va="center")
    for ax, frame_number in zip(axes[0], indices + first_frame, strict=True):
        ax.set_title(f"frame {frame_number}", color=RED if frame_number >= PAST_FRAMES else "black", loc="center")
    return axes


def draw_side_by_side(
    moments: Sequence[Mapping[str, np.ndarray]], *, scale: float = 2, legend: Mapping[str, str] | None = None
) -> list[np.ndarray]:
    """The pictures of a film, (T, H, W, 3) uint8 each: one row of titled panels for each moment.

    moments: title -> (H, W, 3) uint8; each has the same number of panels
    scale: size of a panel, in units of 160x240 pixels; legend: name -> colour of what is written below the panels
    """
    panel, gap, title = (round(WIDTH * scale), round(HEIGHT * scale)), round(GAP_PX * scale), round(TITLE_PX * scale)
    footer = round(FOOTER_PX * scale) if legend else 0
    lefts = [gap + number * (panel[0] + gap) for number in range(len(moments[0]))]
    width, height = lefts[-1] + panel[0] + gap, title + panel[1] + gap + footer
    # matplotlib writes the text; the panels are copied, so that every pixel of theirs has the same size
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.set_layout_engine("none")
    canvas = FigureCanvasAgg(figure)
    style = {"size": 6.0 + 3.0 * scale, "va": "center_baseline"}
    titles = [figure.text(left / width, 1 - title / 2 / height, "", parse_math=False, **style) for left in lefts]
    for left, (name, colour) in zip(lefts, (legend or {}).items(), strict=False):
        y = 0.6 * footer / height
        figure.text(left / width, y, "\N{BLACK SQUARE}", color=colour, **style)
        figure.text((left + 1.6 * style["size"]) / width, y, name, **style)
    pictures = []
    for moment in moments:
        for text, name in zip(titles, moment, strict=True):
            text.set_text(name)
        canvas.draw()
        picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
        for left, shown in zip(lefts, moment.values(), strict=True):
            enlarged = Image.fromarray(shown).resize(panel, Image.Resampling.NEAREST)
            picture[title : title + panel[1], left : left + panel[0]] = enlarged
        pictures.append(picture)
    return pictures


def write_movie(
    path: Path | str, pictures: Sequence[np.ndarray] | np.ndarray, *, frames_per_second: float = 6, rest: int = 0
) -> Path:
    """Write (T, H, W, 3) uint8 pictures atomically as .gif (looping, 128 colours) or .mp4; returns the path.

    rest: pictures for which the movie stays on its last one
    Raises ValueError for pictures of another type or shape, or another suffix.
    """
    path, pictures = Path(path), np.asarray(pictures)
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8 or not len(pictures):
        raise ValueError(f"pictures are {pictures.dtype} {pictures.shape}; expected uint8 (T, H, W, 3) with T >= 1")
    pictures = np.concatenate([pictures, pictures[-1:].repeat(rest, axis=0)])
    if path.suffix not in _WRITERS:
        raise ValueError(f"{path.name}: cannot write {path.suffix!r}; choose from {sorted(_WRITERS)}")
    with atomic_write(path) as temporary:
        _WRITERS[path.suffix](temporary, pictures, frames_per_second)
    return path


class MovieView:
    """Shows a GIF as the last value of a cell. HTML, because only JupyterLab shows outputs of the type image/gif."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"the movie {self.path.name}"

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.path.read_bytes()).decode()
        return f'<img src="data:image/gif;base64,{data}" alt="{self.path.name}">'


def _write_gif(path: Path, pictures: np.ndarray, frames_per_second: float) -> None:
    # One palette for all pictures, so that still parts do not flicker. A colour counts by the root of its pixels, so
    # that small objects keep theirs beside a large background.
    red, green, blue = pictures.astype(np.uint32).transpose(3, 0, 1, 2)
    packed, counts = np.unique((red << 16) + (green << 8) + blue, return_counts=True)
    colours = np.stack([packed >> 16, packed >> 8, packed], axis=-1).astype(np.uint8)
    sample = colours.repeat(np.sqrt(counts).astype(int), axis=0)
    # These two steps keep rare colours, such as those of a legend.
    palette = Image.fromarray(sample[None]).quantize(GIF_COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=4)
    frames = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=round(1000 / frames_per_second), loop=0, optimize=True
    )


def _write_mp4(path: Path, pictures: np.ndarray, frames_per_second: float) -> None:
    # H.264 needs an even height and width.
    even = np.pad(pictures, ((0, 0), (0, pictures.shape[1] % 2), (0, pictures.shape[2] % 2), (0, 0)), mode="edge")
    with av.open(str(path), "w") as container:
        rate = Fraction(frames_per_second).limit_denominator(1000)
        height, width = even.shape[1:3]
        stream = container.add_stream("libx264", rate=rate, height=height, width=width, pix_fmt="yuv420p")
        for picture in even:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


_WRITERS = {".gif": _write_gif, ".mp4": _write_mp4}
