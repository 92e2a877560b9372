"""The viewer in a notebook: a widget for as long as a kernel runs, and a still picture for ever after.

A cell with a viewer has two outputs. The first is the still picture: GitHub, a printed page and a notebook that is
opened again show it. The second is the widget, which hides the picture while it lives. They cannot be one output:
JupyterLab prefers the widget of a saved notebook to the picture beside it, and then reports that there is none.
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vidseg_utils.progress import WIDGET_VIEW
from vidseg_utils.visualisation.viewer.packing import compress_clip

VIEWER_JS = Path(__file__).with_name("viewer.js")


@cache
def widget_class() -> type:
    """The anywidget class of the viewer. It is made on first use, because importing anywidget takes a while."""
    import anywidget
    import traitlets

    class ViewerWidget(anywidget.AnyWidget):
        """A packed clip and the options of `createViewer`."""

        _esm = VIEWER_JS.read_text(encoding="utf-8")
        clip = traitlets.Bytes().tag(sync=True)
        options = traitlets.Dict().tag(sync=True)

    return ViewerWidget


class ClipView:
    """A packed clip that displays itself as the last value of a cell."""

    def __init__(
        self, clip: Mapping[str, Any], *, still: Callable[[], bytes], options: Mapping[str, Any] | None = None
    ):
        """still: makes the PNG of the still picture; options: of `createViewer`"""
        self.clip, self.still, self.options = dict(clip), still, dict(options or {})

    def __repr__(self) -> str:
        return f"viewer of {self.clip['title'] or 'a clip'}: {self.clip['frames']} frames"

    def widget(self):
        """The living viewer, an anywidget."""
        return widget_class()(clip=compress_clip(self.clip), options=self.options)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display({"text/plain": repr(self), "image/png": self.still()}, raw=True)
        if has_kernel():
            view = {"version_major": 2, "version_minor": 0, "model_id": self.widget().model_id}
            display({"text/plain": f"{self!r} (run the cell to use it)", WIDGET_VIEW: view}, raw=True)


def has_kernel() -> bool:
    """Whether a notebook's kernel runs this code, so that a browser can show widgets."""
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")
