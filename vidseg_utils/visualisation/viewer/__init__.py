"""The mask viewer: clips in the browser, in notebooks and on pages, with a still picture wherever it cannot run."""

from vidseg_utils.visualisation.viewer.clip_view import view
from vidseg_utils.visualisation.viewer.gallery import Gallery
from vidseg_utils.visualisation.viewer.packing import pack_clip
from vidseg_utils.visualisation.viewer.split_view import browse, compare
from vidseg_utils.visualisation.viewer.widget import VIEWER_JS, ClipView, display_widget

__all__ = [
    "VIEWER_JS",
    "ClipView",
    "Gallery",
    "browse",
    "compare",
    "display_widget",
    "pack_clip",
    "view",
]
