"""A forecast of every frame ahead, object by object: the mask, and where each object will be with what uncertainty."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, UInt8

from vidseg_utils.systems.object_dynamics.decision import decide_mask, decide_poses
from vidseg_utils.systems.object_dynamics.system import ObjectDynamics
from vidseg_utils.world.label_offset import LabelOffset


@dataclass(frozen=True)
class Outlook:
    """N objects at the last past frame and in the T frames after it. World units; K possible worlds."""

    class_id: UInt8[np.ndarray, " N"]
    masks: UInt8[np.ndarray, "T H W"]  # of the T frames ahead
    positions: Float[np.ndarray, "T1 N 2"]  # at the last past frame and in each frame ahead: T + 1 of them
    possible_positions: Float[np.ndarray, "T1 K N 2"]  # in each of the K worlds
    spread: Float[np.ndarray, "T1 N"]  # root mean square distance of the possible positions from their mean
    velocity: Float[np.ndarray, "N 2"]  # at the last past frame, world units a video frame: mean over the worlds
    velocity_spread: Float[np.ndarray, " N"]  # root mean square distance from that mean


def forecast_ahead(
    system: ObjectDynamics, past: Integer[np.ndarray, "T H W"], *, horizon: int, offset: LabelOffset | None = None
) -> Outlook:
    """Forecast one clip 1, 2, … `horizon` frames ahead. The mask 11 frames ahead is that of `system.predict`.

    past: class ids, one class an object, as `system.segment` finds them
    offset: of these masks against the exact ones; by default that of the segmenter's
    """
    height, width = past.shape[1:]
    tracks, start = system.estimate_worlds(past[None], offset=system.segmenter_offset if offset is None else offset)
    present = start.active[0] & (tracks.class_id[0] > 0)
    masks, moments = [], [start]
    for ahead in range(1, horizon + 1):
        worlds = start.copy()  # each time from the start, as `predict` does: physics in one go
        system.advance_worlds(worlds, tracks, ahead=ahead)
        moments.append(worlds)
        masks.append(
            decide_mask(tracks.class_id, worlds, height=height, width=width, offset=system.constants.label_offset)
        )
    poses, _ = decide_poses(np.stack([worlds.poses for worlds in moments]))
    possible = np.stack([worlds.position for worlds in moments])[:, :, present]
    return Outlook(
        class_id=tracks.class_id[0][present],
        masks=np.concatenate(masks),
        positions=poses[:, present, :2],
        possible_positions=possible,
        spread=_spread(possible),
        velocity=start.velocity.mean(axis=0)[present],
        velocity_spread=_spread(start.velocity[None])[0, present],
    )


def _spread(vectors: np.ndarray) -> np.ndarray:
    """(T, K, N, 2) -> (T, N): root mean square distance from the mean over the K worlds."""
    return np.sqrt(vectors.var(axis=1).sum(axis=-1))
