"""Connected components of a segmented clip: connected pixels of one colour and material, with their class votes.

A segmenter rarely mistakes colour and material, but often the shape, and different pixels of one object may take
different shapes. So components ignore the shape. The votes are the mean class probabilities of the pixels.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from scipy.ndimage import find_objects, label

from vidseg_utils.classes import BACKGROUND, COLOURS, MATERIALS, N_CLASSES, SHAPES
from vidseg_utils.systems.object_dynamics.perception.boundary_edges import min_region_area
from vidseg_utils.world.camera import FOCAL_LENGTH, MIN_DEPTH, project, unproject
from vidseg_utils.world.solids import OBJECT_RADIUS

N_APPEARANCES = len(MATERIALS) * len(COLOURS)  # material and colour: (class_id - 1) % N_APPEARANCES
FRAGMENT_SHARE = 0.3  # share of a fully visible object's area; a smaller component may be a fragment of another one
MAX_EXTENT = 0.64  # world units: no object looks wider or higher
EXTENT_MARGIN_PX = 2  # added to MAX_EXTENT in pixels
MAX_FRAGMENT_DISTANCE = 0.5  # world units from a fragment to the component of its appearance that it is merged into
_IN_FRAME = np.zeros((3, 3, 3), dtype=bool)
_IN_FRAME[1] = True  # pixels that touch, diagonally too, within a frame


@dataclass
class Components:
    """P components of one clip, in any order."""

    frame: Integer[np.ndarray, " P"]
    area: Integer[np.ndarray, " P"]  # pixels
    full_area: Float[np.ndarray, " P"]  # pixels that a fully visible object would have at that position
    position: Float[np.ndarray, "P 2"]  # world x and y of the middle, taken to be at the height of an object's centre
    votes: Float[np.ndarray, "P 49"]  # mean class probabilities
    map: Integer[np.ndarray, "T H W"]  # component of each pixel, or -1

    @property
    def appearance(self) -> Float[np.ndarray, "P 16"]:
        """Shares of the appearances in the votes; they sum to 1."""
        shares = self.votes[:, 1:].reshape(len(self.votes), len(SHAPES), N_APPEARANCES).sum(axis=1) + 1e-6
        return shares / shares.sum(axis=1, keepdims=True)


def foreground(masks: UInt8[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """Whether a pixel shows an object of a known class."""
    return (masks > BACKGROUND) & (masks < N_CLASSES)


def find_components(masks: UInt8[np.ndarray, "T H W"], scores: Float[np.ndarray, "F 49"] | None = None) -> Components:
    """Components of a clip's class ids.

    scores: class probabilities of the foreground pixels, in order; without them each pixel votes for its label
    """
    shown = foreground(masks)
    regions = _connected_regions(np.where(shown, (masks - 1) % N_APPEARANCES + 1, 0))
    _, height, width = masks.shape
    for region, (frame, rows, columns) in enumerate(find_objects(regions)):
        bottom = unproject(np.array([(columns.start + columns.stop) / 2, rows.stop]), height=height, width=width)
        depth = project(np.array([*bottom, 0.0]))[2]
        if (
            max(rows.stop - rows.start, columns.stop - columns.start)
            > MAX_EXTENT * FOCAL_LENGTH * height / depth + EXTENT_MARGIN_PX
        ):
            # Several objects of one appearance touch. Their shapes tell them apart.
            box = regions[frame, rows, columns]
            inside = box == region + 1
            by_shape = _connected_regions(np.where(inside, masks[frame, rows, columns], 0))
            box[inside] = (regions.max() + by_shape)[inside]
    components = _measure(regions, masks, shown, scores)
    merged = _merge_fragments(components)
    return _measure(np.append(merged, -1)[components.map] + 1, masks, shown, scores)


def _connected_regions(values: np.ndarray) -> np.ndarray:
    """(T, H, W): number, 1 and up, of each connected region of one value within a frame; 0 where the value is 0."""
    regions, count = np.zeros(values.shape, dtype=np.int32), 0
    for value, box in enumerate(find_objects(values), 1):
        if box is not None:
            found, n_found = cast(tuple[np.ndarray, int], label(values[box] == value, structure=_IN_FRAME))
            regions[box] += np.where(found > 0, found + count, 0)
            count += n_found
    return regions


def _measure(regions: np.ndarray, masks: np.ndarray, shown: np.ndarray, scores: np.ndarray | None) -> Components:
    """Components from numbered regions (T, H, W), 0 = none; regions that are too small are left out."""
    _, height, width = masks.shape
    pixel = np.flatnonzero(shown)
    region = regions.ravel()[pixel]
    count = int(regions.max(initial=0)) + 1
    area = np.bincount(region, minlength=count)
    area[0] = 0
    kept = np.flatnonzero(area >= min_region_area(height, width))
    component = np.full(count, -1)
    component[kept] = np.arange(len(kept))
    frame, in_frame = np.divmod(pixel, height * width)
    row, column = np.divmod(in_frame, width)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(region, weights=values, minlength=count)[kept] / area[kept]

    if scores is None:
        votes = np.bincount(region * N_CLASSES + masks.ravel()[pixel], minlength=count * N_CLASSES)
        votes = votes.reshape(count, N_CLASSES)[kept] / area[kept, None]
    else:
        votes = np.stack([mean(score) for score in scores.T], axis=1)
    middle = np.stack([mean(column + 0.5), mean(row + 0.5)], axis=1)
    position = unproject(middle, z=OBJECT_RADIUS, height=height, width=width)
    depth = project(np.column_stack([position, np.full(len(kept), OBJECT_RADIUS)]))[:, 2]
    full_area = (2 * OBJECT_RADIUS * FOCAL_LENGTH * height / np.maximum(depth, MIN_DEPTH)) ** 2
    return Components(mean(frame).astype(int), area[kept], full_area, position, votes, component[regions])


def _merge_fragments(components: Components) -> np.ndarray:
    """(P,) the component that each component is merged into: itself, unless it is a fragment.

    A component is a fragment if it is small and either a large component in its frame has its appearance, or no large
    component in the clip has. It is merged into a close component of its appearance, or else into the component with
    which it shares the longest border.
    """
    target = np.arange(len(components.area))
    appearance = components.appearance.argmax(axis=1)
    large = components.area >= FRAGMENT_SHARE * components.full_area
    border = _shared_borders(components)
    for small in np.flatnonzero(~large)[np.argsort(components.area[~large], kind="stable")]:
        alike = np.flatnonzero(large & (appearance == appearance[small]))
        in_frame = alike[components.frame[alike] == components.frame[small]]
        if len(alike) and not len(in_frame):
            continue  # the visible part of an object that is half hidden in this frame
        distance = np.linalg.norm(components.position[in_frame] - components.position[small], axis=1)
        if len(in_frame) and distance.min() < MAX_FRAGMENT_DISTANCE:
            target[small] = in_frame[distance.argmin()]
        elif border[small].any():
            target[small] = target[border[small].argmax()]
    return target[target]


def _shared_borders(components: Components) -> np.ndarray:
    """(P, P) how many pixel edges a component shares with each larger one; 0 with itself and with smaller ones."""
    count, labels = len(components.area), components.map
    border = np.zeros((count, count), dtype=int)
    for a, b in ((labels[:, 1:], labels[:, :-1]), (labels[:, :, 1:], labels[:, :, :-1])):
        touching = (a != b) & (a >= 0) & (b >= 0)
        np.add.at(border, (a[touching], b[touching]), 1)
    border += border.T
    return border * (components.area[None] > components.area[:, None])
