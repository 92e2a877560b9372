"""Where the objects of a clip are, in the image plane: the box and the centroid of each class's pixels in each frame.

A side of a box is reliable unless the picture's edge or a nearer object cuts it off. An object that reaches lower in
the picture is taken to be nearer.
"""

import numpy as np
import torch
from jaxtyping import Bool, Integer
from scipy.ndimage import find_objects, label

from vidseg_utils.classes import BACKGROUND, N_CLASSES
from vidseg_utils.models.image_rollout import Regions

SLOTS = 10  # objects of a clip; of more classes, those with the most pixels count
MIN_AREA_SHARE = 6e-4  # share of the picture's pixels; a smaller region is a segmentation error
MIN_PART_SHARE = 0.25  # of a class's largest connected part in a frame; smaller parts are segmentation errors


def measure_regions(masks: Integer[np.ndarray, "B T H W"]) -> Regions:
    """The regions in class ids; others (255 = unknown) count as background."""
    masks = np.where(masks < N_CLASSES, masks, BACKGROUND)
    clips, frames = masks.shape[:2]
    class_id = np.zeros((clips, SLOTS), dtype=np.int64)
    position = np.zeros((clips, frames, SLOTS, 6), dtype=np.float32)
    reliable = np.zeros((clips, frames, SLOTS, 6), dtype=bool)
    for b, clip in enumerate(masks):
        found = [_measure_frame(mask) for mask in clip]
        area = np.zeros(N_CLASSES)
        for regions in found:
            for known, (pixels, *_) in regions.items():
                area[known] += pixels
        largest = np.sort(np.argsort(-area, kind="stable")[:SLOTS])
        largest = largest[area[largest] > 0]
        class_id[b, : len(largest)] = largest
        slot = {int(known): n for n, known in enumerate(largest)}
        for t, regions in enumerate(found):
            for known, (_, where, whole) in regions.items():
                if known in slot:
                    position[b, t, slot[known]], reliable[b, t, slot[known]] = where, whole
    height, width = masks.shape[2:]
    widths = np.full(clips, width / height, dtype=np.float32)
    arrays = (class_id, position / np.float32(height), reliable, position[..., 2] > 0, widths)
    return Regions(*map(torch.from_numpy, arrays))


def main_parts(own: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """A region without the connected parts that are much smaller than its largest one."""
    parts, count = label(own)  # pyright: ignore[reportGeneralTypeIssues]
    if count < 2:
        return own
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    return (areas >= MIN_PART_SHARE * areas.max())[parts]


def _measure_frame(mask: np.ndarray) -> dict[int, tuple[int, tuple[float, ...], tuple[bool, ...]]]:
    """For each class: its pixels, its position in pixels (see `Regions`), and whether that is reliable."""
    height, width = mask.shape
    owned, bottoms = {}, np.full(N_CLASSES, -1)
    for known, box in enumerate(find_objects(mask), 1):
        if box is None:
            continue
        own = main_parts(mask[box] == known)
        if own.sum() < MIN_AREA_SHARE * height * width:
            continue
        rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
        top, left = box[0].start, box[1].start
        own = own[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        owned[known] = (top + rows[0], left + columns[0], own)
        bottoms[known] = top + rows[-1] + 1
    framed = np.pad(mask, 1)
    regions = {}
    for known, (top, left, own) in owned.items():
        (high, wide), area = own.shape, own.sum()
        bottom, right = top + high, left + wide
        nearer = bottoms[framed[top : bottom + 2, left : right + 2]] > bottom  # with a rim of one pixel
        touching = [  # left, top, right, bottom: own pixels whose neighbour there belongs to a nearer object
            own & nearer[1:-1, :-2],
            own & nearer[:-2, 1:-1],
            own & nearer[1:-1, 2:],
            own & nearer[2:, 1:-1],
        ]
        free = (
            left > 0 and not touching[0][:, 0].any(),
            top > 0 and not touching[1][0].any(),
            right < width and not touching[2][:, -1].any(),
            bottom < height and not touching[3][-1].any(),
        )
        whole = all(free) and not any(side.any() for side in touching)
        x = left + (own.sum(axis=0) @ (np.arange(wide) + 0.5)) / area
        y = top + (own.sum(axis=1) @ (np.arange(high) + 0.5)) / area
        regions[known] = (int(area), (left, top, right, bottom, x, y), (*free, whole, whole))
    return regions
