"""Masks over frames: the one overlay function, a legend of the classes present, and where a mask is wrong."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.legend import Legend
from matplotlib.patches import Patch

from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX, N_CLASSES, PALETTE, class_name
from vidseg_utils.visualisation.style import BLUE, ORANGE, RED, SKY, class_colour

MOST_NAMED = 12  # classes in a legend
_IGNORED_RGB = (255, 255, 255)
_COLOURS = np.zeros((256, 3), dtype=np.uint8)  # class id -> RGB
_COLOURS[:N_CLASSES] = PALETTE
_COLOURS[IGNORE_INDEX] = _IGNORED_RGB

# What can be true of a pixel, in the order of `error_kinds`, and the colour it is drawn in.
ERROR_KINDS = {
    "background, right": "#F2F2F2",
    "object, right": "#BDBDBD",
    "object missed": BLUE,
    "object invented": ORANGE,
    "wrong class": RED,
    "not judged": SKY,
}


def _array(value: object) -> np.ndarray:
    """A numpy view of an array or of a tensor on any device."""
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def picture(frame: object) -> np.ndarray:
    """frame: (3, H, W) uint8, or float in [0, 1] -> (H, W, 3) uint8. Floats outside [0, 1] are clipped."""
    frame = _array(frame)
    if frame.ndim != 3 or frame.shape[0] != 3:
        raise ValueError(f"frame has shape {frame.shape}; expected (3, H, W)")
    if frame.dtype != np.uint8:
        if not np.issubdtype(frame.dtype, np.floating):
            raise ValueError(f"frame is {frame.dtype}; expected uint8, or float in [0, 1]")
        frame = (frame.astype(np.float32).clip(0, 1) * 255).round().astype(np.uint8)
    return frame.transpose(1, 2, 0)  # (H, W, 3)


def checked_mask(mask: object, shape: tuple[int, int] | None = None) -> np.ndarray:
    """mask: (H, W) of class ids -> uint8. Raises ValueError for another shape, or an id not in 0..48 or 255."""
    mask = _array(mask)
    if mask.ndim != 2 or (shape is not None and mask.shape != shape):
        raise ValueError(f"mask has shape {mask.shape}; expected {shape or '(H, W)'}")
    wrong = (mask < 0) | ((mask >= N_CLASSES) & (mask != IGNORE_INDEX))
    if wrong.any():
        raise ValueError(f"mask holds {mask[wrong][0]}; class ids run from 0 to {N_CLASSES - 1}, or 255 for ignored")
    return mask.astype(np.uint8)


def mask_picture(mask: object) -> np.ndarray:
    """mask: (H, W) -> (H, W, 3) uint8 in the palette's colours; background black, ignored white."""
    return _COLOURS[checked_mask(mask)]


def overlay(frame: object, mask: object, opacity: float = 0.5) -> np.ndarray:
    """Lay a mask's colours over a frame, with lighter contours; the background stays as it is.

    frame: (3, H, W) uint8 or float in [0, 1]; mask: (H, W) class ids, 255 = ignored (white); opacity: 0 to 1
    returns: (H, W, 3) uint8
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity {opacity} is not in [0, 1]")
    below = picture(frame)
    mask = checked_mask(mask, below.shape[:2])
    above = np.where(edges(mask)[..., None], 128 + _COLOURS[mask] // 2, _COLOURS[mask])
    alpha = np.where(mask == BACKGROUND, 0.0, opacity)[..., None]
    return (below * (1 - alpha) + above * alpha).round().astype(np.uint8)


def edges(mask: object) -> np.ndarray:
    """mask: (H, W) -> (H, W) bool: object pixels whose left, right, upper or lower neighbour is something else."""
    mask = checked_mask(mask)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    border = np.zeros(mask.shape, dtype=bool)
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    return border & (mask != BACKGROUND)


def show(ax: Axes, rgb: np.ndarray, *, title: str | None = None) -> Axes:
    """Put a picture (H, W, 3) into axes, without ticks or frame."""
    ax.imshow(rgb)
    ax.set_axis_off()
    if title is not None:
        ax.set_title(title)
    return ax


def show_overlay(
    ax: Axes, frame: object, mask: object, *, opacity: float = 0.5, title: str | None = None, legend: bool = False
) -> Axes:
    """Draw a frame with its mask over it; `legend` names the classes present, to the right."""
    show(ax, overlay(frame, mask, opacity), title=title)
    if legend:
        class_legend(ax, mask)
    return ax


def class_legend(ax: Axes, *masks: object) -> Legend | None:
    """Name the classes present in the masks, largest first, at most twelve, to the right of the axes."""
    counts = np.zeros(N_CLASSES, dtype=np.int64)
    for mask in masks:
        mask = checked_mask(mask)
        counts += np.bincount(mask[mask < N_CLASSES], minlength=N_CLASSES)
    counts[BACKGROUND] = 0
    present = [int(id_) for id_ in np.argsort(-counts, kind="stable") if counts[id_]]
    if not present:
        return None
    handles = [Patch(facecolor=class_colour(id_), label=class_name(id_)) for id_ in present[:MOST_NAMED]]
    if len(present) > MOST_NAMED:
        handles.append(Patch(facecolor="none", label=f"and {len(present) - MOST_NAMED} more"))
    return ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


def error_kinds(prediction: object, target: object) -> np.ndarray:
    """prediction, target: (H, W) -> (H, W) uint8, the place of each pixel's kind in ERROR_KINDS."""
    target = checked_mask(target)
    prediction = checked_mask(prediction, target.shape)
    right, is_object, said_object = prediction == target, target != BACKGROUND, prediction != BACKGROUND
    conditions = [target == IGNORE_INDEX, right & ~is_object, right, is_object & ~said_object, ~is_object & said_object]
    return np.select(conditions, [5, 0, 1, 2, 3], default=4).astype(np.uint8)


def error_map(ax: Axes, prediction: object, target: object, *, title: str | None = None, legend: bool = True) -> Axes:
    """Draw where a predicted mask is right, and how it is wrong where it is wrong. prediction, target: (H, W)."""
    kinds = error_kinds(prediction, target)
    colours = np.array([to_rgb(colour) for colour in ERROR_KINDS.values()])
    show(ax, colours[kinds], title=title)
    if legend:
        counts = np.bincount(kinds.ravel(), minlength=len(ERROR_KINDS))
        handles = [
            Patch(facecolor=colour, label=f"{name}: {count / kinds.size:.1%}")
            for (name, colour), count in zip(ERROR_KINDS.items(), counts, strict=True)
            if count or name != "not judged"
        ]
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return ax
