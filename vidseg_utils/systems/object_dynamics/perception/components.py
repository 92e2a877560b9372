"""The patches of a segmented clip: connected pixels of one colour and material, with what the segmenter says of them.

A segmenter rarely mistakes colour and material, but often the shape, and not the same way in all pixels of an object. A
patch does not ask for the shape, and its votes are the mean class probabilities of its pixels.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects, label

from vidseg_utils.classes import COLOURS, MATERIALS, N_CLASSES, SHAPES
from vidseg_utils.systems.object_dynamics.perception.boundary_edges import least_area
from vidseg_utils.world.camera import FOCAL_LENGTH, project, unproject
from vidseg_utils.world.solids import OBJECT_RADIUS

LOOKS = len(MATERIALS) * len(COLOURS)  # colours and materials together; (class_id - 1) % LOOKS
SCRAP = 0.3  # of an object's whole area; a smaller patch may be a scrap of another one
LARGEST = 0.64  # world units: no object looks wider or higher than that
NEAR = 0.5  # world units between two patches of one object
_FLAT = np.zeros((3, 3, 3), dtype=bool)
_FLAT[1] = True  # pixels that touch, within a frame


@dataclass
class Components:
    """P patches of one clip, in any order."""

    frame: np.ndarray  # (P,)
    area: np.ndarray  # (P,) pixels
    whole: np.ndarray  # (P,) pixels that an object would have there
    place: np.ndarray  # (P, 2) world x and y of the middle, taken to be at an object's own height
    votes: np.ndarray  # (P, 49) mean class probabilities
    map: np.ndarray  # (T, H, W) patch of each pixel, or -1

    @property
    def looks(self) -> np.ndarray:
        """(P, 16) shares of the colours and materials."""
        shares = self.votes[:, 1:].reshape(len(self.votes), len(SHAPES), LOOKS).sum(axis=1) + 1e-6
        return shares / shares.sum(axis=1, keepdims=True)


def foreground(masks: np.ndarray) -> np.ndarray:
    """Whether a pixel shows an object of a known class."""
    return (masks > 0) & (masks < N_CLASSES)


def find_components(masks: np.ndarray, scores: np.ndarray | None = None) -> Components:
    """masks: (T, H, W) uint8 class ids; scores: (F, 49) class probabilities of its foreground's pixels, in order."""
    shown = foreground(masks)
    regions = _regions(np.where(shown, (masks - 1) % LOOKS + 1, 0))
    _, height, width = masks.shape
    for region, (frame, rows, columns) in enumerate(find_objects(regions)):
        low = unproject(np.array([(columns.start + columns.stop) / 2, rows.stop]), height=height, width=width)
        depth = project(np.array([*low, 0.0]))[2]
        if max(rows.stop - rows.start, columns.stop - columns.start) > LARGEST * FOCAL_LENGTH * height / depth + 2:
            part = regions[frame, rows, columns]  # more than one object of this look: here, shapes tell them apart
            inside = part == region + 1
            part[inside] = (regions.max() + _regions(np.where(inside, masks[frame, rows, columns], 0)))[inside]
    patches = _measure(regions, masks, shown, scores)
    home = _absorbed(patches)
    return _measure(np.append(home, -1)[patches.map] + 1, masks, shown, scores)


def _regions(values: np.ndarray) -> np.ndarray:
    """values: (T, H, W) -> number, 1 and up, of each connected region of one value within a frame; 0 where it is 0."""
    regions, count = np.zeros(values.shape, dtype=np.int32), 0
    for value, box in enumerate(find_objects(values), 1):
        if box is not None:
            found, more = label(values[box] == value, structure=_FLAT)
            regions[box] += np.where(found > 0, found + count, 0)
            count += more
    return regions


def _measure(regions: np.ndarray, masks: np.ndarray, shown: np.ndarray, scores: np.ndarray | None) -> Components:
    """Regions (T, H, W), 0 = none -> patches; what is too small is left out."""
    _, height, width = masks.shape
    pixel = np.flatnonzero(shown)
    region = regions.ravel()[pixel]
    count = int(regions.max(initial=0)) + 1
    area = np.bincount(region, minlength=count)
    area[0] = 0
    kept = np.flatnonzero(area >= least_area(height, width))
    number = np.full(count, -1)
    number[kept] = np.arange(len(kept))
    frame, rest = np.divmod(pixel, height * width)
    row, column = np.divmod(rest, width)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(region, weights=values, minlength=count)[kept] / area[kept]

    if scores is None:
        votes = np.bincount(region * N_CLASSES + masks.ravel()[pixel], minlength=count * N_CLASSES)
        votes = votes.reshape(count, N_CLASSES)[kept] / area[kept, None]
    else:
        votes = np.stack([mean(score) for score in scores.T], axis=1)
    place = unproject(
        np.stack([mean(column + 0.5), mean(row + 0.5)], axis=1), z=OBJECT_RADIUS, height=height, width=width
    )
    depth = project(np.column_stack([place, np.full(len(kept), OBJECT_RADIUS)]))[:, 2]
    whole = (2 * OBJECT_RADIUS * FOCAL_LENGTH * height / np.maximum(depth, 0.5)) ** 2
    return Components(mean(frame).astype(int), area[kept], whole, place, votes, number[regions])


def _absorbed(patches: Components) -> np.ndarray:
    """(P,) the patch that each one belongs to: itself, but for scraps.

    A scrap is small, and its look is nobody's or somebody's who is seen elsewhere in the same frame. It goes to a patch
    of its look close by, else to the one that it touches most.
    """
    home = np.arange(len(patches.area))
    look = patches.looks.argmax(axis=1)
    large = patches.area >= SCRAP * patches.whole
    contact = _contacts(patches)
    for scrap in np.flatnonzero(~large)[np.argsort(patches.area[~large], kind="stable")]:
        same = np.flatnonzero(large & (look == look[scrap]))
        here = same[patches.frame[same] == patches.frame[scrap]]
        if len(same) and not len(here):
            continue  # what shows of an object that is half hidden
        apart = np.linalg.norm(patches.place[here] - patches.place[scrap], axis=1)
        if len(here) and apart.min() < NEAR:
            home[scrap] = here[apart.argmin()]
        elif contact[scrap].any():
            home[scrap] = home[contact[scrap].argmax()]
    return home[home]


def _contacts(patches: Components) -> np.ndarray:
    """(P, P) how many pixels of two patches lie side by side; 0 with itself and with smaller ones."""
    count = len(patches.area)
    contact = np.zeros((count, count), dtype=int)
    for a, b in ((patches.map[:, 1:], patches.map[:, :-1]), (patches.map[:, :, 1:], patches.map[:, :, :-1])):
        touch = (a != b) & (a >= 0) & (b >= 0)
        np.add.at(contact, (a[touch], b[touch]), 1)
    contact += contact.T
    return contact * (patches.area[None] > patches.area[:, None])
