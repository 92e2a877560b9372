"""What happens then: a scene played with rigid bodies (MuJoCo), 128 video frames long.

Every video has its own seed, so any one of them can be made alone and comes out the same. A simulation that breaks
CLEVRER's rules is drawn again from the same seed's stream.
"""

import contextlib
import itertools
import math

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from vidseg_utils.simulator.bodies import HALF_WIDTH, OWN_AXES, build_model
from vidseg_utils.simulator.scene import COLLISIONS, MOST_DRAWS, Scene, sample_scene
from vidseg_utils.simulator.settings import SECONDS_PER_FRAME, PhysicsSettings
from vidseg_utils.task import VIDEO_FRAMES
from vidseg_utils.world.camera import project
from vidseg_utils.world.solids import OBJECT_RADIUS
from vidseg_utils.world.trajectory import Collision, Trajectory

COARSE_STEPS, FINE_STEPS = 4, 28  # physics steps a video frame: while objects glide, and while two are close
UPRIGHT = math.cos(math.radians(20))  # an axis that leans further has tipped
LASTING_FRAMES = 8  # of one collision: a cube that it sets spinning may touch twice; later is a second collision
_TURN = np.linspace(0, 2 * np.pi, 17)[:-1, None]
_CIRCLE = np.concatenate([np.cos(_TURN), 0 * _TURN, np.sin(_TURN)], axis=1)
_UP = np.array([0.0, 1.0, 0.0])
OUTLINES = {  # points of each shape whose pictures span its picture; a sphere's are its circle across the line of sight
    "cube": OBJECT_RADIUS * np.array(list(itertools.product((-1.0, 1.0), repeat=3))),
    "cylinder": OBJECT_RADIUS * np.concatenate([_CIRCLE + _UP, _CIRCLE - _UP]),
    "sphere": OBJECT_RADIUS * _CIRCLE[:, [1, 0, 2]] @ Rotation.from_euler("y", -30, degrees=True).as_matrix().T,
}


class BrokenRuleError(Exception):
    """A simulation that CLEVRER would not have kept; its message says why."""


