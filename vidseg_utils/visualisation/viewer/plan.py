"""A forecast of objects seen from above, as JSON for the viewer: forecast, possible and true paths."""

from typing import Any

import numpy as np

from vidseg_utils.classes import class_name
from vidseg_utils.systems.object_dynamics import Outlook
from vidseg_utils.task import CLIP_FRAMES, CLIP_VIDEO_FRAMES, PAST_FRAMES
from vidseg_utils.visualisation.plan_view import visible_ground
from vidseg_utils.visualisation.style import hex_colour
from vidseg_utils.world import Trajectory


def pack_plan(title: str, outlook: Outlook, trajectory: Trajectory | None) -> dict[str, Any]:
    """Pack the outlook from frame 10 on for `plans` of `pack_clip`.

    trajectory: the true poses of the whole video, if they are known
    All positions are (to the right, towards the viewer), in world units.
    """
    paths = {int(id_): {"forecast": _points(outlook.positions[:, n])} for n, id_ in enumerate(outlook.class_id)}
    for n, id_ in enumerate(outlook.class_id.tolist()):
        paths[id_]["cloud"] = _points(outlook.possible_positions[-1, :, n])
    if trajectory is not None:
        clip = trajectory.select_frames(CLIP_VIDEO_FRAMES)
        for n, id_ in enumerate(clip.class_ids.tolist()):
            if clip.in_view[:, n].any():
                paths.setdefault(id_, {})["truth"] = _points(clip.positions[:, n, :2])
    return {
        "title": title,
        "first": PAST_FRAMES - 1,
        "last": CLIP_FRAMES - 1,
        "view": _points(visible_ground()),
        "objects": [
            {"id": id_, "name": class_name(id_), "colour": hex_colour(id_), **path} for id_, path in paths.items()
        ],
    }


def _points(positions: np.ndarray) -> list[list[float]]:
    """(…, 2) x, y of the world -> lists of (to the right, towards the viewer)."""
    return np.asarray(positions, dtype=float)[:, ::-1].round(3).tolist()
