"""One class for each object of a video, though a segmenter classifies every pixel of every frame anew.

Components are linked into tracks by position and appearance. Along a track the logarithms of the votes add up, minus
the residuals of a cube's, a sphere's and a cylinder's outline. So geometry decides unless the outlines differ little: a
segmenter is often sure of a wrong shape in videos unlike those it learned from. Clear labels are trusted instead. No
two objects of a video share a class, so all tracks get their classes at once (Kuhn, 1955).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer, UInt8
from scipy.optimize import linear_sum_assignment

from vidseg_utils.classes import BACKGROUND, COLOURS, IGNORE_INDEX, N_CLASSES, SHAPES
from vidseg_utils.systems.object_dynamics.perception.bounding_boxes import fit_an_object, unite_boxes
from vidseg_utils.systems.object_dynamics.perception.components import N_APPEARANCES, Components, find_components
from vidseg_utils.systems.object_dynamics.perception.outlines import shape_residuals
from vidseg_utils.systems.object_dynamics.perception.tracks import MAX_STEP
from vidseg_utils.world.label_offset import EXACT_LABELS, LabelOffset

MAX_LINK_COST = 1.5  # of a link: its distance in MAX_STEPs, plus up to 1 for different appearances
MAX_GAP = 3  # frames for which the search radius of an unseen track grows
MAX_EXTRAPOLATION = 2  # frames for which the expected position of an unseen track moves on
OLD_SHARE, NEW_SHARE = 0.7, 0.3  # weights of a track's appearance so far and of its newest component's
# Added to the votes for every class, so that one wrong component cannot exclude a class; twice as much for classes of
# the component's material and colour, because a segmenter that is sure of a wrong shape is right in them.
VOTE_PRIOR = 0.02
RESIDUAL_WEIGHT = 0.3  # log-probability that a shape loses for each pixel of residual at one boundary edge
CLEAR_SHARE = 0.97  # a shape with this share of the votes of a track of labels needs no geometry
MIN_HOST_LENGTH = 2  # times the frames of a patch: those of the track that it belongs to
FITTED_FRAMES = 5  # of a track, those with the most visible object, to which the three shapes are fitted


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
    if scores is not None:
        tracks = [absorb_patches(c, track) for c, track in zip(components, tracks, strict=True)]
    residuals = _residuals(components, tracks, offset, trusted=scores is None)
    assigned = masks.copy()
    for clip, c, track, residual in zip(assigned, components, tracks, residuals, strict=True):
        class_id = np.append(assign_classes(c, track, residual), BACKGROUND).astype(np.uint8)
        clip.reshape(-1)[c.runs.pixel] = c.runs.to_pixels(class_id[c.of_run])
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


def absorb_patches(components: Components, track: Integer[np.ndarray, " P"]) -> Integer[np.ndarray, " P"]:
    """The tracks without those that are patches of an object, such as reflections that the segmenter takes for another.

    In each of its frames a patch forms with a component of its colour, whose track is at least twice as long, no more
    than one object.
    """
    length = np.bincount(track)
    colour = components.appearance.argmax(axis=1) % len(COLOURS)
    size, boxes = components.runs.size[1:], components.boxes
    absorbed = track.copy()
    for patch in np.argsort(length, kind="stable"):
        hosts = []
        for part in np.flatnonzero(track == patch):
            host = np.flatnonzero(
                (components.frame == components.frame[part])
                & (colour == colour[part])
                & (length[absorbed] >= MIN_HOST_LENGTH * length[patch])
            )
            fits = fit_an_object(unite_boxes(boxes[host], boxes[part]), size)
            if not fits.any():
                break
            hosts.append(host[fits][components.area[host[fits]].argmax()])
        else:
            absorbed[track == patch] = absorbed[hosts]
    return np.unique(absorbed, return_inverse=True)[1]


def _residuals(
    components: Sequence[Components], tracks: Sequence[np.ndarray], offset: LabelOffset, *, trusted: bool
) -> list[np.ndarray]:
    """(P, 3) of each clip: the outline residual of each shape, the same along a track: the median of a few frames.

    trusted: whether a track whose shape is clear from the votes needs no geometry; its residuals are then 0
    """
    frames, height, width = components[0].runs.size
    labels = np.zeros((len(components), frames, height, width), dtype=np.uint8)
    residuals, numbers = [], []
    for b, (c, track) in enumerate(zip(components, tracks, strict=True)):
        count = len(track)
        fitted = _best_visible(c, track)
        if trusted:
            fitted &= _unclear_shape(c, track)
        number = np.arange(count) % (IGNORE_INDEX - 1) + 1
        of_run = np.append(np.where(fitted, number, IGNORE_INDEX), 0)[c.of_run]
        labels[b].reshape(-1)[c.runs.pixel] = c.runs.to_pixels(of_run)
        residuals.append(np.full((count, len(SHAPES)), np.nan))
        numbers.append({key: k for k, key in enumerate(zip(c.frame, number, strict=True))})
    image, label, residual = shape_residuals(labels.reshape(-1, height, width), offset=offset)
    clip, frame = np.divmod(image, frames)
    for k, b in enumerate(clip):
        residuals[b][numbers[b][frame[k], label[k]]] = residual[k]
    for track, of_clip in zip(tracks, residuals, strict=True):
        for number in range(track.max(initial=-1) + 1):
            in_track = track == number
            measured = of_clip[in_track & np.isfinite(of_clip[:, 0])]
            of_clip[in_track] = np.median(measured, axis=0) if len(measured) else 0.0
    return residuals


def _best_visible(components: Components, track: np.ndarray) -> np.ndarray:
    """(P,): the FITTED_FRAMES components of each track that show the largest share of their object."""
    share = components.area / components.full_area
    order = np.lexsort((-share, track))
    first = np.searchsorted(track[order], track[order])
    chosen = np.zeros(len(track), dtype=bool)
    chosen[order[np.arange(len(track)) - first < FITTED_FRAMES]] = True
    return chosen


def _unclear_shape(components: Components, track: np.ndarray) -> np.ndarray:
    """(P,): whether no shape has CLEAR_SHARE of the votes of the component's track."""
    shape_votes = np.zeros((track.max(initial=-1) + 1, len(SHAPES)))
    votes = components.votes[:, 1:].reshape(len(track), len(SHAPES), N_APPEARANCES).sum(axis=-1)
    np.add.at(shape_votes, track, votes)
    return (shape_votes.max(axis=1) < CLEAR_SHARE * shape_votes.sum(axis=1))[track]


def assign_classes(
    components: Components, track: Integer[np.ndarray, " P"], residual: Float[np.ndarray, "P 3"]
) -> Integer[np.ndarray, " P"]:
    """The class id of each component: the same along a track, a different one for each track.

    residual: outline residual of each shape; more makes the shape less probable
    """
    weight = np.sqrt(np.minimum(components.area / components.full_area, 1.0))[:, None]
    prior = VOTE_PRIOR * (1 + np.tile(components.appearance, len(SHAPES)))
    log_votes = weight * np.log(components.votes[:, 1:] + prior)
    ballots = log_votes - RESIDUAL_WEIGHT * np.repeat(residual, N_APPEARANCES, axis=1)
    total = np.zeros((track.max(initial=-1) + 1, N_CLASSES - 1))
    np.add.at(total, track, ballots)
    rows, columns = linear_sum_assignment(-total)
    class_id = np.zeros(len(total), dtype=int)
    class_id[rows] = columns + 1
    return class_id[track]
