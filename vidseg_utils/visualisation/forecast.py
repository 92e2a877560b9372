"""A forecast as a picture and as a movie: what is given, what is forecast, and what the video then showed."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vidseg_utils.classes import BACKGROUND
from vidseg_utils.task import PAST_FRAMES
from vidseg_utils.visualisation.filmstrip import draw_side_by_side
from vidseg_utils.visualisation.overlays import (
    Array,
    Clip,
    add_class_legend,
    check_mask,
    find_contours,
    frame_to_rgb,
    mask_to_rgb,
    overlay_mask,
    plot_error_map,
    show_overlay,
    show_rgb,
)
from vidseg_utils.visualisation.style import class_colour

MOVIE_SCALE = 1.5  # of the panels of `draw_forecast_movie`, so that the README's animation is small
EMPTY_RGB = 225  # light grey: nothing is known of the future frame but the mask


def draw_forecast(mask: Array, truth: Array | None = None) -> np.ndarray:
    """A mask (H, W) as a picture (H, W, 3) uint8: objects in their classes' colours, outlines of `truth` in black."""
    picture = mask_to_rgb(mask)
    picture[check_mask(mask) == BACKGROUND] = EMPTY_RGB
    if truth is not None:
        picture[find_contours(truth)] = 0
    return picture


def draw_forecast_movie(frames: Clip, masks: Clip, forecasts: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """The pictures of a movie: the video on the left, its past masks and then the forecasts on the right.

    frames: those of the video, which may end before the forecasts do; its last one is then shown on
    masks: of these frames; forecasts: from frame 11 on; None where there is none
    """
    moments = []
    for number in range(PAST_FRAMES + len(forecasts)):
        is_shown, ahead = number < len(frames), number - PAST_FRAMES + 1
        left = frame_to_rgb(frames[number if is_shown else -1])
        left_title = f"frame {number}: what happens" if is_shown else f"frame {len(frames) - 1}: here the video ends"
        if ahead < 1:
            right, right_title = overlay_mask(frames[number], masks[number]), "given: 11 frames and their masks"
        elif (forecast := forecasts[ahead - 1]) is None:
            right, right_title = draw_forecast(np.zeros_like(masks[0])), f"no forecast, {ahead} ahead"
        else:
            right = draw_forecast(forecast, masks[number] if is_shown else None)
            right_title = f"forecast, {ahead} ahead" + (" (black: in the video)" if is_shown else "")
        moments.append({left_title: left, right_title: right})
    return draw_side_by_side(moments, scale=MOVIE_SCALE)


def plot_forecast(
    frame: Array,
    mask: np.ndarray,
    forecast: np.ndarray,
    *,
    ahead: int,
    paths: dict[int, np.ndarray] | None = None,
    later: tuple[Array, np.ndarray] | None = None,
    later_name: str = "true mask",
) -> Figure:
    """The last given frame with its mask and the forecast; below, if the video goes on, what it shows and the error.

    frame, mask: of frame 10; forecast: the mask (H, W) `ahead` frames later
    paths: class id -> (T, 2) pixels x, y of each object's centre from frame 10 on, drawn over the frame
    later: frame and mask of the video at the time of the forecast; later_name: what its mask is
    """
    figure, axes = plt.subplots(
        1 if later is None else 2, 2, figsize=(10, 3.0 if later is None else 6.0), squeeze=False
    )
    number = PAST_FRAMES - 1 + ahead
    show_overlay(axes[0, 0], frame, mask, title="frame 10, the last one given, with its mask")
    for class_id, path in (paths or {}).items():
        plot_path(axes[0, 0], class_id, path)
    show_rgb(axes[0, 1], draw_forecast(forecast), title=f"forecast of frame {number}")
    add_class_legend(axes[0, 1], forecast)
    if later is not None:
        show_overlay(axes[1, 0], *later, title=f"frame {number} of the video, with its {later_name}")
        plot_error_map(axes[1, 1], forecast, later[1], title="errors of the forecast")
    return figure


def plot_path(ax: Axes, class_id: int, path: np.ndarray) -> Axes:
    """Draw the way of one object, (T, 2) pixels x, y, over a picture: a dot for each frame, a ring where it ends."""
    ax.autoscale(enable=False)  # the picture stays as it is where a path leaves it
    ax.plot(*path.T, ".-", color="white", linewidth=2.4, markersize=5)
    ax.plot(*path.T, ".-", color=class_colour(class_id), linewidth=1.2, markersize=3)
    ax.plot(*path[-1:].T, "o", color="white", markerfacecolor=class_colour(class_id), markersize=6)
    return ax
