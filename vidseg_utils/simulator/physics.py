"""Rigid-body simulation (MuJoCo) of a scene over the 128 frames of a video.

Every video has its own seed, so any video can be made alone and comes out the same. A simulation that breaks CLEVRER's
rules is discarded, and the next scene of the same random stream is tried.
"""

import contextlib
import math
from collections import Counter

import numpy as np
from jaxtyping import Bool, Float
from mujoco import MjData, mj_step, mj_step1, mj_step2  # pyright: ignore[reportAttributeAccessIssue]  # mujoco has no type stubs
from scipy.spatial.transform import Rotation

from vidseg_utils.classes import shape_code
from vidseg_utils.simulator.bodies import OWN_AXES, build_mujoco_model, with_masses
from vidseg_utils.simulator.bounce import restitution_at, spring_and_damper
from vidseg_utils.simulator.scene import COLLISION_COUNT, MAX_DRAWS, OBJECT_COUNT, Scene, sample_scene
from vidseg_utils.simulator.settings import COARSE_STEPS, FINE_STEPS, SECONDS_PER_FRAME, PhysicsSettings
from vidseg_utils.task import VIDEO_FRAMES
from vidseg_utils.world.camera import project
from vidseg_utils.world.solids import OBJECT_RADIUS, OUTLINE_POINTS, WIDEST_RADIUS
from vidseg_utils.world.trajectory import Collision, Trajectory

CONTACT_MARGIN = 0.01  # world units; objects count as close when their widest circles are this far apart
SAME_COLLISION_FRAMES = 8  # contacts of a pair within this many frames are one collision: a spinning cube hits twice
PARTED_DISTANCE = 0.1  # world units that two objects must part before they can collide again
GOLDEN_RATIO = 0.618  # step from the phase of a pair's touch to that of its next one
SAFE_GAP = 0.003  # world units between outlines; it allows for a slight lean and for friction during a frame
# Rules that CLEVRER's videos keep
MIN_UPRIGHT = math.cos(math.radians(20))  # cosine of the lean at which an object counts as tipped over
MAX_LIFT = 0.1  # world units of a centre above OBJECT_RADIUS, at any time
MAX_LIFT_AT_REST = 0.02  # world units
REST_SPEED = 1e-3  # units a second; slower is at rest


class BrokenRuleError(Exception):
    """A simulation breaks a rule that CLEVRER's videos keep; the message says which."""


def objects_in_view(
    shapes: tuple[str, ...], positions: Float[np.ndarray, "T N 3"], rotations: Float[np.ndarray, "T N 3 3"]
) -> Bool[np.ndarray, "T N"]:
    """Whether a part of each object is inside the picture, even if another object hides it; poses as in Trajectory."""
    inside = np.zeros(positions.shape[:2], dtype=bool)
    for n, shape in enumerate(shapes):
        rotation = np.broadcast_to(np.eye(3), rotations[:, n].shape) if shape == "sphere" else rotations[:, n]
        points = positions[:, n, None] + OUTLINE_POINTS[shape] @ rotation.transpose(0, 2, 1)
        pixels = project(points, height=1, width=1)
        low, high = pixels[..., :2].min(axis=1), pixels[..., :2].max(axis=1)
        inside[:, n] = ((high > 0) & (low < 1) & (pixels[..., 2].min(axis=1) > 0)[:, None]).all(axis=1)
    return inside


def simulate(scene: Scene, settings: PhysicsSettings | None = None, *, keep_rules: bool = True) -> Trajectory:
    """Simulate `scene` for 128 video frames.

    keep_rules: raise BrokenRuleError when it breaks a rule of CLEVRER's videos, such as two or three collisions
    """
    simulation = _Simulation(scene, settings or PhysicsSettings(), keep_rules=keep_rules)
    for frame in range(VIDEO_FRAMES):
        simulation.record(frame)
        if frame + 1 < VIDEO_FRAMES:
            simulation.advance(frame)
    return simulation.trajectory()


def simulate_video(
    seed: int, number: int, *, settings: PhysicsSettings | None = None, object_count: tuple[int, int] = OBJECT_COUNT
) -> Trajectory:
    """Video `number` of the world `seed`: the first simulation of the video's random stream that breaks no rule.

    object_count: fewest and most objects
    Raises ValueError if MAX_DRAWS simulations in a row break a rule.
    """
    settings = settings or PhysicsSettings()
    rng = np.random.default_rng(np.random.SeedSequence([seed, number]))
    for _ in range(MAX_DRAWS):
        with contextlib.suppress(BrokenRuleError):
            return simulate(sample_scene(rng, settings, object_count=object_count), settings)
    raise ValueError(f"none of {MAX_DRAWS} simulations keeps CLEVRER's rules in the world {settings}")


