"""A clip as one JSON object that the browser can draw: frames as WebP, masks compressed, classes with their colours."""

import base64
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from vidseg_utils.classes import BACKGROUND, N_CLASSES, class_name
from vidseg_utils.task import CLIP_FRAMES, CLIP_VIDEO_FRAMES, FRAME_STEP, PAST_FRAMES, VIDEO_RATE
from vidseg_utils.visualisation.overlays import ERROR_KINDS, Clip, check_mask, frame_to_rgb
from vidseg_utils.visualisation.style import hex_colour
from vidseg_utils.world import Trajectory

NO_MASK = 254  # every pixel of a frame that has no mask
TRUTH = "truth"  # name of the mask that the others are compared with
WEBP_QUALITIES = (88, 60, 30)  # 1 to 3 kB a frame of 160x240; the lower ones for noisy clips that would be large
MAX_IMAGES_BYTES = 100_000  # of all frames of a clip


def pack_clip(
    frames: Clip | Mapping[str, Clip] | None,
    masks: Clip | Mapping[str, Clip] | None = None,
    *,
    panels: Sequence[Mapping[str, str | None]] | None = None,
    title: str = "",
    past: int | None = None,
    trajectory: Trajectory | None = None,
    plans: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Pack a clip for `createViewer` of viewer.js. The result holds only JSON types.

    frames: (T, 3, H, W) uint8, or float in [0, 1]; several by name: each a version of the clip; None: masks only
    masks: (T, H, W) class ids, 255 = no label; several by name. One without a name is the truth, with which the others
        are compared. A mask of fewer frames is that of the last frames; one without a time axis that of the last frame.
    panels: what stands side by side; each names a version of the frames as "images", a mask as "mask", and has a
        "title" and a "note". By default one panel, in which buttons choose among the masks.
    past: how many frames are given; by default 11 in a clip of 22 frames, else all
    trajectory: of the whole video, for the speeds; plans: forecasts seen from above, see `pack_plan`
    Raises ValueError for clips of different lengths or sizes, or a panel that names what is not there.

    The result:
        title; width, height: in pixels; frames: how many; first: number of the first one; past: number of the first
            frame that is not given; rate: frames a second in real time
        images: {name: [a frame as base64 of WebP, …]}
        masks: {name: base64 of zlib-compressed uint8, frames x height x width}; a frame of 254 has no mask
        truth: name of the true mask, or null
        classes: [{id, name, colour "#rrggbb"}, …] of the classes in the masks, largest first
        errors: [{name, colour}, …]: the kinds of pixels in `classify_errors`
        speeds: {class id: [world units a second, one a frame]}
        panels: [{title, note, images, mask}, …], at least one
        plans: [{title, first, last: numbers of the first and last forecast frame, view: corners of what the camera
            sees, objects: [{id, name, colour, truth: [a position in each frame], forecast: [a position in each frame
            from first to last], cloud: [possible positions in the last frame]}, …]}, …]; positions are [to the right,
            towards the viewer] in world units
    """
    versions = by_name(frames, "frames")
    arrays = {name: [frame_to_rgb(frame) for frame in clip] for name, clip in versions.items()}
    given = {name: mask_array(name, mask) for name, mask in by_name(masks, TRUTH).items()}
    lengths = {len(clip) for clip in arrays.values()} or {max((len(mask) for mask in given.values()), default=0)}
    shapes = {clip[0].shape[:2] for clip in arrays.values() if clip} | {mask.shape[1:] for mask in given.values()}
    if len(lengths) != 1 or 0 in lengths or len(shapes) != 1:
        raise ValueError(f"frames and masks must have one length and one size; got lengths {lengths}, sizes {shapes}")
    length, (height, width) = lengths.pop(), shapes.pop()
    whole = {name: mask_array(name, mask, length) for name, mask in given.items()}
    default = {"title": "", "images": next(iter(arrays), None), "mask": next(iter(whole), None)}
    chosen = [
        {"title": "", "note": "", "images": default["images"], "mask": None, **panel} for panel in panels or [default]
    ]
    for panel in chosen:
        if panel["images"] not in {*arrays, None} or panel["mask"] not in {*whole, None}:
            raise ValueError(f"panel {panel} names what is not there: frames {list(arrays)}, masks {list(whole)}")
    return {
        "title": title,
        "width": width,
        "height": height,
        "frames": length,
        "first": 0,
        "past": past if past is not None else PAST_FRAMES if length == CLIP_FRAMES else length,
        "rate": VIDEO_RATE / FRAME_STEP,
        "images": _encode_images(arrays),
        "masks": {name: base64.b64encode(zlib.compress(mask.tobytes(), 9)).decode() for name, mask in whole.items()},
        "truth": TRUTH if TRUTH in whole else None,
        "classes": _classes(whole),
        "errors": [{"name": name, "colour": colour} for name, colour in ERROR_KINDS.items()],
        "speeds": {} if trajectory is None else _speeds(trajectory, length),
        "panels": chosen,
        "plans": list(plans),
    }


def compress_clip(clip: Mapping[str, Any]) -> bytes:
    """A packed clip as the bytes that travel to a widget: JSON, compressed, which undoes the growth by base64."""
    return zlib.compress(json.dumps(clip, ensure_ascii=False).encode(), 6)


def by_name(values: Clip | Mapping[str, Clip] | None, name: str) -> dict[str, Clip]:
    """Clips by name; one that has none gets `name`."""
    if values is None:
        return {}
    return dict(values) if isinstance(values, Mapping) else {name: values}


def mask_array(name: str, masks: Clip, length: int | None = None) -> np.ndarray:
    """Class ids (T, H, W) uint8 of `length` frames, of which the first ones are NO_MASK where masks are missing."""
    frames: Any = [masks] if isinstance(masks, np.ndarray | Tensor) and masks.ndim == 2 else masks
    given = np.stack([frame if _is_absent(frame) else check_mask(frame) for frame in frames])
    if length is None or len(given) == length:
        return given
    if len(given) > length:
        raise ValueError(f"the mask {name!r} has {len(given)} frames, the clip has {length}")
    missing = np.full((length - len(given), *given.shape[1:]), NO_MASK, dtype=np.uint8)
    return np.concatenate([missing, given])


def _is_absent(mask: Any) -> bool:
    return isinstance(mask, np.ndarray) and bool((mask == NO_MASK).all())


def _encode_images(arrays: Mapping[str, Sequence[np.ndarray]]) -> dict[str, list[str]]:
    """Frames as base64 of WebP."""
    images: dict[str, list[bytes]] = {}
    for quality in WEBP_QUALITIES:
        images = {name: [_webp(picture, quality) for picture in clip] for name, clip in arrays.items()}
        if sum(len(image) for clip in images.values() for image in clip) <= MAX_IMAGES_BYTES:
            break
    return {name: [base64.b64encode(image).decode() for image in clip] for name, clip in images.items()}


def _webp(picture: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="webp", quality=quality)
    return file.getvalue()


def _classes(masks: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    counts = sum((np.bincount(mask.ravel(), minlength=256)[:N_CLASSES] for mask in masks.values()), np.zeros(N_CLASSES))
    counts[BACKGROUND] = 0
    ids = [id_ for id_ in np.argsort(-counts, kind="stable").tolist() if counts[id_]]
    return [{"id": i, "name": class_name(i), "colour": hex_colour(i)} for i in ids]


def _speeds(trajectory: Trajectory, length: int) -> dict[str, list[float]]:
    velocities = trajectory.select_frames(CLIP_VIDEO_FRAMES[:length]).velocities
    speeds = np.linalg.norm(velocities, axis=-1).round(3)  # (T, N)
    return {str(id_): speeds[:, n].tolist() for n, id_ in enumerate(trajectory.class_ids.tolist())}
