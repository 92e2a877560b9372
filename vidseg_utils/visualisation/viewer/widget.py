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


@cache
def gallery_widget_class() -> type:
    """The anywidget class of a viewer of many videos."""
    import traitlets

    class GalleryWidget(widget_class()):
        """The bar above the viewer shows `gallery`; a click there sets `request`."""

        gallery = traitlets.Dict().tag(sync=True)
        request = traitlets.Dict().tag(sync=True)

    return GalleryWidget


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
        display_widget(self.widget, still=self.still(), text=repr(self))


def display_widget(make: Callable[[], Any], *, still: bytes, text: str) -> None:
    """Display the still picture and then, if a kernel runs, the widget that `make` returns, which hides the picture.

    still: PNG; text: what both are, in words
    """
    from IPython.display import display

    display({"text/plain": text, "image/png": still}, raw=True)
    if has_kernel():
        # viewer.js finds the outputs with `has_picture`
        view = {"version_major": 2, "version_minor": 0, "model_id": make().model_id, "has_picture": True}
        display({"text/plain": "Run this cell to use the viewer.", WIDGET_VIEW: view}, raw=True)


def has_kernel() -> bool:
    """Whether a notebook's kernel runs this code, so that a browser can show widgets."""
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")
