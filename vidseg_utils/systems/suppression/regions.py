"""Regions of masks: connected pixels of one class, their areas, and the borders between them.

Each row of a mask is split into spans, that is stretches of one class: a few hundred spans instead of 38,400 pixels.
The regions are the connected components of the graph of touching spans (scipy). `scipy.ndimage.label` takes several
times as long, because it ignores classes and must be called for each class of each mask.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vidseg_utils.classes import BACKGROUND, N_CLASSES


@dataclass(frozen=True)
class Regions:
    """The N object regions of masks (B, H, W). Pixels touch if they share a side; background is no region."""

    masks: np.ndarray  # (B, H, W) uint8
    mask_index: np.ndarray  # (N,) the mask that holds the region, 0..B-1
    class_id: np.ndarray  # (N,) 1..48
    area_px: np.ndarray  # (N,)
    neighbours: np.ndarray  # (P, 2) two regions of different classes that touch; the same pair may occur several times
    border_px: np.ndarray  # (P,) length of the border between the two, in sides of pixels
    spans: np.ndarray  # (S, 3) first pixel in the flattened masks, the pixel after the last, and the region

    def __len__(self) -> int:
        return len(self.class_id)

    def replace_classes(self, class_ids: np.ndarray) -> np.ndarray:
        """The masks with other classes for the regions. class_ids: (N,) 0..48 -> (B, H, W) uint8."""
        masks = self.masks.copy()
        pixel, region = self.pixels(class_ids != self.class_id)
        masks.reshape(-1)[pixel] = class_ids[region]
        return masks

    def pixels(self, selected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices (M,) in the flattened masks of all pixels of the selected regions, and the region (M,) of each.

        selected: (N,) bool
        """
        start, end, region = self.spans[selected[self.spans[:, 2]]].T
        length = end - start
        n_before = length.cumsum() - length  # pixels of the earlier spans
        return np.arange(length.sum()) + np.repeat(start - n_before, length), np.repeat(region, length)


def find_regions(masks: np.ndarray) -> Regions:
    """The regions of masks (B, H, W) of class ids. Raises ValueError for another number of axes or ids above 48."""
    masks = np.ascontiguousarray(masks, dtype=np.uint8)
    if masks.ndim != 3:
        raise ValueError(f"expected masks (B, H, W), got shape {masks.shape}; add the batch axis with masks[None]")
    if masks.size and masks.max() >= N_CLASSES:
        raise ValueError(f"class ids run from 0 to {N_CLASSES - 1}; the masks hold {masks.max()}")
    _, height, width = masks.shape
    start, end, class_id = _object_spans(masks.reshape(-1), width)
    upper, lower, border_px = _touching_spans(start, end, height, width)
    same_class = class_id[upper] == class_id[lower]
    n_regions, region = connect(len(start), upper[same_class], lower[same_class])  # region: (S,), of each span
    region_class, mask_index = np.zeros(n_regions, dtype=np.int64), np.zeros(n_regions, dtype=np.int64)
    region_class[region], mask_index[region] = class_id, start // (height * width)
    return Regions(
        masks=masks,
        mask_index=mask_index,
        class_id=region_class,
        area_px=np.bincount(region, weights=end - start, minlength=n_regions).astype(np.int64),
        neighbours=np.stack([region[upper[~same_class]], region[lower[~same_class]]], axis=1).astype(np.int64),
        border_px=border_px[~same_class],
        spans=np.stack([start, end, region], axis=1).astype(np.int64),
    )


def connect(n_nodes: int, first: np.ndarray, second: np.ndarray) -> tuple[int, np.ndarray]:
    """Connected components of a graph: how many, and the component (n_nodes,) of each node.

    first, second: (E,) the two nodes of each edge
    """
    edges = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(n_nodes, n_nodes))
    return connected_components(edges, directed=False) if n_nodes else (0, np.zeros(0, dtype=np.int64))


def _object_spans(flat: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The spans of objects, in order: first pixel, pixel after the last, and class, (S,) each."""
    starts = np.ones(flat.size, dtype=bool)
    np.not_equal(flat[1:], flat[:-1], out=starts[1:])
    starts[::width] = True
    start = np.flatnonzero(starts)
    end = np.append(start[1:], flat.size)
    is_object = flat[start] != BACKGROUND
    return start[is_object], end[is_object], flat[start[is_object]].astype(np.int64)


def _touching_spans(
    start: np.ndarray, end: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of touching spans of one mask: first span, second span and common sides of pixels, (P,) each."""
    first = np.searchsorted(end, start + width, side="right")  # spans first..last - 1 of the next row touch this span
    last = np.searchsorted(start, end + width, side="left")
    count = np.where(start // width % height == height - 1, 0, last - first)  # the next row is another mask's
    upper = np.repeat(np.arange(len(start)), count)
    lower = np.arange(count.sum()) + np.repeat(first - (count.cumsum() - count), count)
    below_px = np.minimum(end[upper] + width, end[lower]) - np.maximum(start[upper] + width, start[lower])
    left = np.flatnonzero((end[:-1] == start[1:]) & (start[1:] % width != 0))  # followed by a span in the same row
    return (
        np.concatenate([upper, left]),
        np.concatenate([lower, left + 1]),
        np.concatenate([below_px, np.ones(len(left), dtype=below_px.dtype)]),
    )
