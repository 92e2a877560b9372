"""One answer out of many possible worlds: for each object the place that is worth most on average.

The score adds up overlaps, so the best answer to an uncertain question is neither the mean of the possible places (it
may be none of them) nor all of them at once, but the place whose silhouette overlaps the possible ones most; and no
object at all where even that is too little to pay for the pixels that it would take.
"""

import numpy as np

WORTH = 0.38  # expected overlap from which on an object is drawn: J / (1 + J) for a score J of about 0.6
_WIDTH, _DEPTH = 0.42, 0.85  # how far a silhouette moves, to the side and in depth, until it no longer overlaps itself


def expected_overlap(poses: np.ndarray) -> np.ndarray:
    """poses: (B, K, N, 3) -> (B, K, N): the mean share of each place's silhouette that the K places of it cover."""
    side = (poses[:, :, None, :, 1] - poses[:, None, :, :, 1]) / _WIDTH
    deep = (poses[:, :, None, :, 0] - poses[:, None, :, :, 0]) / _DEPTH
    apart = np.minimum(np.hypot(side, deep), 1.0)  # (B, K, K, N)
    overlap = (np.arccos(apart) - apart * np.sqrt(1 - apart**2)) * (2 / np.pi)  # of two discs of diameter 1
    return overlap.mean(axis=2)


def choose_poses(poses: np.ndarray, *, worth: float = WORTH) -> tuple[np.ndarray, np.ndarray]:
    """poses: (B, K, N, 3) of K sampled worlds -> the best pose of each object (B, N, 3), and whether to draw it."""
    overlap = expected_overlap(poses)
    best = overlap.argmax(axis=1)  # (B, N)
    chosen = np.take_along_axis(poses, best[:, None, :, None], axis=1)[:, 0]
    return chosen, overlap.max(axis=1) >= worth