class _Simulation:
    """One simulation in progress."""

    def __init__(self, scene: Scene, settings: PhysicsSettings, *, keep_rules: bool = True):
        self.scene, self.settings, self.keep_rules = scene, settings, keep_rules
        model = build_mujoco_model(scene.shapes, settings)
        self.draws_restitution = settings.restitution is None  # then each touch changes the model
        self.model = with_masses(model, scene.masses) if self.draws_restitution or (scene.masses != 1).any() else model
        self.data = MjData(self.model)
        count = len(scene.class_ids)
        self.poses = self.data.qpos.reshape(count, 7)  # position, quaternion: views of the simulator's memory
        self.speeds = self.data.qvel.reshape(count, 6)  # linear in the world's axes, angular in the body's own
        self.poses[:, :2], self.poses[:, 2] = scene.positions, OBJECT_RADIUS
        self.poses[:, 3], self.poses[:, 6] = np.cos(scene.yaws / 2), np.sin(scene.yaws / 2)
        self.speeds[:, :2] = scene.velocities
        self.forces = self.data.xfrc_applied[1:, :3]  # (N, 3)
        self.bodies = self.model.geom_bodyid
        self.pairs = np.triu_indices(count, 1)
        radius = WIDEST_RADIUS[shape_code(scene.class_ids)]
        self.contact_distance = radius[self.pairs[0]] + radius[self.pairs[1]] + CONTACT_MARGIN
        # each pair of objects -> its row in the model's list of contact pairs
        ends = np.sort(self.bodies[np.stack([self.model.pair_geom1, self.model.pair_geom2], axis=1)], axis=1) - 1
        self.pair_rows = {(first, second): row for row, (first, second) in enumerate(ends.tolist()) if first >= 0}
        self.apart_until = 0  # the frame before which no two objects can touch
        self.touching: set[tuple[int, int]] = set()  # pairs of objects in the last physics step
        self.touches: Counter[tuple[int, int]] = Counter()  # of each pair so far
        self.last_contact: dict[tuple[int, int], int] = {}  # pair -> frame
        self.collisions: list[Collision] = []
        self.all_poses = np.zeros((VIDEO_FRAMES, count, 7))
        self.all_speeds = np.zeros((VIDEO_FRAMES, count, 6))

    def record(self, frame: int) -> None:
        """Keep the present state as that of a frame."""
        self.all_poses[frame], self.all_speeds[frame] = self.poses, self.speeds

    def advance(self, frame: int) -> None:
        """Simulate one video frame: coarse steps while all objects are far from each other, fine ones otherwise."""
        velocity = self.all_speeds[frame, :, :3]
        speed = np.sqrt(np.einsum("nd,nd->n", velocity, velocity))
        self.forces[:] = (-self.settings.quadratic_drag * self.scene.masses * speed)[:, None] * velocity
        if frame < self.apart_until or not self._may_touch(speed):
            self.model.opt.timestep = SECONDS_PER_FRAME / COARSE_STEPS
            mj_step(self.model, self.data, nstep=COARSE_STEPS)
            self.touching = set()
            return
        self.model.opt.timestep = SECONDS_PER_FRAME / FINE_STEPS
        for _ in range(FINE_STEPS):
            mj_step1(self.model, self.data)
            if self.data.contact.geom[:, 0].any():  # the ground is geom 0, and comes first in its contacts
                self._meet(frame)
            else:
                self.touching = set()
            mj_step2(self.model, self.data)

    def _may_touch(self, speed: np.ndarray) -> bool:
        """Whether any two objects, going straight, come close to each other during the next frame."""
        first, second = self.pairs
        apart = self.poses[first, :2] - self.poses[second, :2]
        gap = np.sqrt(np.einsum("pd,pd->p", apart, apart)) - self.contact_distance
        # Objects only slow down until two of them touch, so none can touch before this time has passed.
        safe_seconds = gap / (speed[first] + speed[second] + 1e-6)
        safe_frames = int(min(safe_seconds.min(initial=np.inf) / SECONDS_PER_FRAME, VIDEO_FRAMES))
        self.apart_until += max(safe_frames, 1)
        if safe_frames > 0:
            return False
        closing = self.speeds[first, :2] - self.speeds[second, :2]
        until_nearest = -np.einsum("pd,pd->p", apart, closing) / (np.einsum("pd,pd->p", closing, closing) + 1e-12)
        nearest = apart + np.clip(until_nearest, 0, SECONDS_PER_FRAME)[:, None] * closing
        close = np.flatnonzero(np.einsum("pd,pd->p", nearest, nearest) < self.contact_distance**2)
        if not self.draws_restitution:
            return len(close) > 0  # the first world keeps this rule, so that its videos stay the same
        return any(self._outlines_may_touch(int(first[pair]), int(second[pair])) for pair in close)

    def _outlines_may_touch(self, a: int, b: int) -> bool:
        """Whether two close objects may touch in the next frame: unless a fixed line between them stays free."""
        (x, y), (vx, vy) = self.poses[a, :2] - self.poses[b, :2], self.speeds[a, :2] - self.speeds[b, :2]
        angles, turning = [math.atan2(y, x)], 0.0  # of the normals of the lines that are tried; speed of the corners
        yaws = []
        for n in (a, b):
            if self.scene.shapes[n] == "cube":
                yaws.append(2 * math.atan2(self.poses[n, 6], self.poses[n, 3]))
                turning += abs(self.speeds[n, 5]) * 2**0.5 * OBJECT_RADIUS
                angles += [yaws[-1], yaws[-1] + math.pi / 2]
        for angle in angles:
            cos, sin = math.cos(angle), math.sin(angle)
            side = math.copysign(1.0, x * cos + y * sin)
            widths = [abs(math.cos(angle - yaw)) + abs(math.sin(angle - yaw)) for yaw in yaws] + [1.0] * (2 - len(yaws))
            gap = side * (x * cos + y * sin) - OBJECT_RADIUS * sum(widths)
            if gap + min(side * (vx * cos + vy * sin) - turning, 0.0) * SECONDS_PER_FRAME > SAFE_GAP:
                return False
        return True

    def _meet(self, frame: int) -> None:
        """Record the contacts between objects in this physics step. Pairs that touch anew draw their restitution."""
        contacts, speeds = self.data.contact, {}
        for contact in np.flatnonzero(contacts.geom[:, 0]).tolist():
            first, second = sorted((self.bodies[contacts.geom[contact]] - 1).tolist())
            speed = -float(self.data.efc_vel[contacts.efc_address[contact]])  # of approach, along the normal
            grazing = speed <= 0 and frame > 0 and (first, second) not in self.last_contact  # no impulse is exchanged
            if not (grazing and self.draws_restitution):
                self.note_contact(frame, (first, second), contacts.pos[contact])
            speeds[first, second] = max(speed, speeds.get((first, second), 0.0))
        new = speeds.keys() - self.touching
        self.touching = set(speeds)
        if not self.draws_restitution or not new:
            return
        for first, second in sorted(new):
            phase = (float(self.scene.bounces[first, second]) + GOLDEN_RATIO * self.touches[first, second]) % 1
            shapes = self.scene.shapes[first], self.scene.shapes[second]
            restitution = restitution_at(speeds[first, second], phase, shapes)
            self.model.pair_solref[self.pair_rows[first, second]] = [-value for value in spring_and_damper(restitution)]
            self.touches[first, second] += 1
        mj_step1(self.model, self.data)  # again, with the new springs

    def note_contact(self, frame: int, pair: tuple[int, int], location: np.ndarray) -> None:
        """Record a pair's contact as a collision, unless it continues one. Two that meet again may break the rules."""
        self._require(frame > 0, "two objects touch at the start")
        again = pair in self.last_contact and frame > self.last_contact[pair] + SAME_COLLISION_FRAMES
        self._require(not again or self.settings.repeated_contact, "a pair collides again")
        if again:
            since = self.all_poses[self.last_contact[pair] : frame + 1, :, :2]
            distance = np.linalg.norm(since[:, pair[0]] - since[:, pair[1]], axis=-1)
            again = bool(distance.max() > distance[0] + PARTED_DISTANCE)
        if again or pair not in self.last_contact:
            x, y, z = location.tolist()
            self.collisions.append(Collision(frame, pair, (x, y, z)))
            self._require(len(self.collisions) <= COLLISION_COUNT[1], "too many collisions")
        self.last_contact[pair] = frame

    def _require(self, rule: bool, broken: str) -> None:
        if self.keep_rules and not rule:
            raise BrokenRuleError(broken)

    def trajectory(self) -> Trajectory:
        """The recorded states in CLEVRER's conventions. Raises BrokenRuleError when they break a rule."""
        self._require(len(self.collisions) >= COLLISION_COUNT[0], "too few collisions")
        shapes = self.scene.shapes
        positions, velocities = self.all_poses[..., :3].copy(), self.all_speeds[..., :3].copy()
        quaternions = self.all_poses[..., [4, 5, 6, 3]]
        rotations = Rotation.from_quat(quaternions.reshape(-1, 4)).as_matrix().reshape(*positions.shape[:2], 3, 3)
        must_stand = [shape != "sphere" for shape in shapes]
        self._require(bool((rotations[:, must_stand, 2, 2] >= MIN_UPRIGHT).all()), "an object tips over")
        lift, at_rest = positions[..., 2] - OBJECT_RADIUS, np.linalg.norm(velocities, axis=-1) < REST_SPEED
        self._require(bool((lift <= MAX_LIFT).all()), "an object leaves the ground")
        self._require(not (at_rest & (lift > MAX_LIFT_AT_REST)).any(), "an object rests in the air")
        angular_velocities = np.einsum("tnij,tnj->tni", rotations, self.all_speeds[..., 3:])
        rotations = rotations @ np.stack([OWN_AXES[shape] for shape in shapes])
        in_view = objects_in_view(shapes, positions, rotations)
        return Trajectory(
            self.scene.class_ids, positions, rotations, velocities, angular_velocities, in_view, tuple(self.collisions)
        )
