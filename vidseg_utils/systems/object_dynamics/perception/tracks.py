"""Measurements sorted into tracks: a class id is an object's identity, so association is a look-up of the class.

A class that is measured too seldom is no object. A class that replaces another one in a single frame is a flicker.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from vidseg_utils.classes import N_CLASSES, shape_code
from vidseg_utils.systems.object_dynamics.perception.outlines import Measurements
from vidseg_utils.world.solids import SPHERE

MAX_STEP = 0.6  # world units: no object moves further from one frame of a clip to the next
MIN_FRAMES = 2  # frames in which an object must be measured, unless it is first seen in the last one


@dataclass
class Tracks:
    """The measurements of B clips of T frames, by object; N slots a clip."""

    class_id: UInt8[np.ndarray, "B N"]  # 0 for an empty slot
    seen: Bool[np.ndarray, "B T N"]  # whether the object was measured in that frame
    pose: Float[np.ndarray, "B T N 3"]  # x, y in world units, yaw in radians
    information: Float[np.ndarray, "B T N 3 3"]  # inverse covariance of the pose

    @property
    def shape(self) -> Integer[np.ndarray, "B N"]:
        """Shape codes; empty slots count as spheres."""
        return np.where(self.class_id > 0, shape_code(self.class_id), SPHERE)


def build_tracks(measurements: Measurements, *, clips: int, frames: int) -> Tracks:
    """Sort measurements by clip and class, and leave out classes that are no object."""
    m = measurements
    seen = np.zeros((clips, frames, N_CLASSES), dtype=bool)
    seen[m.clip, m.frame, m.class_id] = True
    is_object = (seen.sum(axis=1) >= MIN_FRAMES) | seen[:, -1]
    is_object &= ~_flickers(measurements, seen)
    slots = max(1, int(is_object.sum(axis=1).max(initial=1)))
    order = np.argsort(~is_object, axis=1, kind="stable")[:, :slots]
    class_id = np.where(np.take_along_axis(is_object, order, axis=1), order, 0).astype(np.uint8)
    slot_of_class = np.full((clips, N_CLASSES), -1)
    np.put_along_axis(slot_of_class, order, np.broadcast_to(np.arange(slots), order.shape), axis=1)
    slot_of_class[~is_object] = -1
    slot = slot_of_class[m.clip, m.class_id]
    kept = m[slot >= 0]
    index = (kept.clip, kept.frame, slot[slot >= 0])
    tracks = Tracks(
        class_id,
        np.zeros((clips, frames, slots), dtype=bool),
        np.zeros((clips, frames, slots, 3)),
        np.tile(np.eye(3), (clips, frames, slots, 1, 1)),
    )
    tracks.seen[index] = True
    tracks.pose[index] = kept.pose
    tracks.information[index] = kept.information
    return tracks


def _flickers(measurements: Measurements, seen: np.ndarray) -> np.ndarray:
    """(B, 49): classes seen in the last frame only, close to an object that disappeared in that frame."""
    m = measurements
    frames = seen.shape[1]
    flickers = np.zeros((len(seen), N_CLASSES), dtype=bool)
    if frames < 2:
        return flickers
    seen_once = seen[m.clip, :, m.class_id].sum(axis=1) == 1
    gone = ~seen[m.clip, -1, m.class_id]
    appeared = np.flatnonzero(seen_once & (m.frame == frames - 1))
    disappeared = np.flatnonzero(gone & (m.frame == frames - 2))
    for new in appeared:
        others = disappeared[m.clip[disappeared] == m.clip[new]]
        distance = np.linalg.norm(m.pose[others, :2] - m.pose[new, :2], axis=-1)
        flickers[m.clip[new], m.class_id[new]] = (distance < MAX_STEP).any()
    return flickers
