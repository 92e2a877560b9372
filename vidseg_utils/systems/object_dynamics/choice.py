"""One answer out of many possible worlds: every pixel shows the object that enough of the worlds show there.

The score is the intersection over the union of all videos' pixels. A pixel that is right with probability p adds p to
the intersection and 1 - p to the union; that raises a score of J where p / (1 - p) > J, so from p = J / (1 + J) on.
"""

import numpy as np

from vidseg_utils.systems.object_dynamics.planar import Worlds
from vidseg_utils.systems.object_dynamics.silhouette import draw_masks

WORTH = 0.4  # share of the worlds, for a score of 0.67


def choose_pixels(class_id: np.ndarray, worlds: Worlds, *, height: int, width: int, worth: float = WORTH) -> np.ndarray:
    """class_id: (B, N), 0 = none; worlds: B x K of them, clip by clip -> (B, height, width) uint8 masks."""
    members = len(worlds.active) // len(class_id)
    answer = np.zeros((len(class_id), height, width), dtype=np.uint8)
    for clip, ids in enumerate(class_id):
        mine = slice(clip * members, (clip + 1) * members)
        present = worlds.active[mine] & (ids > 0)
        masks = draw_masks(np.broadcast_to(ids, present.shape), worlds.poses[mine], present, height=height, width=width)
        most = np.full((height, width), worth * members)
        for class_id_ in ids[ids > 0]:
            votes = (masks == class_id_).sum(axis=0)
            answer[clip][votes >= most] = class_id_
            most = np.maximum(most, votes)
    return answer
