"""`view`: a clip and its masks in the viewer, and as a row of pictures where no viewer can run."""

from collections.abc import Mapping, Sequence

import numpy as np

from vidseg_utils.visualisation.filmstrip import plot_filmstrip
from vidseg_utils.visualisation.overlays import Array, Clip, frame_to_rgb, mask_to_rgb, overlay_mask
from vidseg_utils.visualisation.style import closed_figure_png
from vidseg_utils.visualisation.viewer.packing import NO_MASK, TRUTH, by_name, mask_array, pack_clip
from vidseg_utils.visualisation.viewer.widget import ClipView
from vidseg_utils.world import Trajectory

STILL_COLUMNS = (6, 4, 3)  # pictures in a row of the still picture: the first number with which it is small
MAX_STILL_BYTES = 60_000


def view(
    frames: Clip | Mapping[str, Clip] | None,
    masks: Clip | Mapping[str, Clip] | None = None,
    *,
    side_by_side: bool = False,
    title: str = "",
    past: int | None = None,
    trajectory: Trajectory | None = None,
    frame: int = 0,
    show: str | None = None,
    contours: bool = False,
    opacity: float = 0.5,
) -> ClipView:
    """A clip in the viewer: play, scrub, zoom, hide classes, name objects, compare masks with the truth.

    frames, masks, past, trajectory: see `pack_clip`
    side_by_side: a panel for each mask, or for each version of the frames, instead of buttons that choose
    title: such as "video 7"; frame: shown first
    show: what is shown first: a mask's name, "errors: NAME" or "frames"; side by side "masks", "errors" or "frames"
    contours: outlines in place of filled masks; opacity: of the masks, 0 to 1
    Raises ValueError for what `pack_clip` refuses, a frame outside the clip or another opacity.
    """
    versions, named = by_name(frames, "frames"), by_name(masks, TRUTH)
    panels = _panels(list(versions), list(named))
    clip = pack_clip(
        versions, named, panels=panels if side_by_side else None, title=title, past=past, trajectory=trajectory
    )
    if not 0 <= frame < clip["frames"]:
        raise ValueError(f"frame {frame} is not in 0..{clip['frames'] - 1}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity {opacity} is not in [0, 1]")
    options = {"frame": frame, "opacity": opacity, "style": "contour" if contours else "fill"}
    if show is not None:
        options["show"] = show
    return ClipView(clip, still=lambda: filmstrip_png(panel_rows(versions, named, panels, opacity)), options=options)


def _panels(versions: list[str], masks: list[str]) -> list[dict[str, str | None]]:
    """A panel for each mask if there are several, else for each version of the frames."""
    first = versions[0] if versions else None
    if len(masks) > 1 or not versions:
        return [{"title": name, "images": name if name in versions else first, "mask": name} for name in masks]
    return [{"title": name, "images": name, "mask": masks[0] if masks else None} for name in versions]


def panel_rows(
    versions: Mapping[str, Clip],
    masks: Mapping[str, Clip],
    panels: Sequence[Mapping[str, str | None]],
    opacity: float = 0.5,
) -> dict[str, np.ndarray]:
    """The rows of a filmstrip, (T, H, W, 3) uint8 by title: the frames of each panel with its mask over them."""
    length = max(len(clip) for clip in (versions or masks).values())
    rows = {}
    for panel in panels:
        clip = versions[panel["images"]] if panel["images"] else None
        mask = mask_array(panel["mask"], masks[panel["mask"]], length) if panel["mask"] else None
        rows[panel["title"] or ""] = np.stack(
            [
                _picture(None if clip is None else clip[t], None if mask is None else mask[t], opacity)
                for t in range(length)
            ]
        )
    return rows


def _picture(frame: Array | None, mask: np.ndarray | None, opacity: float) -> np.ndarray:
    """The frame with the mask over it, or the one that there is. A frame without a mask is shown alone."""
    if mask is not None and mask[0, 0] == NO_MASK:
        mask = None if frame is not None else np.zeros_like(mask)
    if frame is None:
        return mask_to_rgb(np.zeros((1, 1), dtype=np.uint8) if mask is None else mask)
    return frame_to_rgb(frame) if mask is None else overlay_mask(frame, mask, opacity)


def filmstrip_png(rows: Mapping[str, np.ndarray]) -> bytes:
    """The rows of pictures as PNG, with fewer pictures where noise makes the file large."""
    png = b""
    for columns in STILL_COLUMNS:
        axes = plot_filmstrip(rows, columns=columns)
        png = closed_figure_png(axes[0, 0].figure)
        if len(png) <= MAX_STILL_BYTES:
            break
    return png
