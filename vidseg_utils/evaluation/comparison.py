"""Where systems go wrong and where they agree: by place, after collisions, one answer against another."""

from collections.abc import Sequence

from torch import Tensor

from vidseg_utils.classes import BACKGROUND, IGNORE_INDEX
from vidseg_utils.task import CLIP_VIDEO_FRAMES, PAST_FRAMES
from vidseg_utils.world.trajectory import Trajectory


def error_share(predictions: Tensor, targets: Tensor) -> Tensor:
    """predictions, targets: (N, H, W) class ids -> (H, W): the share of the videos in which a pixel is named wrongly.

    A target of 255 is not judged; 0 where none is.
    """
    judged = targets != IGNORE_INDEX
    return ((predictions != targets) & judged).sum(dim=0) / judged.sum(dim=0).clamp(min=1)


def agreement(one: Tensor, other: Tensor) -> float:
    """Of the pixels that at least one of two answers calls an object: the share to which both give the same class.

    one, other: (N, H, W) class ids. 1 where neither sees an object.
    """
    objects = (one != BACKGROUND) | (other != BACKGROUND)
    return float(((one == other) & objects).sum() / objects.sum()) if objects.any() else 1.0


def recall_by_collisions(
    predictions: Tensor, masks: Tensor, trajectories: Sequence[Trajectory], *, most: int = 3
) -> list[tuple[int, float]]:
    """How well objects are found after 0, 1, … collisions since the last past frame: [(objects, recall), …].

    predictions: (N, H, W) of the last frame; masks: (N, 22, H, W), the truth; trajectories: of the same N videos
    most: the last entry is for so many collisions or more
    Recall is the share of such objects' pixels that are named rightly, in [0, 1], NaN for no object. Only objects that
    some past frame shows count: nobody can name the others.
    """
    objects, found, pixels = ([0] * (most + 1) for _ in range(3))
    for prediction, clip, trajectory in zip(predictions, masks, trajectories, strict=True):
        collisions = unseen_collisions(trajectory)
        for class_id in set(clip[:PAST_FRAMES].unique().tolist()) & set(clip[-1].unique().tolist()) & set(collisions):
            area = clip[-1] == class_id
            place = min(collisions[class_id], most)
            objects[place] += 1
            found[place] += int((prediction[area] == class_id).sum())
            pixels[place] += int(area.sum())
    return [(n, right / all_ if all_ else float("nan")) for n, right, all_ in zip(objects, found, pixels, strict=True)]


def unseen_collisions(trajectory: Trajectory) -> dict[int, int]:
    """Class id of each object -> its collisions after the last past frame, up to the last frame."""
    counts = dict.fromkeys(trajectory.class_ids.tolist(), 0)
    for collision in trajectory.collisions:
        if CLIP_VIDEO_FRAMES[PAST_FRAMES - 1] < collision.frame <= CLIP_VIDEO_FRAMES[-1]:
            for place in collision.objects:
                counts[int(trajectory.class_ids[place])] += 1
    return counts
