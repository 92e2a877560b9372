"""How a video starts: which objects, where, and how fast, planned so that two or three of them will meet.

A plan on paper (discs that glide, slow down and bounce) picks the start; `physics` then plays it with rigid bodies and
decides what really happens. The figures are CLEVRER's (Yi et al., ICLR 2020), measured on its annotations.
"""

import math
from dataclasses import dataclass

import numpy as np

from vidseg_utils.classes import N_CLASSES, class_attributes
from vidseg_utils.simulator.settings import SECONDS_PER_FRAME, Glide, PhysicsSettings, glide
from vidseg_utils.task import VIDEO_FRAMES
from vidseg_utils.world.camera import project
from vidseg_utils.world.solids import OBJECT_RADIUS

START_SPEED = (2.72, 3.00)  # units a second, of every mover
MISS_DISTANCE = (0.1, 1.7)  # at which a mover's first line passes the origin, world units
FARTHEST_START = 10.5  # of a mover from the origin, world units
OBJECTS = (4, 6)  # in a video
COLLISIONS = (2, 3)  # in a video
START_GAP = 0.62  # between two centres at frame 0; cubes corner to corner touch at 0.566
MOVER_SHARE = 0.36  # of the objects after the first, which always moves
IN_THE_WAY_SHARE = 0.3  # of the objects at rest; the others are bystanders
MEETING_FRAMES = (8.0, 125.0)  # when a mover reaches what it aims at
STAGE = ((-2.0, -1.7), (2.0, 1.7))  # where bystanders rest: lowest and highest (x, y)
EARLY = 1.3  # 1 spreads the meetings evenly, more has them sooner
LEAVING_SHARE = 0.6  # of the videos, in which one object may leave the picture
MOST_DRAWS = 500  # of a whole scene, before its world is called impossible
TRIES = 20  # at placing an object before the scene is given up
CONTACT_DISTANCE = 0.43  # between the centres of two discs of the plan


@dataclass(frozen=True)
class Scene:
    """N objects on the floor at frame 0, without spin."""

    class_ids: np.ndarray  # (N,) uint8, 1..48, all different
    positions: np.ndarray  # (N, 2) centres (x, y), world units
    velocities: np.ndarray  # (N, 2) units a second; 0 for an object at rest
    yaws: np.ndarray  # (N,) radians about the vertical

    @property
    def shapes(self) -> tuple[str, ...]:
        """Of each object: "cube", "sphere" or "cylinder"."""
        return tuple(class_attributes(int(id_))[0] for id_ in self.class_ids)


def sample_scene(rng: np.random.Generator, settings: PhysicsSettings | None = None) -> Scene:
    """Draw a start whose plan holds two or three collisions and breaks no rule.

    Raises ValueError for a world in which hardly any plan does, such as one of very rough floors.
    """
    settings = settings or PhysicsSettings()
    count = int(rng.integers(OBJECTS[0], OBJECTS[1] + 1))
    for _ in range(MOST_DRAWS):
        plan = _Plan(rng, settings)
        if all(plan.add_object() for _ in range(count)) and COLLISIONS[0] <= len(plan.collisions) <= COLLISIONS[1]:
            return plan.scene()
    raise ValueError(f"none of {MOST_DRAWS} scenes keeps CLEVRER's rules in the world {settings}")


