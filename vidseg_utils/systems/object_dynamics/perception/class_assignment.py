"""One class for each object of a video: a segmenter names every pixel of every frame anew, an object is one thing.

Components are linked into tracks by position and appearance. Along a track the logarithms of the votes add up,
minus the residuals of a cube's, a sphere's and a cylinder's outline: where the segmenter is unsure of the shape,
geometry decides. No two objects of a video share a class, so all tracks get their classes at once (Kuhn, 1955).
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX, N_CLASSES, SHAPES
from vidseg_utils.systems.object_dynamics.perception.components import LOOKS, Components, find_components, foreground
from vidseg_utils.systems.object_dynamics.perception.outlines import shape_residuals
from vidseg_utils.systems.object_dynamics.perception.tracks import MAX_STEP

FARTHEST = 1.5  # in STEPs, with 1 for entirely different looks: two patches that are further apart are two objects
DOUBT = 0.02  # share of its votes that a patch gives to every class
RESIDUAL_WEIGHT = 0.3  # what a pixel of residual in one crack weighs against a unit of log-probability
CLEAR = 0.97  # share of the votes from where on a track's shape needs no geometry


def assign_track_classes(masks: np.ndarray, scores: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """Give every object the class that its whole track speaks for.

    masks: (B, T, H, W) uint8 class ids, others unknown; scores: for each clip the (F, 49) class probabilities of the
    pixels in `foreground(masks[b])`, in order; without them every pixel votes for its label.
    returns: (B, T, H, W) uint8; specks too small to be an object are floor.
    """
    patches = [find_components(clip, scores[b] if scores is not None else None) for b, clip in enumerate(masks)]
    tracks = [link_components(p) for p in patches]
    residuals = _residuals(patches, tracks)
    voted = masks.copy()
    for clip, p, track, residual in zip(voted, patches, tracks, residuals, strict=True):
        class_id = np.append(assign_classes(p, track, residual), BACKGROUND).astype(np.uint8)
        shown = foreground(clip)
        clip[shown] = class_id[p.map[shown]]
    return voted


def link_components(patches: Components) -> np.ndarray:
    """(P,) the track of each patch, 0, 1, …: each frame's patches are assigned to where the tracks are bound for."""
    track = np.full(len(patches.area), -1)
    looks = patches.looks
    last, place, velocity, look = np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, LOOKS))
    for frame in np.unique(patches.frame):
        here = np.flatnonzero(patches.frame == frame)
        gap = frame - last
        near = _to_segment(patches.place[here], place, place + np.minimum(gap, 2)[:, None] * velocity)
        unlike = 1 - np.sqrt(look[:, None] * looks[here]).sum(axis=-1)
        cost = near / (MAX_STEP * np.minimum(gap, 3)[:, None]) + unlike  # (tracks, here)
        rows, columns = linear_sum_assignment(np.minimum(cost, FARTHEST))
        same = cost[rows, columns] < FARTHEST
        rows, found = rows[same], here[columns[same]]
        track[found] = rows
        velocity[rows] = (patches.place[found] - place[rows]) / gap[rows, None]
        last[rows], place[rows] = frame, patches.place[found]
        look[rows] = 0.7 * look[rows] + 0.3 * looks[found]
        new = here[track[here] < 0]
        track[new] = len(last) + np.arange(len(new))
        last = np.append(last, np.full(len(new), frame))
        place, look = np.concatenate([place, patches.place[new]]), np.concatenate([look, looks[new]])
        velocity = np.concatenate([velocity, np.zeros((len(new), 2))])
    return track


def _to_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance (R, Q) of points (Q, 2) from segments start..end, (R, 2) each."""
    along = (end - start)[:, None]
    away = points[None] - start[:, None]
    share = (away * along).sum(-1) / ((along**2).sum(-1) + 1e-9)
    return np.linalg.norm(away - np.clip(share, 0, 1)[..., None] * along, axis=-1)


def _residuals(patches: Sequence[Components], tracks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """(P, 3) of each clip: how ill each shape fits each patch; 0 in tracks whose shape is clear from the votes."""
    things = np.zeros((len(patches), *patches[0].map.shape), dtype=np.uint8)
    residuals = []
    for b, (p, track) in enumerate(zip(patches, tracks, strict=True)):
        shapes = np.zeros((track.max(initial=-1) + 1, len(SHAPES)))
        np.add.at(shapes, track, p.votes[:, 1:].reshape(len(track), len(SHAPES), LOOKS).sum(axis=-1))
        unclear = shapes.max(axis=1) < CLEAR * shapes.sum(axis=1)
        number = np.where(unclear[track], np.arange(len(track)) % 254 + 1, IGNORE_INDEX)
        things[b] = np.append(number, 0)[p.map]
        residuals.append(np.zeros((len(track), len(SHAPES))))
    picture, thing, residual = shape_residuals(things.reshape(-1, *things.shape[2:]))
    clip, frame = np.divmod(picture, things.shape[1])
    for b, p in enumerate(patches):
        mine = np.flatnonzero(clip == b)
        of = {key: k for k, key in enumerate(zip(p.frame, np.arange(len(p.frame)) % 254 + 1, strict=True))}
        for k in mine:
            residuals[b][of[frame[k], thing[k]]] = residual[k]
    return residuals


def assign_classes(patches: Components, track: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """(P,) the class id of each patch: the same along a track, another one for each track.

    residual: (P, 3) what speaks against each shape.
    """
    weight = np.sqrt(np.minimum(patches.area / patches.whole, 1.0))[:, None]
    ballots = weight * np.log(patches.votes[:, 1:] + DOUBT) - RESIDUAL_WEIGHT * np.repeat(residual, LOOKS, axis=1)
    total = np.zeros((track.max(initial=-1) + 1, N_CLASSES - 1))
    np.add.at(total, track, ballots)
    rows, columns = linear_sum_assignment(-total)
    class_id = np.zeros(len(total), dtype=int)
    class_id[rows] = columns + 1
    return class_id[track]
