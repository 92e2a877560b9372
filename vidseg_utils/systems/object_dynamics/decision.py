"""One answer out of many possible worlds: for each object the place that is worth most on average.

The score adds up overlaps, so the best answer to an uncertain question is neither the mean of the possible places (it
may be none of them) nor all of them at once, but the place whose silhouette overlaps the possible ones most; and no
object at all where even that is too little to pay for the pixels that it would take: a pixel that is right with
probability p adds p to the intersection and 1 - p to the union, which raises a score of J from p = J / (1 + J) on.
"""

import numpy as np

from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds
from vidseg_utils.world.silhouettes import draw_masks

MIN_EXPECTED_OVERLAP = 0.38  # expected overlap from which on an object is drawn: J / (1 + J) for a score J of about 0.6
_WIDTH, _DEPTH = 0.42, 0.85  # how far a silhouette moves, to the side and in depth, until it no longer overlaps itself


def decide_mask(
    class_id: np.ndarray, worlds: Worlds, *, height: int, width: int, min_overlap: float = MIN_EXPECTED_OVERLAP
) -> np.ndarray:
    """class_id: (B, N), 0 = none; worlds: B x K of them, clip by clip -> (B, height, width) uint8 masks."""
    clips, slots = class_id.shape
    poses = worlds.poses.reshape(clips, -1, slots, 3)
    chosen, drawn = decide_poses(poses, min_overlap=min_overlap)
    present = drawn & worlds.active.reshape(poses.shape[:3])[:, 0] & (class_id > 0)
    return draw_masks(class_id, chosen, present, height=height, width=width)


def decide_poses(poses: np.ndarray, *, min_overlap: float = MIN_EXPECTED_OVERLAP) -> tuple[np.ndarray, np.ndarray]:
    """poses: (B, K, N, 3) of K sampled worlds -> the best pose of each object (B, N, 3), and whether to draw it."""
    overlap = expected_overlap(poses)
    best = overlap.argmax(axis=1)  # (B, N)
    chosen = np.take_along_axis(poses, best[:, None, :, None], axis=1)[:, 0]
    return chosen, overlap.max(axis=1) >= min_overlap


def expected_overlap(poses: np.ndarray) -> np.ndarray:
    """poses: (B, K, N, 3) -> (B, K, N): the mean share of each place's silhouette that the K places of it cover."""
    side = (poses[:, :, None, :, 1] - poses[:, None, :, :, 1]) / _WIDTH
    deep = (poses[:, :, None, :, 0] - poses[:, None, :, :, 0]) / _DEPTH
    apart = np.minimum(np.hypot(side, deep), 1.0)  # (B, K, K, N)
    overlap = (np.arccos(apart) - apart * np.sqrt(1 - apart**2)) * (2 / np.pi)  # of two discs of diameter 1
    return overlap.mean(axis=2)
