"""Pictures for lessons and reports: one style, one palette, one overlay.

Plot functions take and return matplotlib axes. They never show a figure. Only `save_figure`, `write_movie` and `film`
write files.
"""

from vidseg_utils.visualisation.curves import (
    group_confusion,
    plot_class_bars,
    plot_class_palette,
    plot_confusion,
    plot_horizon_curves,
    plot_reliability,
    plot_score_bars,
    plot_training_curves,
    training_curves_png,
)
from vidseg_utils.visualisation.decision_tree import plot_decision_tree
from vidseg_utils.visualisation.films import film
from vidseg_utils.visualisation.filmstrip import MovieView, clip_to_rgb, plot_filmstrip, write_movie
from vidseg_utils.visualisation.forecast import draw_forecast_movie, plot_forecast
from vidseg_utils.visualisation.outlines import plot_outline
from vidseg_utils.visualisation.overlays import (
    frame_to_rgb,
    mask_to_rgb,
    overlay_mask,
    plot_error_map,
    show_overlay,
    show_rgb,
)
from vidseg_utils.visualisation.plan_view import plot_footprints, plot_ground, plot_paths, plot_trajectory
from vidseg_utils.visualisation.play import Playground, play_with
from vidseg_utils.visualisation.style import BLUE, GRAY, class_colour, figure_png, save_figure, use_style
from vidseg_utils.visualisation.viewer import (
    VIEWER_JS,
    ClipView,
    browse,
    compare,
    display_widget,
    pack_clip,
    view,
)

__all__ = [
    "BLUE",
    "GRAY",
    "VIEWER_JS",
    "ClipView",
    "MovieView",
    "Playground",
    "browse",
    "class_colour",
    "clip_to_rgb",
    "compare",
    "display_widget",
    "draw_forecast_movie",
    "figure_png",
    "film",
    "frame_to_rgb",
    "group_confusion",
    "mask_to_rgb",
    "overlay_mask",
    "pack_clip",
    "play_with",
    "plot_class_bars",
    "plot_class_palette",
    "plot_confusion",
    "plot_decision_tree",
    "plot_error_map",
    "plot_filmstrip",
    "plot_footprints",
    "plot_forecast",
    "plot_ground",
    "plot_horizon_curves",
    "plot_outline",
    "plot_paths",
    "plot_reliability",
    "plot_score_bars",
    "plot_training_curves",
    "plot_trajectory",
    "save_figure",
    "show_overlay",
    "show_rgb",
    "training_curves_png",
    "use_style",
    "view",
    "write_movie",
]
