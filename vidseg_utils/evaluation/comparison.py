"""Compare forecasts: error rate by pixel, agreement of two systems, recall after collisions."""

from collections.abc import Sequence

from torch import Tensor

from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX
from vidseg_utils.task import CLIP_VIDEO_FRAMES, PAST_FRAMES
from vidseg_utils.world import Trajectory


def error_rate_per_pixel(predictions: Tensor, targets: Tensor) -> Tensor:
    """predictions, targets: (N, H, W) class ids -> (H, W): the share of videos in which a pixel has the wrong class.

    Targets of 255 are left out; a pixel that has no other target gets 0.
    """
    has_target = targets != IGNORE_INDEX
    return ((predictions != targets) & has_target).sum(dim=0) / has_target.sum(dim=0).clamp(min=1)


def object_agreement(first: Tensor, second: Tensor) -> float:
    """Of the pixels where at least one of two forecasts has an object: the share where both have the same class.

    first, second: (N, H, W) class ids. Returns 1 if neither has an object.
    """
    objects = (first != BACKGROUND) | (second != BACKGROUND)
    return float(((first == second) & objects).sum() / objects.sum()) if objects.any() else 1.0


def recall_by_collisions(
    predictions: Tensor, masks: Tensor, trajectories: Sequence[Trajectory], *, max_collisions: int = 3
) -> list[tuple[int, float]]:
    """(number of objects, recall) for objects with 0, 1, … collisions after the last past frame.

    predictions: (N, H, W) of the last frame; masks: (N, 22, H, W), the truth; trajectories: of the same N videos
    max_collisions: the last entry is for this many collisions or more
    Recall is the share of the objects' pixels that have the right class, in [0, 1]; NaN without objects. An object
    counts only if a past frame shows it, because no system can know the others.
    """
    objects, correct, pixels = ([0] * (max_collisions + 1) for _ in range(3))
    for prediction, clip, trajectory in zip(predictions, masks, trajectories, strict=True):
        collisions = count_future_collisions(trajectory)
        for class_id in set(clip[:PAST_FRAMES].unique().tolist()) & set(clip[-1].unique().tolist()) & set(collisions):
            area = clip[-1] == class_id
            index = min(collisions[class_id], max_collisions)
            objects[index] += 1
            correct[index] += int((prediction[area] == class_id).sum())
            pixels[index] += int(area.sum())
    return [
        (count, right / total if total else float("nan"))
        for count, right, total in zip(objects, correct, pixels, strict=True)
    ]


def count_future_collisions(trajectory: Trajectory) -> dict[int, int]:
    """Class id of each object -> its collisions after the last past frame, up to the last frame."""
    counts = dict.fromkeys(trajectory.class_ids.tolist(), 0)
    for collision in trajectory.collisions:
        if CLIP_VIDEO_FRAMES[PAST_FRAMES - 1] < collision.frame <= CLIP_VIDEO_FRAMES[-1]:
            for index in collision.objects:
                counts[int(trajectory.class_ids[index])] += 1
    return counts
