"""Sliders around a plot function, with a still picture where sliders cannot work.

The cell's output carries both. Jupyter shows the sliders while the kernel runs; GitHub, a printed page and a saved
notebook show the picture. Notebooks executed by `vidseg run` keep only the picture.
"""

import base64
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vidseg_utils.progress import WIDGET_VIEW
from vidseg_utils.visualisation.overlays import Clip, frame_to_rgb, show_overlay, show_rgb
from vidseg_utils.visualisation.style import figure_png


class PlotSliders:
    """A plot with a slider for the frame and one for the opacity; it displays itself as the last value of a cell."""

    def __init__(
        self,
        draw: Callable[[Axes, int, float], object],
        *,
        frames: int,
        frame: int = 0,
        opacity: float = 0.5,
    ):
        """draw(ax, frame, opacity): plots frame 0..frames-1, opacity in [0, 1]; frame, opacity: shown at first."""
        if not 0 <= frame < frames:
            raise ValueError(f"frame {frame} is not in 0..{frames - 1}")
        self.draw, self.frames, self.frame, self.opacity = draw, frames, frame, opacity

    def png(self, frame: int, opacity: float) -> bytes:
        """The picture for one position of the sliders. It bypasses pyplot, which would display the figure once more."""
        figure = Figure(figsize=(5.0, 2.6), layout="constrained")
        FigureCanvasAgg(figure)
        self.draw(figure.add_subplot(), frame, opacity)
        return figure_png(figure)

    def widget(self):
        """The two sliders above the picture, as an ipywidgets box; moving one redraws the picture."""
        import ipywidgets

        image = ipywidgets.Image(value=self.png(self.frame, self.opacity), format="png")
        image.layout.max_width = "100%"
        frame = ipywidgets.IntSlider(self.frame, 0, self.frames - 1, description="frame")
        opacity = ipywidgets.FloatSlider(self.opacity, min=0, max=1, step=0.05, description="opacity")

        def redraw(_change):
            image.value = self.png(frame.value, opacity.value)

        frame.observe(redraw, "value")
        opacity.observe(redraw, "value")
        return ipywidgets.VBox([frame, opacity, image], layout={"align_items": "flex-start"})

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        """What Jupyter displays: the still picture, and the sliders if a kernel runs that can answer them."""
        bundle: dict[str, object] = {
            "text/plain": f"frame {self.frame} of {self.frames}, overlay opacity {self.opacity:g}",
            "image/png": base64.b64encode(self.png(self.frame, self.opacity)).decode(),
        }
        if _has_kernel():
            bundle[WIDGET_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self.widget().model_id}
        return bundle


def _has_kernel() -> bool:
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def show_clip_sliders(
    frames: Clip,
    masks: Clip | None = None,
    *,
    frame: int = 0,
    opacity: float = 0.5,
    legend: bool = True,
) -> PlotSliders:
    """Sliders over a clip. frames: (T, 3, H, W); masks: (T, H, W) class ids, or None to show the frames only."""

    def draw(ax: Axes, number: int, alpha: float) -> None:
        if masks is None:
            show_rgb(ax, frame_to_rgb(frames[number]), title=f"frame {number}")
        else:
            title = f"frame {number}, overlay {alpha:.0%}"
            show_overlay(ax, frames[number], masks[number], opacity=alpha, title=title, legend=legend)

    return PlotSliders(draw, frames=len(frames), frame=frame, opacity=opacity)
