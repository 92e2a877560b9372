"""A scene from objects that somebody has placed on the ground, instead of one drawn at random."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from vidseg_utils.classes import N_CLASSES, class_name, shape_code
from vidseg_utils.simulator.physics import objects_in_view, simulate
from vidseg_utils.simulator.scene import MAX_START_DISTANCE, Scene
from vidseg_utils.simulator.settings import MAX_SPEED, PhysicsSettings
from vidseg_utils.world.solids import CUBE, OBJECT_RADIUS, WIDEST_RADIUS
from vidseg_utils.world.trajectory import Trajectory

MAX_OBJECTS = 10  # of a placed scene; CLEVRER's have up to 6
MIN_GAP = 0.01  # world units between two footprints at the start; objects that touch would be thrown apart
FIRST_TOUCH_PHASE = 0.5  # of each pair, see `Scene.bounces`: the middle of what is possible
_CORNERS = OBJECT_RADIUS * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])  # of a cube's footprint at yaw 0, world units


@dataclass(frozen=True)
class PlacedObject:
    """One object at frame 0, without spin."""

    class_id: int  # 1..48
    x: float  # world units, towards the viewer
    y: float  # world units, to the right
    vx: float = 0.0  # units a second
    vy: float = 0.0  # units a second
    yaw: float = 0.0  # radians about the vertical; only that of a cube can be seen

    @property
    def name(self) -> str:
        """The name of its class."""
        return class_name(self.class_id)

    @property
    def speed(self) -> float:
        """Units a second."""
        return math.hypot(self.vx, self.vy)


def objects_at_start(trajectory: Trajectory) -> list[PlacedObject]:
    """The objects of a video at its frame 0, from its annotation. Spin is left out: CLEVRER's videos start without."""
    objects = []
    for n, class_id in enumerate(trajectory.class_ids.tolist()):
        (x, y, _), (vx, vy, _) = trajectory.positions[0, n].tolist(), trajectory.velocities[0, n].tolist()
        rotation = trajectory.rotations[0, n]
        yaw = math.atan2(rotation[1, 0], rotation[0, 0]) if shape_code(class_id) == CUBE else 0.0
        objects.append(PlacedObject(class_id, x, y, vx, vy, yaw))
    return objects


def place_objects(objects: Sequence[PlacedObject]) -> Scene:
    """The scene of these objects, all of the same mass.

    Raises ValueError, with the cure, for none or too many objects, two of one class, objects that overlap, are too
    fast or too far away, and objects that rest where the camera does not see them.
    """
    if not 1 <= len(objects) <= MAX_OBJECTS:
        cure = "add one" if not objects else "remove some"
        raise ValueError(f"the scene has {len(objects)} objects, and it can have 1 to {MAX_OBJECTS}: {cure}")
    for placed in objects:
        _check_object(placed)
    for first, second in combinations(objects, 2):
        if first.class_id == second.class_id:
            raise ValueError(
                f"two objects are a {first.name}, and a class names one object of a video: change the colour of one"
            )
        if _gap(first, second) < MIN_GAP:
            raise ValueError(f"the {first.name} and the {second.name} overlap: move one of them away")
    scene = Scene(
        class_ids=np.array([placed.class_id for placed in objects], dtype=np.uint8),
        positions=np.array([(placed.x, placed.y) for placed in objects], dtype=float),
        velocities=np.array([(placed.vx, placed.vy) for placed in objects], dtype=float),
        yaws=np.array([placed.yaw for placed in objects], dtype=float),
        masses=np.ones(len(objects)),
        bounces=np.full((len(objects), len(objects)), FIRST_TOUCH_PHASE),
    )
    _check_in_view(objects, scene)
    return scene


def simulate_objects(objects: Sequence[PlacedObject], *, settings: PhysicsSettings | None = None) -> Trajectory:
    """What these objects do in 128 video frames, in the world `clevrer` by default; CLEVRER's rules need not be kept.

    Raises what `place_objects` raises.
    """
    return simulate(place_objects(objects), settings, keep_rules=False)


def _check_object(placed: PlacedObject) -> None:
    if not 1 <= placed.class_id < N_CLASSES:
        raise ValueError(f"class id {placed.class_id} is not an object; object ids run from 1 to {N_CLASSES - 1}")
    numbers = {name: getattr(placed, name) for name in ("x", "y", "vx", "vy", "yaw")}
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} of the {placed.name} is {value}; give a finite number")
    if placed.speed > MAX_SPEED:
        raise ValueError(
            f"the {placed.name} moves at {placed.speed:.1f} units a second, and nothing is faster than {MAX_SPEED}: "
            "make its arrow shorter"
        )
    if (distance := math.hypot(placed.x, placed.y)) > MAX_START_DISTANCE:
        raise ValueError(
            f"the {placed.name} is {distance:.1f} units from the middle: move it to within {MAX_START_DISTANCE}"
        )


def _check_in_view(objects: Sequence[PlacedObject], scene: Scene) -> None:
    """An object that starts outside the picture may move in; one that rests there would never be seen."""
    positions = np.column_stack([scene.positions, np.full(len(objects), OBJECT_RADIUS)])
    rotations = np.broadcast_to(np.eye(3), (1, len(objects), 3, 3))
    seen = objects_in_view(scene.shapes, positions[None], rotations)[0]
    for placed, is_seen in zip(objects, seen.tolist(), strict=True):
        if not is_seen and placed.speed == 0:
            raise ValueError(
                f"the {placed.name} rests outside the camera's view: move it into the white area, or let it move"
            )


def _gap(first: PlacedObject, second: PlacedObject) -> float:
    """World units between two footprints, below 0 where they overlap: the widest gap along the possible normals."""
    between = np.array([second.x - first.x, second.y - first.y])
    normals = [between, *_side_normals(first), *_side_normals(second)]
    for square, disc in ((first, second), (second, first)):
        if shape_code(square.class_id) == CUBE:
            normals += list((disc.x, disc.y) - _corners(square))  # a corner may be what is nearest
    gaps = []
    for normal in normals:
        if (length := math.hypot(*normal)) > 0:
            direction = normal / length
            gaps.append(abs(between @ direction) - _reach(first, direction) - _reach(second, direction))
    return max(gaps, default=-math.inf)


def _corners(cube: PlacedObject) -> np.ndarray:
    cos, sin = math.cos(cube.yaw), math.sin(cube.yaw)
    return (cube.x, cube.y) + _CORNERS @ np.array([[cos, sin], [-sin, cos]])


def _side_normals(placed: PlacedObject) -> list[np.ndarray]:
    if shape_code(placed.class_id) != CUBE:
        return []
    cos, sin = math.cos(placed.yaw), math.sin(placed.yaw)
    return [np.array([cos, sin]), np.array([-sin, cos])]


def _reach(placed: PlacedObject, direction: np.ndarray) -> float:
    """How far a footprint reaches from its middle in a direction of length 1, world units."""
    if shape_code(placed.class_id) != CUBE:
        return float(WIDEST_RADIUS[shape_code(placed.class_id)])
    return OBJECT_RADIUS * sum(abs(float(normal @ direction)) for normal in _side_normals(placed))
