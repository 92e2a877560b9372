"""Masks over frames: the overlay, a legend of the classes present, and a map of a mask's errors."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.legend import Legend
from matplotlib.patches import Patch
from torch import Tensor

from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX, N_CLASSES, PALETTE, class_name
from vidseg_utils.visualisation.style import BLUE, ORANGE, RED, SKY, class_colour

Array = np.ndarray | Tensor  # a tensor may be on any device
Clip = Sequence[Array] | Array  # T frames or T masks

MAX_LEGEND_CLASSES = 12
_IGNORED_RGB = (255, 255, 255)
_RGB_BY_ID = np.zeros((256, 3), dtype=np.uint8)
_RGB_BY_ID[:N_CLASSES] = PALETTE
_RGB_BY_ID[IGNORE_INDEX] = _IGNORED_RGB

# The kinds of pixels, in the order that `classify_errors` numbers them, and their colours.
ERROR_KINDS = {
    "background, right": "#F2F2F2",
    "object, right": "#BDBDBD",
    "object missed": BLUE,
    "object invented": ORANGE,
    "wrong class": RED,
    "not judged": SKY,
}


def _to_numpy(value: Array) -> np.ndarray:
    return np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)


def frame_to_rgb(frame: Array) -> np.ndarray:
    """frame: (3, H, W) uint8, or float in [0, 1] -> (H, W, 3) uint8. Floats outside [0, 1] are clipped."""
    frame = _to_numpy(frame)
    if frame.ndim != 3 or frame.shape[0] != 3:
        raise ValueError(f"frame has shape {frame.shape}; expected (3, H, W)")
    if frame.dtype != np.uint8:
        if not np.issubdtype(frame.dtype, np.floating):
            raise ValueError(f"frame is {frame.dtype}; expected uint8, or float in [0, 1]")
        frame = (frame.astype(np.float32).clip(0, 1) * 255).round().astype(np.uint8)
    return frame.transpose(1, 2, 0)  # (H, W, 3)


def check_mask(mask: Array, shape: tuple[int, int] | None = None) -> np.ndarray:
    """The mask (H, W) as uint8 class ids. Raises ValueError for another shape or an id that is not in 0..48 or 255."""
    mask = _to_numpy(mask)
    if mask.ndim != 2 or (shape is not None and mask.shape != shape):
        raise ValueError(f"mask has shape {mask.shape}; expected {shape or '(H, W)'}")
    wrong = (mask < 0) | ((mask >= N_CLASSES) & (mask != IGNORE_INDEX))
    if wrong.any():
        raise ValueError(
            f"mask holds {mask[wrong][0]}; class ids run from 0 to {N_CLASSES - 1}, or {IGNORE_INDEX} for ignored"
        )
    return mask.astype(np.uint8)


def mask_to_rgb(mask: Array) -> np.ndarray:
    """mask: (H, W) class ids -> (H, W, 3) uint8 in the colours of the palette; background black, ignored white."""
    return _RGB_BY_ID[check_mask(mask)]


def overlay_mask(frame: Array, mask: Array, opacity: float = 0.5) -> np.ndarray:
    """Lay the colours of a mask over a frame, with lighter contours; background pixels stay as they are.

    frame: (3, H, W) uint8 or float in [0, 1]; mask: (H, W) class ids, 255 = ignored (white); opacity: 0 to 1
    returns: (H, W, 3) uint8
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity {opacity} is not in [0, 1]")
    below = frame_to_rgb(frame)
    mask = check_mask(mask, below.shape[:2])
    above = np.where(find_contours(mask)[..., None], 128 + _RGB_BY_ID[mask] // 2, _RGB_BY_ID[mask])
    alpha = np.where(mask == BACKGROUND, 0.0, opacity)[..., None]
    return (below * (1 - alpha) + above * alpha).round().astype(np.uint8)


def find_contours(mask: Array) -> np.ndarray:
    """mask: (H, W) -> (H, W) bool: object pixels with another class to the left, right, above or below."""
    mask = check_mask(mask)
    changes_across, changes_down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    border = np.zeros(mask.shape, dtype=bool)
    border[:, 1:] |= changes_across
    border[:, :-1] |= changes_across
    border[1:] |= changes_down
    border[:-1] |= changes_down
    return border & (mask != BACKGROUND)


def show_rgb(ax: Axes, rgb: np.ndarray, *, title: str | None = None) -> Axes:
    """Draw a picture (H, W, 3) without ticks or frame."""
    ax.imshow(rgb)
    ax.set_axis_off()
    if title is not None:
        ax.set_title(title)
    return ax


def show_overlay(
    ax: Axes, frame: Array, mask: Array, *, opacity: float = 0.5, title: str | None = None, legend: bool = False
) -> Axes:
    """Draw a frame with its mask over it; `legend` names the classes present, to the right."""
    show_rgb(ax, overlay_mask(frame, mask, opacity), title=title)
    if legend:
        add_class_legend(ax, mask)
    return ax


def add_class_legend(ax: Axes, *masks: Array) -> Legend | None:
    """Add a legend of the classes in the masks, largest first, at most MAX_LEGEND_CLASSES; None without objects."""
    counts = np.zeros(N_CLASSES, dtype=np.int64)
    for mask in masks:
        mask = check_mask(mask)
        counts += np.bincount(mask[mask < N_CLASSES], minlength=N_CLASSES)
    counts[BACKGROUND] = 0
    present = [class_id for class_id in np.argsort(-counts, kind="stable").tolist() if counts[class_id]]
    if not present:
        return None
    handles = [Patch(facecolor=class_colour(i), label=class_name(i)) for i in present[:MAX_LEGEND_CLASSES]]
    if len(present) > MAX_LEGEND_CLASSES:
        handles.append(Patch(facecolor="none", label=f"and {len(present) - MAX_LEGEND_CLASSES} more"))
    return ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


def classify_errors(prediction: Array, target: Array) -> np.ndarray:
    """prediction, target: (H, W) class ids -> (H, W) uint8: the index of each pixel's kind in ERROR_KINDS."""
    target = check_mask(target)
    prediction = check_mask(prediction, target.shape)
    right = prediction == target
    is_object, predicted_object = target != BACKGROUND, prediction != BACKGROUND
    kinds = {
        "not judged": target == IGNORE_INDEX,
        "background, right": right & ~is_object,
        "object, right": right,
        "object missed": is_object & ~predicted_object,
        "object invented": ~is_object & predicted_object,
    }
    index = {kind: number for number, kind in enumerate(ERROR_KINDS)}
    numbers = np.select(list(kinds.values()), [index[kind] for kind in kinds], default=index["wrong class"])
    return numbers.astype(np.uint8)


def draw_errors(prediction: Array, target: Array) -> np.ndarray:
    """prediction, target: (H, W) class ids -> (H, W, 3) uint8: each pixel in the colour of its kind in ERROR_KINDS."""
    colours = np.array([to_rgb(colour) for colour in ERROR_KINDS.values()])
    return (colours[classify_errors(prediction, target)] * 255).round().astype(np.uint8)


def plot_error_map(
    ax: Axes, prediction: Array, target: Array, *, title: str | None = None, legend: bool = True
) -> Axes:
    """Draw which pixels of a predicted mask are right and how the others are wrong, in the colours of ERROR_KINDS.

    prediction, target: (H, W) class ids; legend: name each kind with its share of the pixels
    """
    kinds = classify_errors(prediction, target)
    show_rgb(ax, draw_errors(prediction, target), title=title)
    if legend:
        counts = np.bincount(kinds.ravel(), minlength=len(ERROR_KINDS))
        handles = [
            Patch(facecolor=colour, label=f"{name}: {count / kinds.size:.1%}")
            for (name, colour), count in zip(ERROR_KINDS.items(), counts, strict=True)
            if count or name != "not judged"
        ]
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return ax
