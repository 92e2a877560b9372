"""The floor from above: the camera below, what it sees in white, objects as their footprints."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Polygon

from vidseg_utils.classes import class_attributes
from vidseg_utils.visualisation.style import GRAY, class_colour
from vidseg_utils.world.camera import CAMERA_POSITION, unproject
from vidseg_utils.world.solids import OBJECT_RADIUS

_PICTURE = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])  # its corners
_FOOTPRINT = OBJECT_RADIUS * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])


def floor_plan(ax: Axes, *, reach: float | None = None, title: str | None = None) -> Axes:
    """Set up axes: world y to the right, world x down; `reach` world units around the middle, or all that is drawn."""
    view = unproject(_PICTURE, height=1, width=1)[:, ::-1]  # (4, 2) as (y, x)
    ax.set_facecolor("#ECECEC")
    ax.add_patch(Polygon(view, facecolor="white", edgecolor=GRAY, linewidth=1, zorder=0))
    ax.plot(CAMERA_POSITION[1], CAMERA_POSITION[0], marker="^", color="#444444", markersize=8)
    ax.set_aspect("equal")
    ax.grid(visible=False)
    ax.set(xlabel="y, to the right (world units)", ylabel="x, towards the viewer (world units)")
    if reach is None:
        ax.invert_yaxis()
    else:
        ax.set(xlim=(-reach, reach), ylim=(reach, -reach))
    if title is not None:
        ax.set_title(title)
    return ax


def draw_objects(ax: Axes, class_ids: np.ndarray, poses: np.ndarray, *, opacity: float = 1.0) -> Axes:
    """Footprints of N objects. class_ids: (N,), 0 = none; poses: (N, 3) x, y in world units and yaw in radians."""
    for class_id, (x, y, yaw) in zip(class_ids, poses, strict=True):
        if not class_id:
            continue
        look = {"facecolor": class_colour(int(class_id)), "edgecolor": GRAY, "linewidth": 0.5, "alpha": opacity}
        if class_attributes(int(class_id))[0] == "cube":
            turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
            ax.add_patch(Polygon(((x, y) + _FOOTPRINT @ turn.T)[:, ::-1], **look))
        else:
            ax.add_patch(Circle((y, x), OBJECT_RADIUS, **look))
    return ax


def draw_paths(
    ax: Axes, class_ids: np.ndarray, places: np.ndarray, style: str = ".-", *, colour: str | None = None
) -> Axes:
    """Paths of N objects, in their own colours or in one. class_ids: (N,), 0 = none; places: (T, N, 2) world units."""
    for n, class_id in enumerate(class_ids):
        if class_id:
            own = colour or class_colour(int(class_id))
            ax.plot(places[:, n, 1], places[:, n, 0], style, color=own, linewidth=1.2)
    return ax
