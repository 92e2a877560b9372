"""Regions of masks: what hangs together in one class, how large it is, and what it touches along how many pixels.

A mask is read as its runs (stretches of one class along a row), a few hundred instead of 38,400 pixels, and regions are
the connected components of the graph of runs (scipy). `scipy.ndimage.label` alone takes several times as long: it
knows objects, but not classes, so it has to look at every class of every mask by itself.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vidseg_utils.classes import BACKGROUND, N_CLASSES


@dataclass(frozen=True)
class Regions:
    """The N object regions of a batch of masks (B, H, W). Pixels touch where they share a side; background is none."""

    masks: np.ndarray  # (B, H, W) uint8, what the regions are of
    place: np.ndarray  # (N,) which of the B masks each lies in
    class_id: np.ndarray  # (N,) 1..48
    area_px: np.ndarray  # (N,)
    touching: np.ndarray  # (P, 2) pairs of regions that share a border, of different classes; a pair may come often
    border_px: np.ndarray  # (P,) how many sides of pixels each of these borders has
    runs: np.ndarray  # (R, 3) where each run starts and ends in the flattened masks, and its region

    def __len__(self) -> int:
        return len(self.class_id)

    def painted(self, class_ids: np.ndarray) -> np.ndarray:
        """The masks with each region in the class given for it. class_ids: (N,) 0..48 -> (B, H, W) uint8."""
        answer = self.masks.copy()
        pixels, region = self.pixels(class_ids != self.class_id)
        answer.reshape(-1)[pixels] = class_ids[region]
        return answer

    def pixels(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(M,) places in the flattened masks of all pixels of the chosen regions, and (M,) the region of each.

        chosen: (N,) bool
        """
        start, end, region = self.runs[chosen[self.runs[:, 2]]].T
        length = end - start
        before = length.cumsum() - length  # pixels in earlier runs
        return np.arange(length.sum()) + np.repeat(start - before, length), np.repeat(region, length)


def find_regions(masks: np.ndarray) -> Regions:
    """masks: (B, H, W) uint8 class ids -> their regions. Raises ValueError for other axes or ids above 48."""
    masks = np.ascontiguousarray(masks, dtype=np.uint8)
    if masks.ndim != 3:
        raise ValueError(f"expected masks (B, H, W), got shape {masks.shape}; add the batch axis with masks[None]")
    if masks.size and masks.max() >= N_CLASSES:
        raise ValueError(f"class ids run from 0 to {N_CLASSES - 1}; the masks hold {masks.max()}")
    _, height, width = masks.shape
    start, end, class_id = _object_runs(masks.reshape(-1), width)
    upper, lower, border_px = _borders(start, end, height, width)
    same = class_id[upper] == class_id[lower]
    n_regions, of_run = components(len(start), upper[same], lower[same])
    region_class, place = np.zeros(n_regions, dtype=np.int64), np.zeros(n_regions, dtype=np.int64)
    region_class[of_run], place[of_run] = class_id, start // (height * width)
    return Regions(
        masks=masks,
        place=place,
        class_id=region_class,
        area_px=np.bincount(of_run, weights=end - start, minlength=n_regions).astype(np.int64),
        touching=np.stack([of_run[upper[~same]], of_run[lower[~same]]], axis=1).astype(np.int64),
        border_px=border_px[~same],
        runs=np.stack([start, end, of_run], axis=1).astype(np.int64),
    )


def components(n_nodes: int, first: np.ndarray, second: np.ndarray) -> tuple[int, np.ndarray]:
    """The number of connected components of a graph, and that of each node. first, second: (E,) the edges' ends."""
    edges = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(n_nodes, n_nodes))
    return connected_components(edges, directed=False) if n_nodes else (0, np.zeros(0, dtype=np.int64))


def _object_runs(flat: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(R,) start, end (the first pixel after it) and class of each run of an object, in order; runs end with rows."""
    begins = np.ones(flat.size, dtype=bool)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[::width] = True
    start = np.flatnonzero(begins)
    end = np.append(start[1:], flat.size)
    objects = flat[start] != BACKGROUND
    return start[objects], end[objects], flat[start[objects]].astype(np.int64)


def _borders(start: np.ndarray, end: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every two runs of one mask that touch, as (P,) first run, second run and sides of pixels in common."""
    first = np.searchsorted(end, start + width, side="right")  # the runs first..last - 1 lie below, in the next row
    last = np.searchsorted(start, end + width, side="left")
    count = np.where(start // width % height == height - 1, 0, last - first)  # below a last row comes another mask
    upper = np.repeat(np.arange(len(start)), count)
    lower = np.arange(count.sum()) + np.repeat(first - (count.cumsum() - count), count)
    below_px = np.minimum(end[upper] + width, end[lower]) - np.maximum(start[upper] + width, start[lower])
    left = np.flatnonzero((end[:-1] == start[1:]) & (start[1:] % width != 0))
    return (
        np.concatenate([upper, left]),
        np.concatenate([lower, left + 1]),
        np.concatenate([below_px, np.ones(len(left), dtype=below_px.dtype)]),
    )
