"""A played scene as a still picture: its plan, and what happened beside what was forecast."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vidseg_utils.classes import class_name
from vidseg_utils.simulator import PlacedObject
from vidseg_utils.task import CLIP_FRAMES, CLIP_VIDEO_FRAMES, PAST_FRAMES
from vidseg_utils.visualisation.forecast import draw_forecast
from vidseg_utils.visualisation.overlays import show_overlay, show_rgb
from vidseg_utils.visualisation.plan_view import plot_footprints, plot_ground, plot_trajectory
from vidseg_utils.visualisation.play.scene_forecast import SceneForecast
from vidseg_utils.visualisation.style import class_colour

ARROW_SECONDS = 0.5  # an arrow ends where the object would be after this time without friction
PLAN_CORNERS = np.array([(-4.1, -3.9), (4.6, 3.9)])  # world x, y that the plan always shows
SHOWN_FRAMES = (PAST_FRAMES - 1, 16, CLIP_FRAMES - 1)  # of the pictures


def plot_scene(ax: Axes, objects: Sequence[PlacedObject], played: SceneForecast | None = None) -> Axes:
    """The plan of a scene at its start: footprints and arrows of velocity.

    played: also draws the paths and, where the system forecasts objects, their possible ends as dots and the chosen
    one as a plus sign
    """
    poses = np.array([(placed.x, placed.y, placed.yaw) for placed in objects])
    if played is not None:
        plot_trajectory(ax, played.trajectory)
        if (legend := ax.get_legend()) is not None:
            legend.remove()
        if (outlook := played.forecast.outlook) is not None:
            for n, class_id in enumerate(outlook.class_id.tolist()):
                ends = outlook.possible_positions[-1, :, n]
                ax.plot(ends[:, 1], ends[:, 0], ".", color=class_colour(class_id), markersize=3, alpha=0.5)
                ax.plot(*outlook.positions[-1, n, ::-1], "P", color=class_colour(class_id), markeredgecolor="black")
    else:
        plot_ground(ax)
    plot_footprints(ax, np.array([placed.class_id for placed in objects]), poses)
    for placed in objects:
        if placed.speed:
            tip = (placed.y + placed.vy * ARROW_SECONDS, placed.x + placed.vx * ARROW_SECONDS)
            arrow = {"arrowstyle": "-|>", "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0}
            ax.annotate("", tip, (placed.y, placed.x), arrowprops=arrow)
    reach = np.concatenate([poses[:, :2], PLAN_CORNERS])
    ax.set(xlim=(reach[:, 1].min() - 0.4, reach[:, 1].max() + 0.4), ylim=(reach[:, 0].max(), reach[:, 0].min() - 0.4))
    return ax


def plot_scene_forecast(objects: Sequence[PlacedObject], played: SceneForecast, *, name: str) -> Figure:
    """The plan, and three frames: what happened above what was forecast. `name`: of the system."""
    figure = plt.figure(figsize=(11, 3.9))
    grid = figure.add_gridspec(2, 4, width_ratios=(1.7, 1, 1, 1))
    plan = plot_scene(figure.add_subplot(grid[:, 0]), objects, played)
    plan.set(title="from above; plus: forecast", xlabel="", ylabel="")
    true_masks, forecast = played.clip.masks, played.forecast
    assert true_masks is not None
    for column, frame in enumerate(SHOWN_FRAMES, start=1):
        above, below = (figure.add_subplot(grid[row, column]) for row in (0, 1))
        show_overlay(above, played.clip.frames[frame], true_masks[frame], title=f"frame {frame}")
        ahead = frame - PAST_FRAMES + 1
        if ahead <= 0:
            show_overlay(below, played.clip.frames[frame], forecast.past_masks[frame], title="given, masks as read")
        elif (mask := forecast.masks[ahead - 1]) is None:
            show_rgb(below, draw_forecast(np.zeros_like(true_masks[0])), title="no forecast")
        else:
            jaccard = f", Jaccard {played.scores['forecast']:.2f}" if frame == CLIP_FRAMES - 1 else ""
            show_rgb(below, draw_forecast(mask, true_masks[frame]), title=f"{ahead} ahead{jaccard}")
    figure.suptitle(f"{name} forecasts a scene of {len(objects)} objects", x=0.01, ha="left", fontsize=10)
    return figure


def describe_scores(played: SceneForecast) -> str:
    """The scores in one line for people."""
    scores = ", ".join(f"{name} {score:.2f}" for name, score in played.scores.items())
    return f"Jaccard index of frame {CLIP_FRAMES - 1}: {scores}"


def describe_errors(played: SceneForecast) -> str:
    """The number of collisions, and the object that was missed most, in one line for people."""
    hits = sum(collision.frame <= CLIP_VIDEO_FRAMES[-1] for collision in played.trajectory.collisions)
    line = f"{hits or 'no'} collision{'' if hits == 1 else 's'}"
    if not played.forecast.found_objects:
        return f"{line}; the system finds no object in the given frames"
    if played.distances:
        worst = max(played.distances, key=played.distances.__getitem__)
        line += f"; largest error {played.distances[worst]:.2f} units, of the {class_name(worst)}"
    return line