def objects_in_view(shapes: tuple[str, ...], positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Whether any of an object falls inside the picture (hidden or not).

    positions: (T, N, 3); rotations: (T, N, 3, 3) as in Trajectory -> (T, N) bool
    """
    inside = np.zeros(positions.shape[:2], dtype=bool)
    for n, shape in enumerate(shapes):
        turn = np.broadcast_to(np.eye(3), rotations[:, n].shape) if shape == "sphere" else rotations[:, n]
        pixels = project(positions[:, n, None] + OUTLINES[shape] @ turn.transpose(0, 2, 1), height=1, width=1)
        low, high = pixels[..., :2].min(axis=1), pixels[..., :2].max(axis=1)
        inside[:, n] = ((high > 0) & (low < 1) & (pixels[..., 2].min(axis=1) > 0)[:, None]).all(axis=1)
    return inside


def simulate(scene: Scene, settings: PhysicsSettings | None = None) -> Trajectory:
    """Play `scene` for 128 video frames. Raises BrokenRuleError when it does what CLEVRER's videos never do."""
    settings = settings or PhysicsSettings()
    run = _Run(scene, settings)
    for frame in range(VIDEO_FRAMES):
        run.record(frame)
        if frame + 1 < VIDEO_FRAMES:
            run.advance(frame)
    return run.trajectory()


def simulate_video(seed: int, number: int, *, settings: PhysicsSettings | None = None) -> Trajectory:
    """Video `number` of the world `seed`: the first simulation of its own random stream that keeps the rules.

    Raises ValueError for a world in which hardly any simulation does.
    """
    settings = settings or PhysicsSettings()
    rng = np.random.default_rng(np.random.SeedSequence([seed, number]))
    for _ in range(MOST_DRAWS):
        with contextlib.suppress(BrokenRuleError):
            return simulate(sample_scene(rng, settings), settings)
    raise ValueError(f"none of {MOST_DRAWS} simulations keeps CLEVRER's rules in the world {settings}")


class _Run:
    """One simulation under way."""

    def __init__(self, scene: Scene, settings: PhysicsSettings):
        self.scene, self.settings = scene, settings
        self.model = build_model(scene.shapes, settings)
        self.data = mujoco.MjData(self.model)
        count = len(scene.class_ids)
        self.poses = self.data.qpos.reshape(count, 7)  # position, quaternion: views of the simulator's memory
        self.speeds = self.data.qvel.reshape(count, 6)  # linear in the world's axes, angular in the body's own
        self.poses[:, :2], self.poses[:, 2] = scene.positions, OBJECT_RADIUS
        self.poses[:, 3], self.poses[:, 6] = np.cos(scene.yaws / 2), np.sin(scene.yaws / 2)
        self.speeds[:, :2] = scene.velocities
        self.forces = self.data.xfrc_applied[1:, :3]  # (N, 3)
        self.bodies = self.model.geom_bodyid
        self.pairs = np.triu_indices(count, 1)
        reach = np.array([HALF_WIDTH[shape] for shape in scene.shapes])
        self.reach = reach[self.pairs[0]] + reach[self.pairs[1]] + 0.01
        self.apart_until = 0  # the frame before which no two objects can touch
        self.last_contact: dict[tuple[int, int], int] = {}
        self.collisions: list[Collision] = []
        self.all_poses = np.zeros((VIDEO_FRAMES, count, 7))
        self.all_speeds = np.zeros((VIDEO_FRAMES, count, 6))

    def record(self, frame: int) -> None:
        """Keep the state of a frame."""
        self.all_poses[frame], self.all_speeds[frame] = self.poses, self.speeds

    def advance(self, frame: int) -> None:
        """Play one video frame: large steps while all objects are far from each other, small ones otherwise."""
        velocity = self.all_speeds[frame, :, :3]
        speed = np.sqrt(np.einsum("nd,nd->n", velocity, velocity))
        self.forces[:] = (-self.settings.quadratic_drag * speed)[:, None] * velocity
        if frame < self.apart_until or not self._may_touch(speed):
            self.model.opt.timestep = SECONDS_PER_FRAME / COARSE_STEPS
            mujoco.mj_step(self.model, self.data, nstep=COARSE_STEPS)
            return
        self.model.opt.timestep = SECONDS_PER_FRAME / FINE_STEPS
        for _ in range(FINE_STEPS):
            mujoco.mj_step(self.model, self.data)
            contacts = self.data.contact
            between = contacts.geom.all(axis=1)  # two objects; the floor is geom 0
            for place in np.flatnonzero(between) if between.any() else ():
                self.note_contact(frame, self.bodies[contacts.geom[place]] - 1, contacts.pos[place])

    def _may_touch(self, speed: np.ndarray) -> bool:
        """Whether any two objects, going straight, come within reach of each other during the next frame."""
        first, second = self.pairs
        apart = self.poses[first, :2] - self.poses[second, :2]
        gap = np.sqrt(np.einsum("pd,pd->p", apart, apart)) - self.reach
        # until two of them touch, all only get slower: nobody has to look again for a while
        safe_seconds = gap / (speed[first] + speed[second] + 1e-6)
        safe_frames = int(min(safe_seconds.min(initial=np.inf) / SECONDS_PER_FRAME, VIDEO_FRAMES))
        self.apart_until += max(safe_frames, 1)
        if safe_frames > 0:
            return False
        closing = self.speeds[first, :2] - self.speeds[second, :2]
        until_nearest = -np.einsum("pd,pd->p", apart, closing) / (np.einsum("pd,pd->p", closing, closing) + 1e-12)
        nearest = apart + np.clip(until_nearest, 0, SECONDS_PER_FRAME)[:, None] * closing
        return bool((np.einsum("pd,pd->p", nearest, nearest) < self.reach**2).any())

    def note_contact(self, frame: int, objects: np.ndarray, location: np.ndarray) -> None:
        """Record the first contact of a pair, and that it goes on; a second one breaks the rules."""
        pair = (int(objects.min()), int(objects.max()))
        if frame == 0:
            raise BrokenRuleError("two objects touch at the start")
        if pair not in self.last_contact:
            self.collisions.append(Collision(frame, pair, tuple(location.tolist())))
            if len(self.collisions) > COLLISIONS[1]:
                raise BrokenRuleError("too many collisions")
        elif frame > self.last_contact[pair] + LASTING_FRAMES:
            raise BrokenRuleError("a pair collides again")
        self.last_contact[pair] = frame

    def trajectory(self) -> Trajectory:
        """What was recorded, in CLEVRER's conventions. Raises BrokenRuleError when it breaks a rule."""
        if len(self.collisions) < COLLISIONS[0]:
            raise BrokenRuleError("too few collisions")
        shapes = self.scene.shapes
        positions, velocities = self.all_poses[..., :3].copy(), self.all_speeds[..., :3].copy()
        quaternions = self.all_poses[..., [4, 5, 6, 3]]
        rotations = Rotation.from_quat(quaternions.reshape(-1, 4)).as_matrix().reshape(*positions.shape[:2], 3, 3)
        standing = [shape != "sphere" for shape in shapes]
        if (rotations[:, standing, 2, 2] < UPRIGHT).any():
            raise BrokenRuleError("an object tips over")
        lifted = positions[..., 2] - OBJECT_RADIUS
        if (lifted > 0.1).any():
            raise BrokenRuleError("an object leaves the floor")
        if ((np.linalg.norm(velocities, axis=-1) < 1e-3) & (lifted > 0.02)).any():
            raise BrokenRuleError("an object rests in the air")
        angular_velocities = np.einsum("tnij,tnj->tni", rotations, self.all_speeds[..., 3:])
        rotations = rotations @ np.stack([OWN_AXES[shape] for shape in shapes])
        in_view = objects_in_view(shapes, positions, rotations)
        return Trajectory(
            self.scene.class_ids, positions, rotations, velocities, angular_velocities, in_view, tuple(self.collisions)
        )
