"""Estimate how labels lie against the objects in the picture, from frames and masks alone.

At many points of the labels' outlines, the object's own edge is searched along the outline's normal: it is where the
colour changes most. Brightness is not used, because a shadow changes it too. The distances from edge to outline, in all
directions, give shift and fatness by robust least squares. A smoothed mask is searched by the same rule, so that what
smoothing does to a curved outline cancels.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data.cache.open import find_source
from vidseg_utils.data.faults import Fault
from vidseg_utils.data.layout import LABELLED, read_frames, read_masks
from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.world import LabelOffset

LOOK_EVERY = 3  # frames: only every third is looked at, since most objects hardly move from one to the next
SMOOTHING_PX = 1.0  # standard deviation of the Gaussian before derivatives are taken
REACH_PX = 2.5  # how far from a label's outline the object's edge is searched
_STEPS = np.linspace(-REACH_PX, REACH_PX, 21)  # px along the normal, outwards
MARGIN_PX = 8  # around an object, for derivatives at the ends of the normals
CLEARANCE_PX = 4  # an outline point counts only if no other object and no border of the picture is that near
MIN_OBJECT_PX = 60  # smaller objects do not count
MIN_EDGE = 6.0  # colour levels a pixel: weaker edges, as of grey objects, do not count
MIN_POINTS = 200
# The colour edge lies inside an object's exact outline: by 0.05 px in generated videos, by 0.09 px in CLEVRER's own,
# measured on 18 and 4 videos with exact masks. The mean of both is subtracted.
FATNESS_BIAS_PX = 0.07


@dataclass(frozen=True)
class LabelEstimate:
    """The result of `estimate_label_offset`."""

    offset: LabelOffset
    standard_error: LabelOffset  # without the method's own bias, which is up to 0.1 px in each number
    n_points: int  # of outlines that were compared with the picture
    n_objects: int  # that they belong to, counted in each video

    def __str__(self) -> str:
        parts = (
            f"{name} {getattr(self.offset, name):+.2f} ± {getattr(self.standard_error, name):.2f}"
            for name in ("x", "y", "fatness")
        )
        return f"{', '.join(parts)} px ({self.n_objects} objects)"


def estimate_label_offset(frames: UInt8[np.ndarray, "V T 3 H W"], masks: UInt8[np.ndarray, "V T H W"]) -> LabelEstimate:
    """Estimate where the labels of V videos lie against the objects that their frames show.

    Standard errors take the points of one object as one measurement, so they need several objects.
    Raises ValueError for other sizes than 160 x 240 and for too few outlines that can be compared.
    """
    if frames.shape[-2:] != (HEIGHT, WIDTH) or masks.shape != (*frames.shape[:2], HEIGHT, WIDTH):
        raise ValueError(f"frames {frames.shape} and masks {masks.shape}; expected both with {HEIGHT} x {WIDTH} pixels")
    normals, distances, objects = [np.zeros((0, 2))], [np.zeros(0)], [np.zeros(0, dtype=int)]
    for video in range(len(frames)):
        for t in range(0, frames.shape[1], LOOK_EVERY):
            for class_id, normal, distance in _measure_outlines(frames[video, t], masks[video, t]):
                normals.append(normal)
                distances.append(distance)
                objects.append(np.full(len(distance), video * N_CLASSES + class_id))
    normal, distance, owner = np.concatenate(normals), np.concatenate(distances), np.concatenate(objects)
    n_objects = len(np.unique(owner))
    if len(distance) < MIN_POINTS or n_objects < 2:
        raise ValueError(
            f"{len(distance)} outline points of {n_objects} objects can be compared with the picture; an estimate "
            f"needs {MIN_POINTS} of 2 objects: coloured, in view, with no other object near"
        )
    design = np.column_stack([normal, np.ones(len(normal))])
    values, covariance = _fit_robustly(design, distance, owner)
    x, y, fatness = values.tolist()
    errors = LabelOffset(*np.sqrt(np.diag(covariance)).tolist())
    return LabelEstimate(LabelOffset(x, y, fatness - FATNESS_BIAS_PX), errors, len(distance), n_objects)


def read_sample(
    root: Path | str, split: str = "train", *, n_videos: int = 8
) -> tuple[UInt8[np.ndarray, "V T 3 H W"], UInt8[np.ndarray, "V T H W"]]:
    """Full-size frames and masks of the first `n_videos` of a labelled split that can be read; all if it has fewer.

    Raises FileNotFoundError for a missing split, ValueError for one without a usable video.
    """
    videos, _, filled = find_source(Path(root), split)
    if filled is not None and filled.masks is not None:
        return np.asarray(filled.frames[:n_videos]), np.asarray(filled.masks[:n_videos])
    frames, masks = [], []
    for video in videos:
        with contextlib.suppress(Fault):
            loaded = read_frames(video), read_masks(video)
            frames.append(loaded[0])
            masks.append(loaded[1])
        if len(frames) == n_videos:
            break
    if not frames:
        raise ValueError(f"{Path(root) / split} has no labelled video that can be read")
    return np.stack(frames), np.stack(masks)


def estimate_from_root(root: Path | str) -> LabelEstimate | None:
    """As `estimate_label_offset`, from some videos of a data set; None if it has no labels that can be compared."""
    for split in LABELLED:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return estimate_label_offset(*read_sample(root, split))
    return None


def _measure_outlines(
    frame: UInt8[np.ndarray, "3 H W"], mask: UInt8[np.ndarray, "H W"]
) -> Iterator[tuple[int, Float[np.ndarray, "P 2"], Float[np.ndarray, " P"]]]:
    """For each object of a frame: its class, outward normals (x, y) of its label, distances from its edge to the label.

    A distance is in pixels along the normal; it is positive where the label's outline lies outside the object's edge.
    """
    boxes = ndimage.find_objects(np.pad(mask, MARGIN_PX))  # the box of class 1 first
    for class_id, box in enumerate(boxes[: N_CLASSES - 1], start=1):
        if box is None:
            continue
        # MARGIN_PX on every side of the object, in the picture without the padding
        down, right = (slice(max(side.start - 2 * MARGIN_PX, 0), side.stop) for side in box)
        window = down, right
        covered = mask[window] == class_id
        if covered.sum() < MIN_OBJECT_PX:
            continue
        rows, columns = _clear_outline(mask[window], covered, window)
        if not len(rows):
            continue
        red, green, blue = frame[:, down, right].astype(float)
        colour_gradients = [_gradient(channel) for channel in (red - green, blue - (red + green) / 2)]
        label_gradient = _gradient(covered.astype(float))
        normals = -np.stack([plane[rows, columns] for plane in label_gradient], axis=1)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
        points = np.stack([rows[:, None] + _STEPS * normals[:, 1:], columns[:, None] + _STEPS * normals[:, :1]])
        change = np.stack([_change_along(gradient, points, normals) for gradient in colour_gradients])
        total = change.sum(axis=2, keepdims=True)
        edge, height = _steepest_position((change * total).sum(axis=0) / (np.linalg.norm(total, axis=0) + 1e-9))
        label, _ = _steepest_position(-_change_along(label_gradient, points, normals))
        clear = np.isfinite(edge) & np.isfinite(label) & (height > MIN_EDGE)
        yield int(class_id), normals[clear], (label - edge)[clear]


def _clear_outline(
    mask: UInt8[np.ndarray, "h w"], covered: Bool[np.ndarray, "h w"], window: tuple[slice, slice]
) -> tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"]]:
    """Rows and columns in the window of an object's outermost pixels, clear of other objects and of the border."""
    other = ndimage.maximum_filter(((mask > 0) & ~covered).astype(np.uint8), size=2 * CLEARANCE_PX + 1)
    eroded = np.asarray(ndimage.binary_erosion(covered))
    rows, columns = (covered & ~eroded & (other == 0)).nonzero()
    clear = np.ones(len(rows), dtype=bool)
    for index, side, size in ((rows, window[0], HEIGHT), (columns, window[1], WIDTH)):
        position = index + side.start
        clear &= (position >= CLEARANCE_PX) & (position < size - CLEARANCE_PX)
    return rows[clear], columns[clear]


