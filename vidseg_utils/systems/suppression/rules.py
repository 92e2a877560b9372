"""New-object suppression: a forecast can hold no object that the past frames don't show, so what looks new is an error.

The published rule tree of the semi-supervised SimVP, on regions (`find_regions`), for whole batches of masks at once.
"""

import numpy as np

from vidseg_utils.classes import BACKGROUND, N_CLASSES, class_attributes
from vidseg_utils.systems.suppression.regions import Regions, components, find_regions

SMALL_PX = 100  # a region with a smaller area is small, in pixels of a 160x240 mask
COLOUR_WEIGHT, SHAPE_WEIGHT, MATERIAL_WEIGHT = 4, 2, 1  # what a difference adds to the distance between two classes

# The tree as a picture shows it: (question, if so, if not) down to what becomes of the region.
RULE_TREE = (
    "was its class seen in frames 0..10?",
    (f"with all that joins it,\nunder {SMALL_PX} px?", "background", "stays"),
    (
        "does it touch a seen class?",
        "joins that class",
        (f"under {SMALL_PX} px?", "background", ("was any class seen?", "the nearest seen class", "background")),
    ),
)


def suppress_new_objects(masks: np.ndarray, known: np.ndarray, *, small_px: float | None = None) -> np.ndarray:
    """Apply the rule tree to forecast masks.

    A region of a class that is not known takes the class of the known region that it touches along the longest border.
    One that touches none becomes background if it is small, else the nearest known class (`CLASS_DISTANCE`), or
    background where nothing is known. After that, regions that are small (with what has joined them) become
    background. Of equally good classes the lowest is taken. To suppress what was suppressed changes nothing.

    masks: (..., H, W) class ids 0..48; known: (..., 49) bool, the classes that the segmenter saw in the past frames
    (`known_classes` of predicted masks, never of the truth); small_px: by default 100 px of a 160x240 mask, and as
    much of the area at other sizes
    returns: (..., H, W) uint8. Raises ValueError for shapes that don't fit or ids above 48.
    """
    masks = np.asarray(masks)
    known = checked_known(known, masks.shape[:-2])
    regions = find_regions(masks.reshape(-1, *masks.shape[-2:]))
    small_px = default_small_px(*masks.shape[-2:]) if small_px is None else small_px
    decided = np.where(known[regions.place, regions.class_id], regions.class_id, known_neighbours(regions, known))
    lost = np.flatnonzero((decided == BACKGROUND) & (regions.area_px >= small_px))
    decided[lost] = nearest_known(regions.class_id[lost], known[regions.place[lost]])
    one, other = regions.touching.T
    together = (decided[one] == decided[other]) & (decided[one] != BACKGROUND)
    n_wholes, whole = components(len(regions), one[together], other[together])
    area_px = np.bincount(whole, weights=regions.area_px, minlength=n_wholes)[whole]
    return regions.painted(np.where(area_px < small_px, BACKGROUND, decided)).reshape(masks.shape)


def known_classes(past: np.ndarray, *, least_px: float = 1) -> np.ndarray:
    """The object classes that past masks show, in at least `least_px` pixels of some frame.

    past: (..., T, H, W) predicted class ids 0..48 of frames 0..10 -> (..., 49) bool; background is never among them
    """
    past = np.asarray(past)
    frames = past.reshape(-1, past.shape[-2] * past.shape[-1])  # (N*T, H*W)
    if frames.size and frames.max() >= N_CLASSES:
        raise ValueError(f"class ids run from 0 to {N_CLASSES - 1}; the past masks hold {frames.max()}")
    counts = np.stack([np.bincount(frame, minlength=N_CLASSES) for frame in frames])  # (N*T, 49)
    known = (counts >= least_px).reshape(*past.shape[:-2], N_CLASSES).any(axis=-2)
    known[..., BACKGROUND] = False
    return known


def known_neighbours(regions: Regions, known: np.ndarray) -> np.ndarray:
    """(N,) the known class that each region touches along the longest border; 0 where it touches none."""
    mine = np.concatenate([regions.touching[:, 0], regions.touching[:, 1]])
    theirs = regions.class_id[np.concatenate([regions.touching[:, 1], regions.touching[:, 0]])]
    is_known = known[regions.place[mine], theirs]
    pairs, at = np.unique(mine[is_known] * N_CLASSES + theirs[is_known], return_inverse=True)
    border_px = np.bincount(at, weights=np.tile(regions.border_px, 2)[is_known], minlength=len(pairs))
    region, class_id = np.divmod(pairs, N_CLASSES)
    order = np.lexsort((-class_id, border_px))  # the longest border last; of equal ones the lowest class
    answer = np.full(len(regions), BACKGROUND, dtype=np.int64)
    answer[region[order]] = class_id[order]
    return answer


def nearest_known(class_id: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(N,) classes 1..48 and (N, 49) what is known to each -> (N,) the nearest known class, 0 where nothing is."""
    distance = np.where(known, CLASS_DISTANCE[class_id], np.inf)  # (N, 49)
    return np.where(np.isfinite(distance).any(axis=1), distance.argmin(axis=1), BACKGROUND)


def default_small_px(height: int, width: int) -> float:
    """The area below which a region is small in a mask of that size, pixels."""
    return SMALL_PX * height * width / (160 * 240)


def checked_known(known: np.ndarray, batch: tuple[int, ...]) -> np.ndarray:
    """known: (*batch, 49) bool -> (B, 49), background left out. Raises ValueError for anything else."""
    known = np.asarray(known)
    if known.dtype != bool or known.shape != (*batch, N_CLASSES):
        raise ValueError(
            f"expected known classes {(*batch, N_CLASSES)} bool, got {known.shape} {known.dtype}; "
            "known_classes(past masks) gives them"
        )
    known = known.reshape(-1, N_CLASSES).copy()
    known[:, BACKGROUND] = False
    return known


def _class_distances() -> np.ndarray:
    """(49, 49) float: how unlike two object classes are, 0 to 7; infinite to and from the background."""
    distance = np.full((N_CLASSES, N_CLASSES), np.inf)
    weights = (SHAPE_WEIGHT, MATERIAL_WEIGHT, COLOUR_WEIGHT)
    attributes = [class_attributes(class_id) for class_id in range(1, N_CLASSES)]
    for one, mine in enumerate(attributes, start=1):
        for other, theirs in enumerate(attributes, start=1):
            unlike = (a != b for a, b in zip(mine, theirs, strict=True))
            distance[one, other] = sum(weight for weight, differs in zip(weights, unlike, strict=True) if differs)
    return distance


CLASS_DISTANCE = _class_distances()