class _Plan:
    """A scene that grows object by object, with the path that each disc would take."""

    def __init__(self, rng: np.random.Generator, settings: PhysicsSettings):
        self.rng, self.settings = rng, settings
        self.may_leave = int(rng.random() < LEAVING_SHARE)
        self.class_ids: list[int] = []
        self.starts: list[tuple[np.ndarray, np.ndarray]] = []  # position and velocity at frame 0
        self.paths = np.zeros((VIDEO_FRAMES, 0, 2))
        self.collisions: list[tuple[int, int, int]] = []  # frame and the two objects

    def scene(self) -> Scene:
        """The start of what was planned; only cubes show their yaw."""
        yaws = self.rng.uniform(-np.pi, np.pi, len(self.starts))
        positions, velocities = (np.array(column) for column in zip(*self.starts, strict=True))
        return Scene(np.array(self.class_ids, dtype=np.uint8), positions, velocities, yaws)

    def add_object(self) -> bool:
        """Place one more object of a new class; False when no place was found that keeps the rules."""
        class_id = int(self.rng.choice([id_ for id_ in range(1, N_CLASSES) if id_ not in self.class_ids]))
        curve = glide(class_attributes(class_id)[0], self.settings)
        self.class_ids.append(class_id)
        for _ in range(TRIES):
            start = self._draw(curve)
            if self._is_free(*start):
                self.starts.append(start)
                if self._play() and self._enough_stay():
                    return True
                self.starts.pop()
        return False

    def _draw(self, curve: Glide) -> tuple[np.ndarray, np.ndarray]:
        """A mover that will meet an earlier object, an object at rest in a mover's way, or a bystander."""
        rng = self.rng
        movers = [n for n, (_, velocity) in enumerate(self.starts) if velocity.any()]
        if not movers or rng.random() < MOVER_SHARE:
            return self._draw_mover(curve)
        if rng.random() < IN_THE_WAY_SHARE:
            # somewhere on a mover's path, a little to its side
            path = self.paths[:, rng.choice(movers)]
            frame = int(rng.integers(8, VIDEO_FRAMES))
            return path[frame] + rng.uniform(-0.3, 0.3, 2), np.zeros(2)
        return rng.uniform(*STAGE), np.zeros(2)

    def _draw_mover(self, curve: Glide) -> tuple[np.ndarray, np.ndarray]:
        rng = self.rng
        speed, angle = rng.uniform(*START_SPEED), rng.uniform(-np.pi, np.pi)
        direction = np.array([math.cos(angle), math.sin(angle)])
        frame = MEETING_FRAMES[0] + (MEETING_FRAMES[1] - MEETING_FRAMES[0]) * rng.random() ** EARLY
        if self.starts:
            target = self.paths[min(int(frame), VIDEO_FRAMES - 1), rng.integers(len(self.starts))]
            meeting = target + rng.uniform(-0.25, 0.25) * np.array([-direction[1], direction[0]])
        else:
            meeting = rng.uniform(*STAGE)
        return meeting - direction * curve(speed, frame), direction * speed

    def _is_free(self, position: np.ndarray, velocity: np.ndarray) -> bool:
        """Whether an object may start there: apart from the others, in sight or on its way, by CLEVRER's figures."""
        gaps = [np.linalg.norm(position - other) for other, _ in self.starts]
        if gaps and min(gaps) < START_GAP:
            return False
        speed = np.linalg.norm(velocity)
        if speed == 0:
            x, y, _ = project(np.array([*position, OBJECT_RADIUS]), height=1, width=1)
            return 0.03 < x < 0.97 and 0.1 < y < 0.92
        miss = abs(position[0] * velocity[1] - position[1] * velocity[0]) / speed
        return MISS_DISTANCE[0] <= miss <= MISS_DISTANCE[1] and np.linalg.norm(position) <= FARTHEST_START

    def _enough_stay(self) -> bool:
        """Whether enough objects are in the picture at the end: nine in ten are in CLEVRER."""
        heights = np.full((len(self.starts), 1), OBJECT_RADIUS)
        x, y, _ = project(np.concatenate([self.paths[-1], heights], axis=1), height=1, width=1).T
        return int(((x < 0) | (x > 1) | (y < 0) | (y > 1.1)).sum()) <= self.may_leave

    def _play(self) -> bool:
        """Plan all paths anew: glide to the first meeting, bounce, glide on. False for a pair that meets twice."""
        count = len(self.starts)
        self.paths, self.collisions = np.zeros((VIDEO_FRAMES, count, 2)), []
        for n, (position, velocity) in enumerate(self.starts):
            self._glide(n, 0, position, velocity)
        first, second = np.triu_indices(count, 1)
        met: dict[int, int] = {}  # pair -> frame from which it would meet again
        frame = 0
        while True:
            between = self.paths[frame:, first] - self.paths[frame:, second]
            touching = np.einsum("tpd,tpd->tp", between, between) < CONTACT_DISTANCE**2
            for pair, until in met.items():
                touching[: max(until - frame, 0), pair] = False
            when = touching.any(axis=1)
            if not when.any():
                return True
            pair = int(touching[when.argmax()].argmax())
            frame += int(when.argmax())
            if frame < 2 or pair in met or len(self.collisions) == COLLISIONS[1]:
                return False
            met[pair] = frame + 6
            self._bounce(frame, int(first[pair]), int(second[pair]))

    def _glide(self, n: int, frame: int, position: np.ndarray, velocity: np.ndarray) -> None:
        """From `frame` on, object n goes straight."""
        speed = math.hypot(*velocity)
        self.paths[frame:, n] = position
        if speed > 1e-6:
            curve = glide(class_attributes(self.class_ids[n])[0], self.settings)
            distance = curve(speed, np.arange(VIDEO_FRAMES - frame))
            self.paths[frame:, n] += distance[:, None] * (velocity / speed)

    def _bounce(self, frame: int, a: int, b: int) -> None:
        """Two equal discs part from where they were a frame before they overlap."""
        before = frame - 1
        velocities = (self.paths[before, [a, b]] - self.paths[before - 1, [a, b]]) / SECONDS_PER_FRAME
        normal = self.paths[frame, a] - self.paths[frame, b]
        normal = normal / math.hypot(*normal)
        kick = (1 + self.settings.restitution) / 2 * ((velocities[0] - velocities[1]) @ normal) * normal
        self._glide(a, before, self.paths[before, a].copy(), velocities[0] - kick)
        self._glide(b, before, self.paths[before, b].copy(), velocities[1] + kick)
        self.collisions.append((frame, a, b))
