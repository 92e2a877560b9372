"""Connected components of a segmented clip: connected pixels of one colour and material, with their class votes.

A segmenter rarely mistakes colour and material, but often the shape, and different pixels of one object may take
different shapes. So components ignore the shape. The votes are the mean class probabilities of the pixels.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from scipy.ndimage import find_objects, label
from scipy.sparse import csr_array

from vidseg_utils.classes import BACKGROUND, COLOURS, MATERIALS, N_CLASSES, SHAPES
from vidseg_utils.systems.object_dynamics.perception.boundary_edges import min_region_area
from vidseg_utils.systems.object_dynamics.perception.bounding_boxes import (
    bounding_boxes,
    fit_an_object,
    pixels_per_unit,
    unite_boxes,
)
from vidseg_utils.world.camera import FOCAL_LENGTH, MIN_DEPTH, project, unproject
from vidseg_utils.world.solids import OBJECT_RADIUS

N_APPEARANCES = len(MATERIALS) * len(COLOURS)  # material and colour: (class_id - 1) % N_APPEARANCES
FRAGMENT_SHARE = 0.3  # share of a fully visible object's area; a smaller component may be a fragment of another one
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
    def boxes(self) -> Integer[np.ndarray, "P 4"]:
        """First and last row, first and last column; see `bounding_boxes`."""
        return bounding_boxes(self.map + 1)[1]

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

    scores: class probabilities of the foreground pixels, in order, from a segmenter that may mistake materials; without
    them each pixel votes for its label
    """
    shown = foreground(masks)
    distinct = np.ones(len(COLOURS), dtype=bool) if scores is None else _colours_of_several_objects(masks, shown)
    regions = _connected_regions(np.where(shown, _kind(masks, distinct), 0))
    # Where several objects of one kind touch, their materials or their shapes tell them apart.
    for finer in ((masks - 1) % N_APPEARANCES + 1, masks):
        _split_wide_regions(regions, finer)
    components = _measure(regions, masks, shown, scores)
    kind = _kind(components.appearance.argmax(axis=1) + 1, distinct)
    merged = _merge_fragments(components, kind)
    return _measure(np.append(merged, -1)[components.map] + 1, masks, shown, scores)


def _kind(class_ids: np.ndarray, distinct: np.ndarray) -> np.ndarray:
    """1 to 16, the appearance, for colours (8,) whose materials are `distinct` objects; 17 to 24, the colour, else."""
    colour = (class_ids - 1) % len(COLOURS)
    return np.where(distinct[colour], (class_ids - 1) % N_APPEARANCES, N_APPEARANCES + colour) + 1


def _colours_of_several_objects(masks: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """(8,): whether some frame shows two large regions of that colour."""
    regions = _connected_regions(np.where(shown, (masks - 1) % len(COLOURS) + 1, 0))
    _split_wide_regions(regions, (masks - 1) % N_APPEARANCES + 1)
    frame, boxes = bounding_boxes(regions)
    area = np.bincount(regions.ravel())[1:]
    large = area >= FRAGMENT_SHARE * (2 * OBJECT_RADIUS * pixels_per_unit(boxes, masks.shape[1:])) ** 2
    pixel = np.flatnonzero(shown)
    colour = np.zeros(len(area), dtype=int)
    colour[regions.ravel()[pixel] - 1] = (masks.ravel()[pixel] - 1) % len(COLOURS)
    count = np.zeros((len(masks), len(COLOURS)), dtype=int)
    np.add.at(count, (frame[large], colour[large]), 1)
    return np.any(count > 1, axis=0)


def _split_wide_regions(regions: np.ndarray, finer: np.ndarray) -> None:
    """Split, in place, regions (T, H, W) that are wider or higher than an object by the values of `finer` (T, H, W)."""
    frames, boxes = bounding_boxes(regions)
    for region in np.flatnonzero(~fit_an_object(boxes, regions.shape[1:])):
        top, bottom, left, right = boxes[region]
        box = frames[region], slice(top, bottom), slice(left, right)
        inside = regions[box] == region + 1
        parts = _connected_regions(np.where(inside, finer[box], 0)[None])[0]
        regions[box][inside] = (regions.max() + parts)[inside]


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
        of_region = csr_array(
            (np.ones(len(pixel), scores.dtype), region, np.arange(len(pixel) + 1)), (len(pixel), count)
        )
        votes = (of_region.T @ scores)[kept].astype(float) / area[kept, None]
    middle = np.stack([mean(column + 0.5), mean(row + 0.5)], axis=1)
    position = unproject(middle, z=OBJECT_RADIUS, height=height, width=width)
    depth = project(np.column_stack([position, np.full(len(kept), OBJECT_RADIUS)]))[:, 2]
    full_area = (2 * OBJECT_RADIUS * FOCAL_LENGTH * height / np.maximum(depth, MIN_DEPTH)) ** 2
    return Components(mean(frame).astype(int), area[kept], full_area, position, votes, component[regions])


def _merge_fragments(components: Components, kind: np.ndarray) -> np.ndarray:
    """(P,) the component that each component is merged into: itself, unless it is a part or a fragment.

    Parts are components of one kind in a frame that together are no larger than an object. A component is a fragment if
    it is small and either a large component in its frame is of its kind, or no large component in the clip is. It is
    merged into a close component of its kind, or else into the component with which it shares the longest border.
    """
    target = _merge_parts(components, kind)
    area = np.bincount(target, weights=components.area, minlength=len(target))
    whole = target == np.arange(len(target))
    large = area >= FRAGMENT_SHARE * components.full_area
    border = _shared_borders(components)
    fragments = np.flatnonzero(whole & ~large)
    for small in fragments[np.argsort(area[fragments], kind="stable")]:
        alike = np.flatnonzero(whole & large & (kind == kind[small]))
        in_frame = alike[components.frame[alike] == components.frame[small]]
        if len(alike) and not len(in_frame):
            continue  # the visible part of an object that is half hidden in this frame
        distance = np.linalg.norm(components.position[in_frame] - components.position[small], axis=1)
        if len(in_frame) and distance.min() < MAX_FRAGMENT_DISTANCE:
            target[small] = in_frame[distance.argmin()]
        elif border[small].any():
            target[small] = target[border[small].argmax()]
    while (target[target] != target).any():  # it ends: every step leads to a larger component or to a large one
        target = target[target]
    return target


def _merge_parts(components: Components, kind: np.ndarray) -> np.ndarray:
    """(P,) the largest of the parts that together are one object, for each component; see `_merge_fragments`."""
    target = np.arange(len(kind))
    boxes = components.boxes
    found: dict[tuple[int, int], list[int]] = {}  # by frame and kind: components that parts are merged into
    for part in np.argsort(-components.area, kind="stable"):
        wholes = found.setdefault((int(components.frame[part]), int(kind[part])), [])
        for whole in wholes:
            union = unite_boxes(boxes[whole], boxes[part])
            if fit_an_object(union[None], components.map.shape[1:])[0]:
                target[part], boxes[whole] = whole, union
                break
        else:
            wholes.append(part)
    return target


def _shared_borders(components: Components) -> np.ndarray:
    """(P, P) how many pixel edges a component shares with each larger one; 0 with itself and with smaller ones."""
    count, labels = len(components.area), components.map
    border = np.zeros((count, count), dtype=int)
    for a, b in ((labels[:, 1:], labels[:, :-1]), (labels[:, :, 1:], labels[:, :, :-1])):
        touching = (a != b) & (a >= 0) & (b >= 0)
        np.add.at(border, (a[touching], b[touching]), 1)
    border += border.T
    return border * (components.area[None] > components.area[:, None])
