"""One mask out of many possible worlds: for each object the pose with the largest expected overlap.

The score adds up overlaps. The best answer is therefore the pose whose silhouette overlaps the possible ones most, not
the mean pose, which may itself be impossible, and not all poses at once. An object is left out if even that overlap is
too small to raise the score; see `drawing_threshold`.
"""

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from vidseg_utils.metrics import drawing_threshold
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds
from vidseg_utils.world.label_offset import EXACT_LABELS, LabelOffset
from vidseg_utils.world.mask_drawing import draw_masks

MIN_EXPECTED_OVERLAP = drawing_threshold(0.6)  # an object with less is not drawn
# World units, sideways and in depth, by which an object must move for its silhouette to overlap its old one no more.
_SIDEWAYS_EXTENT, _DEPTH_EXTENT = 0.42, 0.85


def decide_mask(
    class_id: Integer[np.ndarray, "B N"],
    worlds: Worlds,
    *,
    height: int,
    width: int,
    min_overlap: float = MIN_EXPECTED_OVERLAP,
    offset: LabelOffset = EXACT_LABELS,
) -> UInt8[np.ndarray, "B height width"]:
    """Decide the masks of B clips.

    class_id: 0 = no object; worlds: K of each clip, clip by clip; offset: of the labels that are drawn
    """
    clips, slots = class_id.shape
    poses = worlds.poses.reshape(clips, -1, slots, 3)
    best_poses, drawn = decide_poses(poses, min_overlap=min_overlap)
    present = drawn & worlds.active.reshape(poses.shape[:3])[:, 0] & (class_id > 0)
    return draw_masks(class_id, best_poses, present, height=height, width=width, offset=offset)


def decide_poses(
    poses: Float[np.ndarray, "B K N 3"], *, min_overlap: float = MIN_EXPECTED_OVERLAP
) -> tuple[Float[np.ndarray, "B N 3"], Bool[np.ndarray, "B N"]]:
    """Choose the best of the K sampled poses of each object, and whether to draw the object."""
    overlap = expected_overlap(poses)
    best = overlap.argmax(axis=1)  # (B, N)
    best_poses = np.take_along_axis(poses, best[:, None, :, None], axis=1)[:, 0]
    return best_poses, overlap.max(axis=1) >= min_overlap


def expected_overlap(poses: Float[np.ndarray, "B K N 3"]) -> Float[np.ndarray, "B K N"]:
    """Mean share of each sampled pose's silhouette that the K sampled silhouettes of the same object cover."""
    sideways = (poses[:, :, None, :, 1] - poses[:, None, :, :, 1]) / _SIDEWAYS_EXTENT
    in_depth = (poses[:, :, None, :, 0] - poses[:, None, :, :, 0]) / _DEPTH_EXTENT
    distance = np.minimum(np.hypot(sideways, in_depth), 1.0)  # (B, K, K, N)
    overlap = (np.arccos(distance) - distance * np.sqrt(1 - distance**2)) * (2 / np.pi)  # of two discs of diameter 1
    return overlap.mean(axis=2)
