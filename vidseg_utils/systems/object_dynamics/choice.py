"""One answer out of many possible worlds: every pixel shows the object that enough of the worlds show there.

The score is the intersection over the union of all videos' pixels. A pixel that is right with probability p adds p to
the intersection and 1 - p to the union; that raises a score of J where p / (1 - p) > J, so from p = J / (1 + J) on.
"""

import numpy as np

from vidseg_utils.systems.object_dynamics.planar import Worlds
from vidseg_utils.systems.object_dynamics.silhouette import draw_masks

WORTH = 0.45  # share of the worlds; 0.4 for a score of 0.65, but the worlds are a little too sure of themselves
DRAWN = 12  # worlds of a clip; more cost time and tell no more


def choose_pixels(class_id: np.ndarray, worlds: Worlds, *, height: int, width: int, worth: float = WORTH) -> np.ndarray:
    """class_id: (B, N), 0 = none; worlds: B x K of them, clip by clip -> (B, height, width) uint8 masks."""
    members = len(worlds.active) // len(class_id)
    drawn = min(members, DRAWN)
    answer = np.zeros((len(class_id), height, width), dtype=np.uint8)
    for clip, ids in enumerate(class_id):
        mine = slice(clip * members, clip * members + drawn)
        present = worlds.active[mine] & (ids > 0)
        masks = draw_masks(np.broadcast_to(ids, present.shape), worlds.poses[mine], present, height=height, width=width)
        most = np.full((height, width), worth * drawn)
        for object_id in ids[ids > 0]:
            votes = (masks == object_id).sum(axis=0)
            answer[clip][votes >= most] = object_id
            most = np.maximum(most, votes)
    return answer
