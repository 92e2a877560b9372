"""Connected components of a segmented clip: connected pixels of one colour and material, with their class votes.

A segmenter rarely mistakes colour and material, but often the shape, and different pixels of one object may take
different shapes. So components ignore the shape. The votes are the mean class probabilities of the pixels.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, UInt8
from scipy.sparse import csr_array

from vidseg_utils.classes import COLOURS, MATERIALS, N_CLASSES, SHAPES
from vidseg_utils.systems.object_dynamics.perception.boundary_edges import min_region_area
from vidseg_utils.systems.object_dynamics.perception.bounding_boxes import fit_an_object, pixels_per_unit, unite_boxes
from vidseg_utils.systems.object_dynamics.perception.runs import Runs, bounding_boxes, connect, find_runs
from vidseg_utils.world.camera import FOCAL_LENGTH, MIN_DEPTH, project, unproject
from vidseg_utils.world.solids import OBJECT_RADIUS

N_APPEARANCES = len(MATERIALS) * len(COLOURS)  # material and colour: (class_id - 1) % N_APPEARANCES
FRAGMENT_SHARE = 0.3  # share of a fully visible object's area; a smaller component may be a fragment of another one
MAX_FRAGMENT_DISTANCE = 0.5  # world units from a fragment to the component of its appearance that it is merged into


@dataclass
class Components:
    """P components of one clip, in any order."""

    frame: Integer[np.ndarray, " P"]
    area: Integer[np.ndarray, " P"]  # pixels
    full_area: Float[np.ndarray, " P"]  # pixels that a fully visible object would have at that position
    position: Float[np.ndarray, "P 2"]  # world x and y of the middle, taken to be at the height of an object's centre
    votes: Float[np.ndarray, "P 49"]  # mean class probabilities
    runs: Runs
    of_run: Integer[np.ndarray, " R"]  # component of each run, or -1

    @property
    def boxes(self) -> Integer[np.ndarray, "P 4"]:
        """First and last row, first and last column; see `bounding_boxes`."""
        return bounding_boxes(self.runs, self.of_run)

    @property
    def appearance(self) -> Float[np.ndarray, "P 16"]:
        """Shares of the appearances in the votes; they sum to 1."""
        shares = self.votes[:, 1:].reshape(len(self.votes), len(SHAPES), N_APPEARANCES).sum(axis=1) + 1e-6
        return shares / shares.sum(axis=1, keepdims=True)


def find_components(masks: UInt8[np.ndarray, "T H W"], scores: Float[np.ndarray, "F 49"] | None = None) -> Components:
    """Components of a clip's class ids.

    scores: class probabilities of the foreground pixels, in order, from a segmenter that may mistake materials; without
    them each pixel votes for its label
    """
    runs = find_runs(masks)
    appearance = (runs.class_id - 1) % N_APPEARANCES
    if scores is None:
        distinct = np.ones(len(COLOURS), dtype=bool)
        votes = np.zeros((len(runs.class_id), N_CLASSES))
        votes[np.arange(len(votes)), runs.class_id] = runs.length
    else:
        distinct = _colours_of_several_objects(runs, appearance)
        votes = runs.sum_pixels(scores).astype(float)
    regions = connect(runs, _kind(runs.class_id, distinct))
    # Where several objects of one kind touch, their materials or their shapes tell them apart.
    for finer in (appearance, runs.class_id):
        regions = _split_wide_regions(runs, regions, finer)
    components = _measure(runs, regions, votes)
    merged = _merge_fragments(components, _kind(components.appearance.argmax(axis=1) + 1, distinct))
    return _measure(runs, np.append(merged, -1)[components.of_run], votes)


def _kind(class_ids: np.ndarray, distinct: np.ndarray) -> np.ndarray:
    """1 to 16, the appearance, for colours (8,) whose materials are `distinct` objects; 17 to 24, the colour, else."""
    colour = (class_ids - 1) % len(COLOURS)
    return np.where(distinct[colour], (class_ids - 1) % N_APPEARANCES, N_APPEARANCES + colour) + 1


def _colours_of_several_objects(runs: Runs, appearance: np.ndarray) -> np.ndarray:
    """(8,): whether some frame shows two large regions of that colour."""
    colours = (runs.class_id - 1) % len(COLOURS)
    regions = _split_wide_regions(runs, connect(runs, colours), appearance)
    boxes, area = bounding_boxes(runs, regions), np.bincount(regions, weights=runs.length)
    large = area >= FRAGMENT_SHARE * (2 * OBJECT_RADIUS * pixels_per_unit(boxes, runs.size[1:])) ** 2
    frame, colour = np.zeros((2, len(area)), dtype=int)
    frame[regions], colour[regions] = runs.frame, colours
    count = np.zeros((runs.size[0], len(COLOURS)), dtype=int)
    np.add.at(count, (frame[large], colour[large]), 1)
    return np.any(count > 1, axis=0)


def _split_wide_regions(runs: Runs, regions: np.ndarray, finer: np.ndarray) -> np.ndarray:
    """Split regions (R,) that are wider or higher than an object by the values below 256 of `finer` (R,)."""
    wide = ~fit_an_object(bounding_boxes(runs, regions), runs.size[1:])
    if not wide.any():
        return regions
    return connect(runs, np.where(wide[regions], 256 * (len(wide) + regions) + finer, 256 * regions))


def _measure(runs: Runs, regions: np.ndarray, votes: np.ndarray) -> Components:
    """Components from the region of each run (R,), or -1; regions that are too small are left out.

    votes: (R, 49) of each run, summed over its pixels
    """
    _, height, width = runs.size
    count = regions.max(initial=-1) + 2
    of_region = csr_array((np.ones(len(regions)), (regions + 1, np.arange(len(regions)))), (count, len(regions)))
    area = of_region @ runs.length
    area[0] = 0  # of no region
    kept = np.flatnonzero(area >= min_region_area(height, width))
    component = np.full(count, -1)
    component[kept] = np.arange(len(kept))
    area = area[kept]
    # of each run's pixels: the sum of the column and the row of their centres, and of the frame
    sums = np.stack([(runs.left + runs.right) / 2, runs.row + 0.5, runs.frame], axis=1) * runs.length[:, None]
    means = (of_region @ sums)[kept] / area[:, None]
    position = unproject(means[:, :2], z=OBJECT_RADIUS, height=height, width=width)
    depth = project(np.column_stack([position, np.full(len(kept), OBJECT_RADIUS)]))[:, 2]
    full_area = (2 * OBJECT_RADIUS * FOCAL_LENGTH * height / np.maximum(depth, MIN_DEPTH)) ** 2
    mean_votes = (of_region @ votes)[kept] / area[:, None]
    frame = means[:, 2].astype(int)
    return Components(frame, area.astype(int), full_area, position, mean_votes, runs, component[regions + 1])


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
        unions = unite_boxes(boxes[wholes], boxes[part])
        fitting = np.flatnonzero(fit_an_object(unions, components.runs.size[1:])) if wholes else []
        if len(fitting):
            whole = wholes[fitting[0]]
            target[part], boxes[whole] = whole, unions[fitting[0]]
        else:
            wholes.append(part)
    return target


def _shared_borders(components: Components) -> np.ndarray:
    """(P, P) how many pixel edges a component shares with each larger one; 0 with itself and with smaller ones."""
    count, runs = len(components.area), components.runs
    a, b = runs.touching
    edges = np.minimum(runs.right[a], runs.right[b]) - np.maximum(runs.left[a], runs.left[b])  # 0 of a diagonal
    edges[runs.row[a] == runs.row[b]] = 1
    first, second = components.of_run[a], components.of_run[b]
    touching = (first != second) & (first >= 0) & (second >= 0)
    border = np.zeros((count, count), dtype=int)
    np.add.at(border, (first[touching], second[touching]), edges[touching])
    border += border.T
    return border * (components.area[None] > components.area[:, None])
