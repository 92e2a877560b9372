"""From possible futures to a mask: each object's own mask, stretched to the box with the largest expected overlap.

Why the largest expected overlap, and not the mean, see `object_dynamics.decision`.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, UInt8
from torch import Tensor

from vidseg_utils.metrics import drawing_threshold
from vidseg_utils.models.image_rollout import Futures, Regions, clearest_frames

MIN_EXPECTED_OVERLAP = drawing_threshold(0.4)  # an object with less is not drawn


def decide_boxes(
    futures: Futures, width: Float[Tensor, " B"], *, min_overlap: float = MIN_EXPECTED_OVERLAP
) -> tuple[Float[Tensor, "B N 4"], Bool[Tensor, "B N"]]:
    """The best of the sampled boxes in the last frame, and whether to draw it.

    width: of the picture, frame heights. An object that is probably hidden or outside has a small expected overlap.
    """
    boxes = futures.position[:, :, -1, :, :4]  # (B, K, N, 4)
    limit = torch.stack([width, torch.ones_like(width)], dim=-1).repeat(1, 2)[:, None, None]  # (B, 1, 1, 4)
    inside = boxes.clamp(min=0).minimum(limit)
    low = torch.maximum(inside[:, :, None, :, :2], inside[:, None, :, :, :2])
    high = torch.minimum(inside[:, :, None, :, 2:], inside[:, None, :, :, 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)  # (B, K, K, N)
    area = (inside[..., 2:] - inside[..., :2]).clamp(min=0).prod(dim=-1)  # (B, K, N)
    overlap = common / (area[:, :, None] + area[:, None] - common).clamp(min=1e-6)
    visible = futures.visible[:, :, -1].sigmoid()  # (B, K, N)
    expected = (overlap * visible[:, None]).mean(dim=2)  # (B, K, N)
    best, index = expected.max(dim=1)
    chosen = boxes.gather(1, index[:, None, :, None].expand(-1, -1, -1, 4))[:, 0]
    return chosen, best >= min_overlap


def draw_boxes(
    masks: Integer[np.ndarray, "B T H W"],
    regions: Regions,
    boxes: Float[np.ndarray, "B N 4"],
    drawn: Bool[np.ndarray, "B N"],
) -> UInt8[np.ndarray, "B H W"]:
    """Draw the objects: each object's clearest past mask, stretched to its box; lower ones hide higher ones.

    boxes: in frame heights
    """
    height, width = masks.shape[2:]
    result = np.zeros((len(masks), height, width), dtype=np.uint8)
    frames = clearest_frames(regions.reliable.transpose(1, 2), regions.seen.transpose(1, 2)).numpy()  # (B, N)
    class_ids = regions.class_id.numpy()
    sources = np.rint(regions.position[..., :4].numpy() * height).astype(int)
    for b, mask in enumerate(result):
        order = np.argsort(boxes[b, :, 3], kind="stable")
        for n in order[drawn[b, order] & (class_ids[b, order] > 0)]:
            left, top, right, bottom = sources[b, frames[b, n], n]
            own = masks[b, frames[b, n], top:bottom, left:right] == class_ids[b, n]
            _stretch(mask, own, boxes[b, n] * height, int(class_ids[b, n]))
    return result


def _stretch(mask: np.ndarray, own: np.ndarray, box: np.ndarray, class_id: int) -> None:
    """Paint a small mask into `mask`, in place, stretched to a box in pixels."""
    height, width = mask.shape
    left, top, right, bottom = box
    rows = np.arange(max(0, round(top)), min(height, round(bottom)))
    columns = np.arange(max(0, round(left)), min(width, round(right)))
    if not (len(rows) and len(columns) and own.size):
        return
    source_rows = np.clip(((rows + 0.5 - top) / (bottom - top) * own.shape[0]).astype(int), 0, own.shape[0] - 1)
    source_columns = np.clip(((columns + 0.5 - left) / (right - left) * own.shape[1]).astype(int), 0, own.shape[1] - 1)
    target = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    target[own[np.ix_(source_rows, source_columns)]] = class_id
