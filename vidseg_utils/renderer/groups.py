"""Objects of many videos that are computed together: all of one shape, or of one shape and material, one in each video.

A GPU takes longer to start a small step than to do it, so the objects of many videos share each step. The objects of a
video are always taken in the same order, so its pictures do not depend on the videos that are drawn with it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer


@dataclass(frozen=True)
class PosedObjects:
    """The objects of a video: class ids 1..48, centres in world units (NaN where absent) and object -> world."""

    class_ids: Integer[np.ndarray, "N"]
    positions: Float[np.ndarray, "T N 3"]
    rotations: Float[np.ndarray, "T N 3 3"]

    def select_frames(self, frames: slice) -> "PosedObjects":
        """The same objects in some of the frames."""
        return PosedObjects(self.class_ids, self.positions[frames], self.rotations[frames])


@dataclass(frozen=True)
class ObjectGroup:
    """Objects in V videos of T frames, one in each."""

    videos: Int[np.ndarray, "V"]  # index of each object's video
    indices: Int[np.ndarray, "V"]  # index of each object in its video
    class_ids: Integer[np.ndarray, "V"]
    positions: Float[np.ndarray, "V T 3"]
    rotations: Float[np.ndarray, "V T 3 3"]

    @property
    def frames(self) -> Int[np.ndarray, "VT"]:
        """Index of each of the group's frames among all frames, video by video."""
        n_frames = self.positions.shape[1]
        return (self.videos[:, None] * n_frames + np.arange(n_frames)).ravel()


def group_objects(videos: Sequence[PosedObjects], kind: Callable[[int], Hashable]) -> list[ObjectGroup]:
    """Every object of the videos in a group with others of its kind; two objects of a video are in different groups.

    kind: of a class id; kinds can be sorted, and the groups are in their order
    """
    members: defaultdict[tuple, list[tuple[int, int]]] = defaultdict(list)
    for video, objects in enumerate(videos):
        n_seen: Counter[Hashable] = Counter()
        for index, class_id in enumerate(objects.class_ids.tolist()):
            members[kind(class_id), n_seen[kind(class_id)]].append((video, index))
            n_seen[kind(class_id)] += 1
    return [
        ObjectGroup(
            *np.array(members[key]).T,
            class_ids=np.array([videos[video].class_ids[index] for video, index in members[key]]),
            positions=np.stack([videos[video].positions[:, index] for video, index in members[key]]),
            rotations=np.stack([videos[video].rotations[:, index] for video, index in members[key]]),
        )
        for key in sorted(members)
    ]