def _gradient(channel: Float[np.ndarray, "h w"]) -> list[Float[np.ndarray, "h w"]]:
    """Derivatives by x and by y of the smoothed channel."""
    smoothed = [ndimage.gaussian_filter1d(channel, SMOOTHING_PX, axis=axis) for axis in (0, 1)]
    return [ndimage.gaussian_filter1d(smoothed[k], SMOOTHING_PX, axis=1 - k, order=1) for k in (0, 1)]


def _change_along(
    gradient: list[Float[np.ndarray, "h w"]], points: Float[np.ndarray, "2 P S"], normals: Float[np.ndarray, "P 2"]
) -> Float[np.ndarray, "P S"]:
    """Derivative along the normals at `points` (row, column), interpolated by cubic splines.

    Linear interpolation would put the steepest position on pixel centres.
    """
    by_x, by_y = (ndimage.map_coordinates(plane, points, order=3) for plane in gradient)
    return by_x * normals[:, :1] + by_y * normals[:, 1:]


def _steepest_position(change: Float[np.ndarray, "P S"]) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
    """Where along the normals `change` is greatest, in pixels, and how great; NaN where that is at an end."""
    best = change.argmax(axis=1)
    inside = (best > 0) & (best < len(_STEPS) - 1)
    best = best.clip(1, len(_STEPS) - 2)
    before, at, after = (change[np.arange(len(change)), best + step] for step in (-1, 0, 1))
    curvature = before - 2 * at + after
    correction = 0.5 * (before - after) / np.where(inside & (curvature < 0), curvature, -np.inf)  # of the parabola
    return np.where(inside, _STEPS[best] + correction * (_STEPS[1] - _STEPS[0]), np.nan), at


def _fit_robustly(
    design: Float[np.ndarray, "P 3"], target: Float[np.ndarray, " P"], owner: Int[np.ndarray, " P"]
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3 3"]]:
    """Least squares with Tukey's weights, and the covariance of its result with points clustered by `owner`."""
    weights, values = np.ones(len(target)), np.zeros(3)
    for _ in range(30):
        root = np.sqrt(weights)
        values = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)[0]
        residual = target - design @ values
        scale = max(1.4826 * float(np.median(np.abs(residual))), 0.05)  # as a standard deviation, in px
        weights = np.clip(1 - (residual / (4.685 * scale)) ** 2, 0, None) ** 2
    residual = target - design @ values
    cluster = np.unique(owner, return_inverse=True)[1]
    scores = np.zeros((cluster.max() + 1, 3))
    np.add.at(scores, cluster, design * (weights * residual)[:, None])
    inverse = np.linalg.pinv(design.T @ (design * weights[:, None]))
    return values, inverse @ scores.T @ scores @ inverse * len(scores) / (len(scores) - 1)
