"""The outline of one label over the frame, enlarged until single pixels are seen."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from vidseg_utils.visualisation.overlays import Array, check_mask, frame_to_rgb, show_rgb


def outline_segments(covered: np.ndarray) -> np.ndarray:
    """The sides of pixels at which `covered` (H, W) begins or ends: (S, 2, 2), two points (x, y) a side.

    Coordinates are those of `imshow`: pixel centres are whole numbers. The picture's border is no outline.
    """
    row, column = (covered[:, 1:] != covered[:, :-1]).nonzero()
    upright = np.stack([np.stack([column + 0.5, row + end], axis=1) for end in (-0.5, 0.5)], axis=1)
    row, column = (covered[1:] != covered[:-1]).nonzero()
    level = np.stack([np.stack([column + end, row + 0.5], axis=1) for end in (-0.5, 0.5)], axis=1)
    return np.concatenate([upright, level])


def plot_outline(
    ax: Axes,
    frame: Array,
    mask: Array,
    class_id: int,
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    margin_px: int = 5,
    title: str | None = None,
) -> Axes:
    """Draw the part of a frame (3, H, W) around an object, and the outline of its label in the mask (H, W) in white.

    shift: (x, y) pixels by which the outline is moved; margin_px: pixels shown around the label
    Raises ValueError if the mask does not hold the class.
    """
    rgb = frame_to_rgb(frame)
    covered = check_mask(mask, rgb.shape[:2]) == class_id
    if not covered.any():
        raise ValueError(f"the mask has no pixel of class {class_id}")
    rows, columns = (covered.any(axis=axis).nonzero()[0] for axis in (1, 0))
    show_rgb(ax, rgb, title=title)
    segments = outline_segments(covered) + np.asarray(shift)
    ax.add_collection(LineCollection(list(segments), colors="white", linewidths=1.5))
    ax.set_xlim(columns[0] - margin_px - 0.5, columns[-1] + margin_px + 0.5)
    ax.set_ylim(rows[-1] + margin_px + 0.5, rows[0] - margin_px - 0.5)
    return ax
