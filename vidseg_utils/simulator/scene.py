"""Random start of a video: which objects, where, and how fast, planned so that two or three collisions happen.

A simple plan (discs that glide, slow down and bounce) selects the start. `physics` then simulates it with rigid bodies,
which decides what really happens. The constants are CLEVRER's (Yi et al., ICLR 2020), measured on its annotations.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from vidseg_utils.classes import N_CLASSES, class_attributes
from vidseg_utils.simulator.bounce import restitution_at
from vidseg_utils.simulator.settings import SECONDS_PER_FRAME, GlideCurve, PhysicsSettings, glide_curve
from vidseg_utils.task import VIDEO_FRAMES
from vidseg_utils.world.camera import project
from vidseg_utils.world.solids import OBJECT_RADIUS

START_SPEED = (2.72, 3.00)  # units a second, of every mover
MISS_DISTANCE = (0.1, 1.7)  # world units by which a mover's first line passes the origin
MAX_START_DISTANCE = 10.5  # of a mover from the origin, world units
OBJECT_COUNT = (4, 6)  # fewest and most in a video
COLLISION_COUNT = (2, 3)  # fewest and most in a video
MIN_START_GAP = 0.62  # world units between two centres at frame 0; cubes corner to corner touch at 0.566
MOVER_COUNT_SHARES = (0.1, 0.3, 0.6)  # of the videos with 1, 2 and 3 objects that move at frame 0
MOVER_SHARE = 0.36  # of the objects after the first, where movers are not counted; the first always moves
IN_THE_WAY_SHARE = 0.3  # of the objects at rest: they lie near a mover's path; the others are bystanders
FIRST_TARGET_FRAME = 8  # earliest frame of a mover's path near which an object at rest is put in its way
PATH_OFFSET = 0.3  # world units, in x and y, by which such an object may be off the path
MEETING_FRAMES = (8.0, 125.0)  # when a mover reaches its target
# 1 spreads the meetings evenly over MEETING_FRAMES; more makes them earlier. The second where movers are counted: they
# are more, and fewer of them may come late.
MEETING_SKEW, COUNTED_MEETING_SKEW = 1.3, 2.8
AIM_OFFSET = 0.25  # world units by which a mover aims past its target's centre, to either side
BYSTANDER_AREA = ((-2.0, -1.7), (2.0, 1.7))  # lowest and highest (x, y), world units
LEAVING_SHARE = 0.6  # of the videos: in these one object may leave the picture
CONTACT_DISTANCE = 0.43  # world units between the centres of two discs of the plan that touch
PARTING_FRAMES = 6  # video frames after a bounce in which the plan ignores contacts of that pair
MIN_GLIDE_SPEED = 1e-6  # units a second; slower objects of the plan stay where they are
MAX_DRAWS = 500  # of a whole scene, before its settings are called impossible
MAX_PLACEMENT_TRIES = 20  # for one object, before the scene is discarded
# Where an object at rest may lie in the picture, as shares of its width and height.
RESTING_X, RESTING_Y = (0.03, 0.97), (0.1, 0.92)
MAX_FINAL_Y = 1.1  # an object whose centre is this far down (a share of the picture's height) can still be seen


@dataclass(frozen=True)
class Scene:
    """N objects on the ground at frame 0, without spin."""

    class_ids: UInt8[np.ndarray, "N"]  # 1..48, all different
    positions: Float[np.ndarray, "N 2"]  # centres (x, y), world units
    velocities: Float[np.ndarray, "N 2"]  # units a second; 0 for an object at rest
    yaws: Float[np.ndarray, "N"]  # radians about the vertical
    masses: Float[np.ndarray, "N"]
    bounces: Float[np.ndarray, "N N"]  # 0..1, symmetrical: phase of each pair's first touch (see `bounce`)

    @property
    def shapes(self) -> tuple[str, ...]:
        """The shape of each object: "cube", "sphere" or "cylinder"."""
        return tuple(class_attributes(int(id_))[0] for id_ in self.class_ids)


def sample_scene(
    rng: np.random.Generator, settings: PhysicsSettings | None = None, *, object_count: tuple[int, int] = OBJECT_COUNT
) -> Scene:
    """Draw a start whose plan has two or three collisions and breaks no rule. object_count: fewest and most objects.

    Raises ValueError if MAX_DRAWS plans in a row break a rule, for example on a very rough ground.
    """
    settings = settings or PhysicsSettings()
    count = int(rng.integers(object_count[0], object_count[1] + 1))
    movers = 1 + int(rng.choice(3, p=MOVER_COUNT_SHARES)) if settings.counted_movers else None
    fewest, most = COLLISION_COUNT
    for _ in range(MAX_DRAWS):
        plan = _Plan(rng, settings, count, movers)
        if all(plan.add_object() for _ in range(count)) and fewest <= len(plan.collisions) <= most:
            return plan.scene()
    raise ValueError(f"none of {MAX_DRAWS} scenes keeps CLEVRER's rules in the world {settings}")


class _Plan:
    """A scene that grows object by object, with the path that each object would take as a disc."""

    def __init__(self, rng: np.random.Generator, settings: PhysicsSettings, count: int, movers: int | None):
        """Of `count` objects, of which `movers` move at frame 0; None: by chance."""
        self.rng, self.settings = rng, settings
        self.moves = None if movers is None else [True, *rng.permutation(np.arange(1, count) < movers)]
        self.masses, self.bounces = np.ones(count), np.full((count, count), 0.5)
        if settings.mass_spread:
            self.masses = rng.uniform(1 - settings.mass_spread, 1 + settings.mass_spread, count)
        if settings.restitution is None:
            phases = np.triu(rng.random((count, count)), 1)
            self.bounces = phases + phases.T
        self.max_leaving = int(rng.random() < LEAVING_SHARE)
        self.class_ids: list[int] = []
        self.starts: list[tuple[np.ndarray, np.ndarray]] = []  # position and velocity at frame 0
        self.paths = np.zeros((VIDEO_FRAMES, 0, 2))
        self.collisions: list[tuple[int, int, int]] = []  # frame and the two objects

    def scene(self) -> Scene:
        """The start of the plan. Yaws are random; only those of cubes can be seen."""
        yaws = self.rng.uniform(-np.pi, np.pi, len(self.starts))
        positions, velocities = (np.array(column) for column in zip(*self.starts, strict=True))
        return Scene(np.array(self.class_ids, dtype=np.uint8), positions, velocities, yaws, self.masses, self.bounces)

    def add_object(self) -> bool:
        """Add an object of a new class. Returns False when no start was found that keeps the rules."""
        class_id = int(self.rng.choice([id_ for id_ in range(1, N_CLASSES) if id_ not in self.class_ids]))
        curve = glide_curve(class_attributes(class_id)[0], self.settings)
        self.class_ids.append(class_id)
        for _ in range(MAX_PLACEMENT_TRIES):
            start = self._draw_start(curve)
            if self._is_allowed(*start):
                self.starts.append(start)
                if self._plan_paths() and self._enough_stay():
                    return True
                self.starts.pop()
        return False

    def _draw_start(self, curve: GlideCurve) -> tuple[np.ndarray, np.ndarray]:
        """Position and velocity of a mover that will meet an earlier object, of an object at rest in a mover's way, or
        of a bystander.
        """
        rng = self.rng
        movers = [n for n, (_, velocity) in enumerate(self.starts) if velocity.any()]
        if not movers or (rng.random() < MOVER_SHARE if self.moves is None else self.moves[len(self.starts)]):
            return self._draw_mover(curve)
        if rng.random() < IN_THE_WAY_SHARE:
            path = self.paths[:, rng.choice(movers)]
            frame = int(rng.integers(FIRST_TARGET_FRAME, VIDEO_FRAMES))
            return path[frame] + rng.uniform(-PATH_OFFSET, PATH_OFFSET, 2), np.zeros(2)
        return rng.uniform(*BYSTANDER_AREA), np.zeros(2)

    def _draw_mover(self, curve: GlideCurve) -> tuple[np.ndarray, np.ndarray]:
        rng = self.rng
        speed, angle = rng.uniform(*START_SPEED), rng.uniform(-np.pi, np.pi)
        direction = np.array([math.cos(angle), math.sin(angle)])
        skew = COUNTED_MEETING_SKEW if self.settings.counted_movers else MEETING_SKEW
        frame = MEETING_FRAMES[0] + (MEETING_FRAMES[1] - MEETING_FRAMES[0]) * rng.random() ** skew
        if self.starts:
            target = self.paths[min(int(frame), VIDEO_FRAMES - 1), rng.integers(len(self.starts))]
            meeting = target + rng.uniform(-AIM_OFFSET, AIM_OFFSET) * np.array([-direction[1], direction[0]])
        else:
            meeting = rng.uniform(*BYSTANDER_AREA)
        return meeting - direction * curve.distance(speed, frame), direction * speed

    def _is_allowed(self, position: np.ndarray, velocity: np.ndarray) -> bool:
        """Whether an object may start here: apart from the others, and at rest in view or moving as CLEVRER's do."""
        gaps = [np.linalg.norm(position - other) for other, _ in self.starts]
        if gaps and min(gaps) < MIN_START_GAP:
            return False
        speed = np.linalg.norm(velocity)
        if speed == 0:
            x, y, _ = project(np.array([*position, OBJECT_RADIUS]), height=1, width=1)
            return bool(RESTING_X[0] < x < RESTING_X[1] and RESTING_Y[0] < y < RESTING_Y[1])
        miss = abs(position[0] * velocity[1] - position[1] * velocity[0]) / speed
        return bool(MISS_DISTANCE[0] <= miss <= MISS_DISTANCE[1] and np.linalg.norm(position) <= MAX_START_DISTANCE)

    def _enough_stay(self) -> bool:
        """Whether enough objects are in the picture at the end; in CLEVRER nine in ten are."""
        heights = np.full((len(self.starts), 1), OBJECT_RADIUS)
        x, y, _ = project(np.concatenate([self.paths[-1], heights], axis=1), height=1, width=1).T
        return int(((x < 0) | (x > 1) | (y < 0) | (y > MAX_FINAL_Y)).sum()) <= self.max_leaving

    def _plan_paths(self) -> bool:
        """Compute all paths anew: glide to the first collision, bounce, glide on. Returns False when a rule is broken:
        a collision at the start, a pair that meets twice, or too many collisions.
        """
        count = len(self.starts)
        self.paths, self.collisions = np.zeros((VIDEO_FRAMES, count, 2)), []
        for n, (position, velocity) in enumerate(self.starts):
            self._glide(n, 0, position, velocity)
        first, second = np.triu_indices(count, 1)
        collided: dict[int, int] = {}  # pair -> frame from which a new contact counts
        lasting: set[int] = set()  # pairs that may still be in their last contact: it counts once
        frame = 0
        while True:
            between = self.paths[frame:, first] - self.paths[frame:, second]
            touching = np.einsum("tpd,tpd->tp", between, between) < CONTACT_DISTANCE**2
            for pair, end in collided.items():
                touching[: max(end - frame, 0), pair] = False
            parting = {pair: _parting_frame(touching[:, pair], frame, collided[pair]) for pair in lasting}
            for pair, end in parting.items():
                touching[: end - frame, pair] = False
            any_touching = touching.any(axis=1)
            if not any_touching.any():
                return True
            pair = int(touching[any_touching.argmax()].argmax())
            frame += int(any_touching.argmax())
            again = pair in collided and not self.settings.repeated_contact
            if frame < 2 or again or len(self.collisions) == COLLISION_COUNT[1]:
                return False
            collided[pair] = frame + PARTING_FRAMES
            if self.settings.repeated_contact:
                lasting = {other for other in lasting if parting[other] > frame} | {pair}
            self._bounce(frame, int(first[pair]), int(second[pair]))

    def _glide(self, n: int, frame: int, position: np.ndarray, velocity: np.ndarray) -> None:
        """Set the path of object n from `frame` on: straight ahead."""
        speed = math.hypot(*velocity)
        self.paths[frame:, n] = position
        if speed > MIN_GLIDE_SPEED:
            curve = glide_curve(class_attributes(self.class_ids[n])[0], self.settings)
            distance = curve.distance(speed, np.arange(VIDEO_FRAMES - frame))
            self.paths[frame:, n] += distance[:, None] * (velocity / speed)

    def _bounce(self, frame: int, a: int, b: int) -> None:
        """Let two discs bounce off each other, from where they were a frame before they overlap."""
        before = frame - 1
        velocities = (self.paths[before, [a, b]] - self.paths[before - 1, [a, b]]) / SECONDS_PER_FRAME
        normal = self.paths[frame, a] - self.paths[frame, b]
        normal = normal / math.hypot(*normal)
        approach = (velocities[0] - velocities[1]) @ normal
        kick = (1 + self._restitution(a, b, abs(approach))) / (self.masses[a] + self.masses[b]) * approach * normal
        self._glide(a, before, self.paths[before, a].copy(), velocities[0] - self.masses[b] * kick)
        self._glide(b, before, self.paths[before, b].copy(), velocities[1] + self.masses[a] * kick)
        self.collisions.append((frame, a, b))

    def _restitution(self, a: int, b: int, speed: float) -> float:
        """Restitution of the first touch of two objects at an approach speed."""
        if self.settings.restitution is not None:
            return self.settings.restitution
        shapes = class_attributes(self.class_ids[a])[0], class_attributes(self.class_ids[b])[0]
        return restitution_at(speed, float(self.bounces[a, b]), shapes)


def _parting_frame(touching: Bool[np.ndarray, "T"], frame: int, end: int) -> int:
    """The first frame from `end` on in which two objects do not touch; `touching` starts at `frame`."""
    start = max(end - frame, 0)
    apart = ~touching[start:]
    return frame + start + (int(apart.argmax()) if apart.any() else len(apart))
