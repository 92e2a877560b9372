"""Measurements sorted into tracks: a class id is an identity, so following an object is looking up its class.

What is seen too seldom is no object, and a class that stands in for another one in a single frame is a flicker.
"""

from dataclasses import dataclass

import numpy as np

from vidseg_utils.classes import N_CLASSES, shape_code
from vidseg_utils.systems.object_dynamics.perception.outlines import Measurements

MAX_STEP = 0.6  # world units: no object goes further in a course frame


@dataclass
class Tracks:
    """Objects of B clips in N slots, as sighted."""

    class_id: np.ndarray  # (B, N) 0 for an empty slot
    seen: np.ndarray  # (B, T, N) bool
    pose: np.ndarray  # (B, T, N, 3)
    information: np.ndarray  # (B, T, N, 3, 3)

    @property
    def shape(self) -> np.ndarray:
        """(B, N) 0 cube, 1 sphere (or empty), 2 cylinder."""
        return np.where(self.class_id > 0, shape_code(self.class_id), 1)


def build_tracks(sightings: Measurements, clips: int, frames: int) -> Tracks:
    """Sort sightings by clip and class; what was seen too seldom to be an object is left out."""
    seen = np.zeros((clips, frames, N_CLASSES), dtype=bool)
    seen[sightings.clip, sightings.frame, sightings.class_id] = True
    real = (seen.sum(axis=1) >= 2) | seen[:, -1]
    real &= ~_flickers(sightings, seen)
    slots = max(1, int(real.sum(axis=1).max(initial=1)))
    order = np.argsort(~real, axis=1, kind="stable")[:, :slots]
    class_id = np.where(np.take_along_axis(real, order, axis=1), order, 0).astype(np.uint8)
    slot = np.full((clips, N_CLASSES), -1)
    np.put_along_axis(slot, order, np.broadcast_to(np.arange(slots), order.shape), axis=1)
    slot[~real] = -1
    kept = slot[sightings.clip, sightings.class_id]
    s = sightings[kept >= 0]
    place = (s.clip, s.frame, kept[kept >= 0])
    tracks = Tracks(
        class_id,
        np.zeros((clips, frames, slots), dtype=bool),
        np.zeros((clips, frames, slots, 3)),
        np.tile(np.eye(3), (clips, frames, slots, 1, 1)),
    )
    tracks.seen[place] = True
    tracks.pose[place] = s.pose
    tracks.information[place] = s.information
    return tracks


def _flickers(sightings: Measurements, seen: np.ndarray) -> np.ndarray:
    """(B, 49): classes seen in the last frame alone, where an object stood a frame before that is now missing."""
    frames = seen.shape[1]
    flickers = np.zeros((len(seen), N_CLASSES), dtype=bool)
    if frames < 2:
        return flickers
    new = seen[sightings.clip, :, sightings.class_id].sum(axis=1) == 1
    gone = ~seen[sightings.clip, -1, sightings.class_id]
    new_ones = np.flatnonzero(new & (sightings.frame == frames - 1))
    gone_ones = np.flatnonzero(gone & (sightings.frame == frames - 2))
    for one in new_ones:
        others = gone_ones[sightings.clip[gone_ones] == sightings.clip[one]]
        apart = np.linalg.norm(sightings.pose[others, :2] - sightings.pose[one, :2], axis=-1)
        flickers[sightings.clip[one], sightings.class_id[one]] = (apart < MAX_STEP).any()
    return flickers
