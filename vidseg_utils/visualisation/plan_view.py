"""The ground seen from above: the field of view in white, objects as footprints, their paths as lines."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Polygon

from vidseg_utils.classes import class_name, shape_code
from vidseg_utils.task import CLIP_VIDEO_FRAMES, PAST_FRAMES
from vidseg_utils.visualisation.style import GRAY, class_colour
from vidseg_utils.world import CAMERA_POSITION, CUBE, OBJECT_RADIUS, Trajectory, unproject

_PICTURE_CORNERS = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])  # x, y in picture widths and heights
_CUBE_CORNERS = OBJECT_RADIUS * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])  # at yaw 0, world units


def visible_ground() -> np.ndarray:
    """Corners (4, 2) of the ground that the camera sees: x, y in world units."""
    return unproject(_PICTURE_CORNERS, height=1, width=1)


def plot_ground(ax: Axes, *, half_width: float | None = None, title: str | None = None) -> Axes:
    """Set up axes of the ground from above: a white field of view on grey, and a triangle for the camera.

    World y grows to the right, world x grows downwards, towards the viewer.

    half_width: show the square from -half_width to +half_width, in world units; None: show all that is drawn
    """
    view = visible_ground()[:, ::-1]  # (4, 2) as (y, x)
    ax.set_facecolor("#ECECEC")
    ax.add_patch(Polygon(view, facecolor="white", edgecolor=GRAY, linewidth=1, zorder=0))
    ax.plot(CAMERA_POSITION[1], CAMERA_POSITION[0], marker="^", color="#444444", markersize=8)
    ax.set_aspect("equal")
    ax.grid(visible=False)
    ax.set(xlabel="y, to the right (world units)", ylabel="x, towards the viewer (world units)")
    if half_width is None:
        ax.invert_yaxis()
    else:
        ax.set(xlim=(-half_width, half_width), ylim=(half_width, -half_width))
    if title is not None:
        ax.set_title(title)
    return ax


def plot_footprints(ax: Axes, class_ids: np.ndarray, poses: np.ndarray, *, opacity: float = 1.0) -> Axes:
    """Draw the footprints of N objects in the colours of their classes: squares for cubes, else circles.

    class_ids: (N,), 0 = no object; poses: (N, 3) x, y in world units and yaw in radians
    """
    for class_id, (x, y, yaw) in zip(class_ids.tolist(), poses, strict=True):
        if not class_id:
            continue
        if shape_code(class_id) == CUBE:
            rotation = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
            footprint = Polygon(((x, y) + _CUBE_CORNERS @ rotation.T)[:, ::-1])
        else:
            footprint = Circle((y, x), OBJECT_RADIUS)
        footprint.set(facecolor=class_colour(class_id), edgecolor=GRAY, linewidth=0.5, alpha=opacity)
        ax.add_patch(footprint)
    return ax


def plot_paths(
    ax: Axes, class_ids: np.ndarray, positions: np.ndarray, style: str = ".-", *, colour: str | None = None
) -> Axes:
    """Draw the paths of N objects, each in its class's colour or all in `colour`.

    class_ids: (N,), 0 = no object; positions: (T, N, 2) x, y in world units
    style: matplotlib's format of a line; by default a dot for each of the T positions, joined by a line
    """
    for n, class_id in enumerate(class_ids.tolist()):
        if class_id:
            line_colour = colour or class_colour(class_id)
            ax.plot(positions[:, n, 1], positions[:, n, 0], style, color=line_colour, linewidth=1.2)
    return ax


def plot_trajectory(ax: Axes, trajectory: Trajectory) -> Axes:
    """Draw the paths of a video's objects over the frames of the clip.

    Solid with dots: the past frames; dashed: the frames to be forecast; a ring: the last position; a cross: a
    collision; a name in brackets: an object that is never in view in the past frames.
    """
    clip = trajectory.select_frames(CLIP_VIDEO_FRAMES)
    plot_ground(ax)
    for n, class_id in enumerate(clip.class_ids.tolist()):
        x, y = clip.positions[:, n, 0], clip.positions[:, n, 1]
        late = not clip.in_view[:PAST_FRAMES, n].any()
        name = f"({class_name(class_id)})" if late else class_name(class_id)
        colour = class_colour(class_id)
        ax.plot(y[:PAST_FRAMES], x[:PAST_FRAMES], color=colour, marker=".", markersize=4, label=name)
        ax.plot(y[PAST_FRAMES - 1 :], x[PAST_FRAMES - 1 :], color=colour, linestyle=(0, (2, 1)))
        ax.plot(y[-1:], x[-1:], "o", color=colour, markerfacecolor="none", markersize=9)
    hits = [c.location for c in clip.collisions if c.frame <= CLIP_VIDEO_FRAMES[-1]]
    if hits:
        ax.plot([h[1] for h in hits], [h[0] for h in hits], "x", color="black", markersize=6, label="collision")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return ax
