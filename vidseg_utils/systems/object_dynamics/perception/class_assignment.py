"""One class for each object of a video, though a segmenter classifies every pixel of every frame anew.

Components are linked into tracks by position and appearance. Along a track the logarithms of the votes add up, minus
the residuals of a cube's, a sphere's and a cylinder's outline: where the segmenter is unsure of the shape, geometry
decides. No two objects of a video share a class, so all tracks get their classes at once (Kuhn, 1955).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer, UInt8
from scipy.optimize import linear_sum_assignment

from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX, N_CLASSES, SHAPES
from vidseg_utils.systems.object_dynamics.perception.components import (
    N_APPEARANCES,
    Components,
    find_components,
    foreground,
)
from vidseg_utils.systems.object_dynamics.perception.outlines import shape_residuals
from vidseg_utils.systems.object_dynamics.perception.tracks import MAX_STEP
from vidseg_utils.world.label_offset import EXACT_LABELS, LabelOffset

MAX_LINK_COST = 1.5  # of a link: its distance in MAX_STEPs, plus up to 1 for different appearances
MAX_GAP = 3  # frames for which the search radius of an unseen track grows
MAX_EXTRAPOLATION = 2  # frames for which the expected position of an unseen track moves on
OLD_SHARE, NEW_SHARE = 0.7, 0.3  # weights of a track's appearance so far and of its newest component's
VOTE_PRIOR = 0.02  # added to the votes for every class, so that one wrong component cannot exclude a class
RESIDUAL_WEIGHT = 0.3  # log-probability that a shape loses for each pixel of residual at one boundary edge
CLEAR_SHARE = 0.97  # a shape with this share of a track's votes needs no geometry


def assign_track_classes(
    masks: UInt8[np.ndarray, "B T H W"],
    scores: Sequence[Float[np.ndarray, "_ 49"]] | None = None,
    *,
    offset: LabelOffset = EXACT_LABELS,
) -> UInt8[np.ndarray, "B T H W"]:
    """Masks of class ids (others unknown) in which every object has the best class for its whole track.

    scores: for each clip the class probabilities of the pixels in `foreground(masks[b])`, in order; without them every
    pixel votes for its label
    offset: of the masks against the exact ones
    Regions too small to be an object become background.
    """
    components = [find_components(clip, scores[b] if scores is not None else None) for b, clip in enumerate(masks)]
    tracks = [link_components(c) for c in components]
    residuals = _residuals(components, tracks, offset)
    assigned = masks.copy()
    for clip, c, track, residual in zip(assigned, components, tracks, residuals, strict=True):
        class_id = np.append(assign_classes(c, track, residual), BACKGROUND).astype(np.uint8)
        shown = foreground(clip)
        clip[shown] = class_id[c.map[shown]]
    return assigned


def link_components(components: Components) -> Integer[np.ndarray, " P"]:
    """Link the components of a clip into tracks; the result is each component's track: 0, 1, …

    Frame by frame, components are assigned to the extrapolated positions of the tracks.
    """
    c, c_appearance = components, components.appearance
    track = np.full(len(c.area), -1)
    last_frame, position, velocity = np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 2))  # of the tracks
    appearance = np.zeros((0, N_APPEARANCES))
    for frame in np.unique(c.frame):
        in_frame = np.flatnonzero(c.frame == frame)
        gap = frame - last_frame
        reached = position + np.minimum(gap, MAX_EXTRAPOLATION)[:, None] * velocity
        distance = _distance_to_segment(c.position[in_frame], position, reached)
        unlike = 1 - np.sqrt(appearance[:, None] * c_appearance[in_frame]).sum(axis=-1)  # Hellinger, squared
        cost = distance / (MAX_STEP * np.minimum(gap, MAX_GAP)[:, None]) + unlike  # (tracks, components)
        rows, columns = linear_sum_assignment(np.minimum(cost, MAX_LINK_COST))
        linked = cost[rows, columns] < MAX_LINK_COST
        rows, found = rows[linked], in_frame[columns[linked]]
        track[found] = rows
        velocity[rows] = (c.position[found] - position[rows]) / gap[rows, None]
        last_frame[rows], position[rows] = frame, c.position[found]
        appearance[rows] = OLD_SHARE * appearance[rows] + NEW_SHARE * c_appearance[found]
        new = in_frame[track[in_frame] < 0]
        track[new] = len(last_frame) + np.arange(len(new))
        last_frame = np.append(last_frame, np.full(len(new), frame))
        position = np.concatenate([position, c.position[new]])
        appearance = np.concatenate([appearance, c_appearance[new]])
        velocity = np.concatenate([velocity, np.zeros((len(new), 2))])
    return track


def _distance_to_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance (R, Q) of points (Q, 2) from line segments start..end, (R, 2) each."""
    along = (end - start)[:, None]
    from_start = points[None] - start[:, None]
    share = (from_start * along).sum(-1) / ((along**2).sum(-1) + 1e-9)
    return np.linalg.norm(from_start - np.clip(share, 0, 1)[..., None] * along, axis=-1)


def _residuals(components: Sequence[Components], tracks: Sequence[np.ndarray], offset: LabelOffset) -> list[np.ndarray]:
    """(P, 3) of each clip: the outline residual of each shape; 0 on tracks whose shape is clear from the votes."""
    frames, height, width = components[0].map.shape
    labels = np.zeros((len(components), frames, height, width), dtype=np.uint8)
    residuals, numbers = [], []
    for b, (c, track) in enumerate(zip(components, tracks, strict=True)):
        count = len(track)
        shape_votes = np.zeros((track.max(initial=-1) + 1, len(SHAPES)))
        np.add.at(shape_votes, track, c.votes[:, 1:].reshape(count, len(SHAPES), N_APPEARANCES).sum(axis=-1))
        unclear = shape_votes.max(axis=1) < CLEAR_SHARE * shape_votes.sum(axis=1)
        number = np.arange(count) % (IGNORE_INDEX - 1) + 1
        labels[b] = np.append(np.where(unclear[track], number, IGNORE_INDEX), 0)[c.map]
        residuals.append(np.zeros((count, len(SHAPES))))
        numbers.append({key: k for k, key in enumerate(zip(c.frame, number, strict=True))})
    image, label, residual = shape_residuals(labels.reshape(-1, height, width), offset=offset)
    clip, frame = np.divmod(image, frames)
    for k, b in enumerate(clip):
        residuals[b][numbers[b][frame[k], label[k]]] = residual[k]
    return residuals


def assign_classes(
    components: Components, track: Integer[np.ndarray, " P"], residual: Float[np.ndarray, "P 3"]
) -> Integer[np.ndarray, " P"]:
    """The class id of each component: the same along a track, a different one for each track.

    residual: outline residual of each shape; more makes the shape less probable
    """
    weight = np.sqrt(np.minimum(components.area / components.full_area, 1.0))[:, None]
    log_votes = weight * np.log(components.votes[:, 1:] + VOTE_PRIOR)
    ballots = log_votes - RESIDUAL_WEIGHT * np.repeat(residual, N_APPEARANCES, axis=1)
    total = np.zeros((track.max(initial=-1) + 1, N_CLASSES - 1))
    np.add.at(total, track, ballots)
    rows, columns = linear_sum_assignment(-total)
    class_id = np.zeros(len(total), dtype=int)
    class_id[rows] = columns + 1
    return class_id[track]
