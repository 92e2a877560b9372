"""Which classes the past masks show, and the class filter: no other class can appear in the forecast."""

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX, N_CLASSES

IMPOSSIBLE_LOGIT = -30.0  # logit of a class that cannot occur
MIN_SEEN_SHARE = 2e-4  # share of the past's pixels; a class with less is a segmentation error


def seen_classes(masks: Int[Tensor, "B T H W"]) -> Bool[Tensor, "B 49"]:
    """Whether each clip shows each class with at least MIN_SEEN_SHARE of its pixels. masks: class ids 0..48."""
    pixels = masks.flatten(1)  # (B, T*H*W)
    counts = torch.zeros(len(masks), N_CLASSES, device=masks.device)
    counts.scatter_add_(1, pixels, counts.new_ones(()).expand_as(pixels))
    return counts >= MIN_SEEN_SHARE * pixels.shape[1]


def index_objects(
    masks: Int[Tensor, "B T H W"],
) -> tuple[Int[Tensor, "B K"], Int[Tensor, " N"], Int[Tensor, " N"]]:
    """List the N objects of all clips.

    masks: class ids 0..48
    returns: the clips' class ids: 0, those of the objects in ascending order, then 255; each object's clip; each
        object's channel, which is the index of its class among the clip's class ids
    Where no clip shows an object, one object without pixels is listed, because networks do not accept an empty batch.
    """
    objects = seen_classes(masks)
    objects[:, BACKGROUND] = False
    if not objects.any():
        objects[0, -1] = True
    clip_index, class_id = objects.nonzero(as_tuple=True)
    channel = objects.cumsum(dim=1)[clip_index, class_id]
    class_ids = class_id.new_full((len(masks), int(channel.max()) + 1), IGNORE_INDEX)
    class_ids[:, 0] = BACKGROUND
    class_ids[clip_index, channel] = class_id
    return class_ids, clip_index, channel


def suppress_unseen_classes(
    logits: Float[Tensor, "B F 49 H W"], past: Integer[Tensor, "B T H W"]
) -> Float[Tensor, "B F 49 H W"]:
    """The class filter: classes that the past masks do not show get IMPOSSIBLE_LOGIT.

    past: class ids, others (255 = unknown) count as background, which always remains possible
    """
    past = past.long()
    seen = seen_classes(past.masked_fill(past >= N_CLASSES, BACKGROUND))  # (B, 49)
    seen[:, BACKGROUND] = True
    return logits.masked_fill(~seen[:, None, :, None, None], IMPOSSIBLE_LOGIT)
