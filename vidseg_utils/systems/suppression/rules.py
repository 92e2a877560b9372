"""New-object suppression: a forecast object that no past frame shows is an error; it is removed or renamed.

This is the published rule tree of the semi-supervised SimVP. It works on the regions of many masks at once.
"""

import numpy as np

from vidseg_utils.classes import BACKGROUND, N_CLASSES, class_attributes
from vidseg_utils.systems.suppression.regions import Regions, connect, find_regions
from vidseg_utils.task import HEIGHT, WIDTH

SMALL_PX = 100  # published: a region with a smaller area is small, in pixels of a 160x240 mask
COLOUR_WEIGHT, SHAPE_WEIGHT, MATERIAL_WEIGHT = 4, 2, 1  # published: distance of two classes per differing attribute

# The tree for a figure: (question, answer if yes, answer if no); an answer is a tree or what happens to the region.
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

    1. A region of an unknown class takes the class of the known region with which it shares the longest border.
    2. Without such a neighbour it becomes background if it is small; otherwise it takes the nearest known class
       (`CLASS_DISTANCE`), or becomes background if no class is known.
    3. Then regions that are small, together with the regions that joined them, become background.
    Among equally good classes the one with the lowest id is chosen. Applying the tree twice changes nothing more.

    masks: (..., H, W) class ids 0..48
    known: (..., 49) bool, the classes in the past frames: `known_classes` of predicted masks, never of true masks
    small_px: limit of a small area; by default 100 px of a 160x240 mask, scaled to the size of `masks`
    returns: (..., H, W) uint8
    Raises ValueError for shapes that do not match or ids above 48.
    """
    masks = np.asarray(masks)
    known = check_known(known, masks.shape[:-2])
    regions = find_regions(masks.reshape(-1, *masks.shape[-2:]))
    small_px = scaled_small_px(*masks.shape[-2:]) if small_px is None else small_px
    is_known = known[regions.mask_index, regions.class_id]
    new_class = np.where(is_known, regions.class_id, longest_known_neighbour(regions, known))
    isolated = np.flatnonzero((new_class == BACKGROUND) & (regions.area_px >= small_px))
    new_class[isolated] = nearest_known(regions.class_id[isolated], known[regions.mask_index[isolated]])
    first, second = regions.neighbours.T
    joined = (new_class[first] == new_class[second]) & (new_class[first] != BACKGROUND)
    n_groups, group = connect(len(regions), first[joined], second[joined])
    area_px = np.bincount(group, weights=regions.area_px, minlength=n_groups)[group]
    return regions.replace_classes(np.where(area_px < small_px, BACKGROUND, new_class)).reshape(masks.shape)


def known_classes(past: np.ndarray, *, least_px: float = 1) -> np.ndarray:
    """The object classes that cover at least `least_px` pixels in some frame of the past.

    past: (..., T, H, W) predicted class ids 0..48 of frames 0..10
    returns: (..., 49) bool; False for the background
    """
    past = np.asarray(past)
    frames = past.reshape(-1, past.shape[-2] * past.shape[-1])  # (N*T, H*W)
    if frames.size and frames.max() >= N_CLASSES:
        raise ValueError(f"class ids run from 0 to {N_CLASSES - 1}; the past masks hold {frames.max()}")
    counts = np.stack([np.bincount(frame, minlength=N_CLASSES) for frame in frames])  # (N*T, 49)
    known = counts.reshape(*past.shape[:-2], N_CLASSES).max(axis=-2) >= least_px
    known[..., BACKGROUND] = False
    return known


def longest_known_neighbour(regions: Regions, known: np.ndarray) -> np.ndarray:
    """(N,) the known class with which each region shares the longest border; 0 if it touches none."""
    region = np.concatenate([regions.neighbours[:, 0], regions.neighbours[:, 1]])
    neighbour_class = regions.class_id[np.concatenate([regions.neighbours[:, 1], regions.neighbours[:, 0]])]
    is_known = known[regions.mask_index[region], neighbour_class]
    pairs, pair_index = np.unique(region[is_known] * N_CLASSES + neighbour_class[is_known], return_inverse=True)
    border_px = np.bincount(pair_index, weights=np.tile(regions.border_px, 2)[is_known], minlength=len(pairs))
    region, class_id = np.divmod(pairs, N_CLASSES)
    order = np.lexsort((-class_id, border_px))  # the longest border last; among equal ones the lowest class last
    longest = np.full(len(regions), BACKGROUND, dtype=np.int64)
    longest[region[order]] = class_id[order]
    return longest


def nearest_known(class_id: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The known class nearest to each class by `CLASS_DISTANCE`; 0 if no class is known.

    class_id: (N,) 1..48; known: (N, 49) bool -> (N,)
    """
    distance = np.where(known, CLASS_DISTANCE[class_id], np.inf)  # (N, 49)
    return np.where(np.isfinite(distance).any(axis=1), distance.argmin(axis=1), BACKGROUND)


def scaled_small_px(height: int, width: int) -> float:
    """SMALL_PX as the same share of the area of a mask of another size, in pixels."""
    return SMALL_PX * height * width / (HEIGHT * WIDTH)


def check_known(known: np.ndarray, batch_shape: tuple[int, ...]) -> np.ndarray:
    """known: (*batch_shape, 49) bool -> (B, 49) bool, False for the background. Raises ValueError for anything else."""
    known = np.asarray(known)
    if known.dtype != bool or known.shape != (*batch_shape, N_CLASSES):
        raise ValueError(
            f"expected known classes {(*batch_shape, N_CLASSES)} bool, got {known.shape} {known.dtype}; "
            "use known_classes(past masks)"
        )
    known = known.reshape(-1, N_CLASSES).copy()
    known[:, BACKGROUND] = False
    return known


def _class_distances() -> np.ndarray:
    """(49, 49) float: how different two object classes are, 0 to 7; infinite from and to the background."""
    distance = np.full((N_CLASSES, N_CLASSES), np.inf)
    weights = (SHAPE_WEIGHT, MATERIAL_WEIGHT, COLOUR_WEIGHT)
    attributes = [class_attributes(class_id) for class_id in range(1, N_CLASSES)]
    for first_id, first in enumerate(attributes, start=1):
        for second_id, second in enumerate(attributes, start=1):
            differs = (a != b for a, b in zip(first, second, strict=True))
            distance[first_id, second_id] = sum(w for w, d in zip(weights, differs, strict=True) if d)
    return distance


CLASS_DISTANCE = _class_distances()
