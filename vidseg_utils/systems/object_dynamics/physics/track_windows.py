"""Stretches of tracks that show one law at a time: an object that glides alone, and two objects that collide.

Frames are frames of a clip. Positions between two frames are taken to lie on the straight line between them, and on the
lines along which the objects moved before and after, because a bounce bends the path.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Integer

from vidseg_utils.systems.object_dynamics.perception.tracks import Tracks
from vidseg_utils.world.solids import CUBE, WIDEST_RADIUS

CLOSE_MARGIN = 0.05  # world units between two objects' widest circles, below which they may touch
MIN_GLIDE, MAX_GLIDE = 4, 10  # frames of a gliding window
MIN_GLIDE_STEP = 0.05  # world units in its first frame step; slower objects show friction too shortly
FRAMES_BEFORE, FRAMES_AFTER = 3, 4  # frames of a colliding window before and after the contact, at most
MIN_FRAMES_BESIDE = 2  # frames before and after it, at least: a velocity needs two
MAX_CONTACT_STEPS = 3  # frame steps for which two objects of a collision may be close
MIN_BEND = 0.03  # world units a frame step by which a collision changes one of the velocities


@dataclass(frozen=True)
class Windows:
    """W windows of up to T frames with S objects each."""

    shape: Integer[np.ndarray, "W S"]  # shape codes
    start: Integer[np.ndarray, " W"]  # frame of the clip
    first_seen: Bool[np.ndarray, " W"]  # whether the window starts where its first object is first measured
    pose: Float[np.ndarray, "W T S 3"]  # x, y in world units, yaw in radians
    information: Float[np.ndarray, "W T S 3 3"]  # inverse covariance of the pose; 0 in frames that do not count

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, index: np.ndarray) -> "Windows":
        return Windows(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @classmethod
    def join(cls, parts: Sequence["Windows"]) -> "Windows":
        """All windows of the parts."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def find_glides(tracks: Tracks) -> Windows:
    """Windows of one moving object that is close to no other one."""
    found = []
    for clip in range(len(tracks.class_id)):
        close, seen = _closeness(tracks, clip)
        alone = seen[1:] & seen[:-1] & ~close.any(axis=2)  # (T - 1, N)
        for slot in np.flatnonzero(tracks.class_id[clip]).tolist():
            for first, last in _stretches(alone[:, slot]):
                for start in range(first, last, MAX_GLIDE - 1):
                    end = min(start + MAX_GLIDE - 1, last)
                    step = np.diff(tracks.pose[clip, start : start + 2, slot, :2], axis=0)
                    if end - start + 1 >= MIN_GLIDE and np.linalg.norm(step) > MIN_GLIDE_STEP:
                        found.append((clip, start, end, (slot,)))
    return _gather(tracks, found, objects=1, frames=MAX_GLIDE)


def find_collisions(tracks: Tracks) -> Windows:
    """Windows of two objects that bend each other's path, and are close to no other one."""
    found = []
    for clip in range(len(tracks.class_id)):
        close, seen = _closeness(tracks, clip)
        for a, b in combinations(np.flatnonzero(tracks.class_id[clip]).tolist(), 2):
            both = seen[:, a] & seen[:, b]
            others = np.delete(close[:, [a, b]], [a, b], axis=2).any(axis=(1, 2))
            usable = both[1:] & both[:-1] & ~others  # (T - 1,)
            for first, last in _stretches(close[:, a, b] & usable):
                start, end = first, last
                while start > first - FRAMES_BEFORE + 1 and start > 0 and usable[start - 1]:
                    start -= 1
                while end < last + FRAMES_AFTER - 1 and end < len(usable) and usable[end]:
                    end += 1
                enough = min(first - start, end - last) >= MIN_FRAMES_BESIDE - 1
                if enough and last - first <= MAX_CONTACT_STEPS and _bends(tracks, clip, [a, b], first, last):
                    found.append((clip, start, end, (a, b)))
    frames = FRAMES_BEFORE + FRAMES_AFTER + MAX_CONTACT_STEPS - 1
    return _gather(tracks, found, objects=2, frames=frames)


def _closeness(tracks: Tracks, clip: int) -> tuple[np.ndarray, np.ndarray]:
    """(T - 1, N, N): whether two objects may touch in each frame step, and (T, N): whether they were measured."""
    seen = tracks.seen[clip] & (tracks.class_id[clip] > 0)
    position = np.where(seen[..., None], tracks.pose[clip, :, :, :2], np.nan)
    step = np.diff(position, axis=0)
    before = np.concatenate([np.full_like(step[:1], np.nan), step[:-1]])
    after = np.concatenate([step[1:], np.full_like(step[:1], np.nan)])
    radius = WIDEST_RADIUS[tracks.shape[clip]]
    reach = radius[:, None] + radius + CLOSE_MARGIN

    def is_close(start: np.ndarray, move: np.ndarray) -> np.ndarray:
        between, moving = (x[:, :, None] - x[:, None] for x in (start, move))
        square = np.maximum((moving**2).sum(-1), 1e-12)
        nearest = np.clip(-(between * moving).sum(-1) / square, 0, 1)
        return np.linalg.norm(between + nearest[..., None] * moving, axis=-1) < reach  # False for NaN

    close = is_close(position[:-1], step) | (is_close(position[:-1], before) & is_close(position[1:], -after))
    close[:, np.arange(len(reach)), np.arange(len(reach))] = False
    return close, seen


def _stretches(steps: Bool[np.ndarray, " T"]) -> Iterator[tuple[int, int]]:
    """The first and last frame of each stretch of frame steps that are True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], steps.astype(int), [0]])))
    for first, last in edges.reshape(-1, 2):
        yield int(first), int(last)


def _bends(tracks: Tracks, clip: int, pair: list[int], first: int, last: int) -> bool:
    """Whether one of the two objects moves otherwise after frame `last` than before frame `first`."""
    position = tracks.pose[clip][:, pair, :2]
    before, after = position[first] - position[first - 1], position[last + 1] - position[last]
    return bool((np.linalg.norm(after - before, axis=-1) > MIN_BEND).any())


def _gather(
    tracks: Tracks, found: list[tuple[int, int, int, tuple[int, ...]]], *, objects: int, frames: int
) -> Windows:
    """The windows of (clip, first frame, last frame, slots)."""
    windows = Windows(
        np.zeros((len(found), objects), dtype=int),
        np.zeros(len(found), dtype=int),
        np.zeros(len(found), dtype=bool),
        np.zeros((len(found), frames, objects, 3)),
        np.zeros((len(found), frames, objects, 3, 3)),
    )
    for w, (clip, first, last, slots) in enumerate(found):
        slots, span = list(slots), slice(first, last + 1)
        windows.shape[w], windows.start[w] = tracks.shape[clip, slots], first
        windows.first_seen[w] = first == tracks.seen[clip, :, slots[0]].argmax()
        windows.pose[w, : last - first + 1] = tracks.pose[clip, span][:, slots]
        windows.information[w, : last - first + 1] = tracks.information[clip, span][:, slots]
    disc = (windows.shape != CUBE)[:, None, :, None]
    windows.information[..., 2] *= ~disc
    windows.information[..., 2, :] *= ~disc
    return windows
