"""Sliders around a plain plot function, with a still picture wherever nobody can move them.

One output carries both: Jupyter shows the sliders while the kernel lives; GitHub, a printed page or a saved notebook
show the picture. Kernels started by our runner save the picture alone.
"""

import base64
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vidseg_utils.visualisation.overlays import picture, show, show_overlay
from vidseg_utils.visualisation.style import figure_png

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class Explorer:
    """A picture that depends on a frame and on an opacity; displayed as a cell's last value it becomes two sliders."""

    def __init__(
        self,
        draw: Callable[[Axes, int, float], object],
        *,
        frames: int,
        frame: int = 0,
        opacity: float = 0.5,
    ):
        """draw: plots into axes for a frame in 0..frames-1 and an opacity in [0, 1]; frame, opacity: where to begin."""
        if not 0 <= frame < frames:
            raise ValueError(f"frame {frame} is not in 0..{frames - 1}")
        self.draw, self.frames, self.frame, self.opacity = draw, frames, frame, opacity

    def png(self, frame: int, opacity: float) -> bytes:
        """The picture for one position of the sliders; made apart from pyplot, so that no second copy is displayed."""
        figure = Figure(figsize=(5.0, 2.6), layout="constrained")
        FigureCanvasAgg(figure)
        self.draw(figure.add_subplot(), frame, opacity)
        return figure_png(figure)

    def widget(self):
        """The two sliders above a picture that follows them, as an ipywidgets box."""
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
        """The still picture, and beside it the sliders if there is a kernel that could answer them."""
        bundle = {
            "text/plain": f"frame {self.frame} of {self.frames}, overlay opacity {self.opacity:g}",
            "image/png": base64.b64encode(self.png(self.frame, self.opacity)).decode(),
        }
        if _has_kernel():
            bundle[WIDGET_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self.widget().model_id}
        return bundle


def _has_kernel() -> bool:
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def explore_clip(
    frames: Sequence, masks: Sequence | None = None, *, frame: int = 0, opacity: float = 0.5, legend: bool = True
) -> Explorer:
    """Sliders over one clip. frames: (T, 3, H, W); masks: (T, H, W), left out for frames alone."""

    def draw(ax: Axes, number: int, alpha: float) -> None:
        if masks is None:
            show(ax, picture(frames[number]), title=f"frame {number}")
        else:
            title = f"frame {number}, overlay {alpha:.0%}"
            show_overlay(ax, frames[number], masks[number], opacity=alpha, title=title, legend=legend)

    return Explorer(draw, frames=len(frames), frame=frame, opacity=opacity)
