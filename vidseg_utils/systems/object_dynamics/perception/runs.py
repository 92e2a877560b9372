"""The foreground of a clip as runs: pieces of rows, a tenth as many as its pixels. Regions are connected runs."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped, UInt8
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from vidseg_utils.classes import BACKGROUND, N_CLASSES


def foreground(masks: UInt8[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """Whether a pixel shows an object of a known class."""
    return (masks > BACKGROUND) & (masks < N_CLASSES)


@dataclass(frozen=True)
class Runs:
    """R runs of neighbouring pixels of one class in a row of a frame, in the order of the F foreground pixels."""

    size: tuple[int, int, int]  # frames, height and width of the clip
    pixel: Integer[np.ndarray, " F"]  # index into all pixels of the clip
    class_id: UInt8[np.ndarray, " R"]
    frame: Integer[np.ndarray, " R"]
    row: Integer[np.ndarray, " R"]
    left: Integer[np.ndarray, " R"]  # first column
    right: Integer[np.ndarray, " R"]  # last column, exclusive
    touching: Integer[np.ndarray, "2 Q"]  # pairs of runs that touch, diagonally too

    @property
    def length(self) -> Integer[np.ndarray, " R"]:
        """Pixels of each run."""
        return self.right - self.left

    def to_pixels(self, values: Shaped[np.ndarray, " R"]) -> Shaped[np.ndarray, " F"]:
        """The value of each foreground pixel from that of its run."""
        return np.repeat(values, self.length)

    def sum_pixels(self, values: Float[np.ndarray, "F K"]) -> Float[np.ndarray, "R K"]:
        """Sums over the pixels of each run."""
        count = len(self.pixel)
        end = np.cumsum(self.length)
        return (
            csr_array((np.ones(count, values.dtype), np.arange(count), np.append(0, end)), (len(end), count)) @ values
        )


def find_runs(masks: UInt8[np.ndarray, "T H W"]) -> Runs:
    """The runs of a clip's class ids."""
    _, height, width = masks.shape
    pixel = np.flatnonzero(foreground(masks))
    class_ids = masks.ravel()[pixel]
    begins = np.ones(len(pixel), dtype=bool)
    begins[1:] = (pixel[1:] != pixel[:-1] + 1) | (class_ids[1:] != class_ids[:-1]) | (pixel[1:] % width == 0)
    start = np.flatnonzero(begins)
    row_of_all, left = np.divmod(pixel[start], width)
    frame, row = np.divmod(row_of_all, height)
    right = left + np.diff(np.append(start, len(pixel)))
    # Runs on one long line, with gaps between rows and frames, so that only neighbours in a frame are neighbours there.
    line = (frame * (height + 1) + row) * (width + 2)
    first, last = line + left, line + right - 1
    below = np.searchsorted(last, first + width + 1), np.searchsorted(first, last + width + 3, side="right")
    count = below[1] - below[0]
    upper = np.repeat(np.arange(len(start)), count)
    lower = np.arange(len(upper)) - np.repeat(np.cumsum(count) - count - below[0], count)
    beside = np.flatnonzero(last[:-1] + 1 == first[1:])
    touching = np.stack([np.append(upper, beside), np.append(lower, beside + 1)])
    return Runs(masks.shape, pixel, class_ids[start], frame, row, left, right, touching)


def connect(runs: Runs, values: Integer[np.ndarray, " R"]) -> Integer[np.ndarray, " R"]:
    """The region of each run: 0, 1, … A region is connected and has one value; regions are numbered by value first."""
    count = len(values)
    if not count:
        return np.zeros(0, dtype=int)
    a, b = runs.touching[:, values[runs.touching[0]] == values[runs.touching[1]]]
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), (count, count))
    n_regions, region = connected_components(graph, directed=False)
    first = np.full(n_regions, count)
    np.minimum.at(first, region, np.arange(count))
    number = np.empty(n_regions, dtype=int)
    number[np.lexsort((first, values[first]))] = np.arange(n_regions)
    return number[region]


def bounding_boxes(runs: Runs, region: Integer[np.ndarray, " R"]) -> Integer[np.ndarray, "N 4"]:
    """The box of each region: first and last row, first and last column; the last ones are exclusive.

    region: of each run, or -1
    """
    boxes = np.zeros((region.max(initial=-1) + 1, 4), dtype=int)
    boxes[:, ::2] = max(runs.size)
    own = np.flatnonzero(region >= 0)
    for column, values in enumerate((runs.row, runs.row + 1, runs.left, runs.right)):
        (np.maximum if column % 2 else np.minimum).at(boxes[:, column], region[own], values[own])
    return boxes
