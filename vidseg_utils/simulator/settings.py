"""The constants of the world, and the straight glide of one object under them.

Fitted to CLEVRER's annotations (Yi et al., ICLR 2020): a constant friction, and drags that grow with v and with v^2.
"""

import functools
import math
from dataclasses import asdict, dataclass, replace

import numpy as np

SECONDS_PER_FRAME = 0.028  # a video frame moves an object by its annotated velocity times this
COARSE_STEPS, FINE_STEPS = 4, 28  # physics steps a video frame: while all objects glide, and while two are close
FINE_STEP_SECONDS = SECONDS_PER_FRAME / FINE_STEPS
MAX_SPEED = 4.2  # units a second; nothing moves faster
MAX_MASS_SPREAD = 0.9
NEW_SETTINGS = {"mass_spread", "counted_movers", "repeated_contact"}  # settings that the first world did not have
_CURVE_POINTS = 1000  # of a glide curve, from MAX_SPEED to rest


@dataclass(frozen=True)
class PhysicsSettings:
    """The constants of the world. The defaults fit CLEVRER's annotations; others test how robust a forecaster is."""

    gravity: float = 9.81  # units / s^2
    sliding_friction: float = 0.03  # of cubes and cylinders on the ground
    sphere_friction: float = 0.0  # of spheres on the ground: CLEVRER's spheres slide; any friction makes them roll
    contact_friction: float = 0.03  # between two objects
    linear_drag: float = 0.04  # 1 / s
    quadratic_drag: float = 0.04  # 1 / unit
    angular_drag: float = 1.0  # 1 / s
    # Speed of parting over speed of meeting. None: drawn anew for each touch, by the law of `bounce`.
    restitution: float | None = None
    mass_spread: float = 0.27  # an object's mass is uniform in 1 - mass_spread .. 1 + mass_spread
    counted_movers: bool = True  # 1, 2 or 3 objects move at frame 0; False: each one after the first may move
    repeated_contact: bool = True  # whether two objects that have parted may touch again

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}; it must be a finite number, 0 or more")
        if self.restitution is not None and not 0.05 <= self.restitution <= 0.95:
            raise ValueError(f"restitution is {self.restitution}; it must be from 0.05 to 0.95")
        if self.mass_spread > MAX_MASS_SPREAD:
            raise ValueError(f"mass_spread is {self.mass_spread}; it must be at most {MAX_MASS_SPREAD}")

    def to_record(self) -> dict[str, float | bool | None]:
        """What a generated set keeps of its settings. A newer setting is left out where it has the first world's value,
        so that the record of the first world is the same as when that setting did not exist.
        """
        first = asdict(FIRST_WORLD)
        return {name: value for name, value in asdict(self).items() if name not in NEW_SETTINGS or value != first[name]}


# The world of the first releases: bounces return 0.7 of the speed, masses are equal, two in five objects move.
FIRST_WORLD = PhysicsSettings(restitution=0.7, mass_spread=0.0, counted_movers=False, repeated_contact=False)
WORLDS = {"clevrer": PhysicsSettings(), "first": FIRST_WORLD}  # name -> settings


def find_world(name: str) -> PhysicsSettings:
    """The settings of a world. Raises ValueError for an unknown name."""
    if name not in WORLDS:
        raise ValueError(f"unknown world {name!r}; choose from {list(WORLDS)}")
    return WORLDS[name]


def settings_of_record(record: dict) -> PhysicsSettings:
    """The settings that `PhysicsSettings.to_record` keeps."""
    return replace(FIRST_WORLD, **record)


def world_name(record: dict | None) -> str:
    """The name of the world with that record (see `PhysicsSettings.to_record`); "own" if it is none of WORLDS."""
    return next((name for name, settings in WORLDS.items() if settings.to_record() == record), "own")


class GlideCurve:
    """Distance over time of straight motion under friction and drag.

    One curve serves every start speed: a slower object starts at a later point of it.
    """

    def __init__(self, friction: float, settings: PhysicsSettings):
        self._speeds = np.linspace(MAX_SPEED, 0, _CURVE_POINTS)
        middle = (self._speeds[1:] + self._speeds[:-1]) / 2
        slowing = friction * settings.gravity + settings.linear_drag * middle + settings.quadratic_drag * middle**2
        seconds = -np.diff(self._speeds) / np.maximum(slowing, 1e-9)
        self._frames = np.concatenate([[0.0], np.cumsum(seconds)]) / SECONDS_PER_FRAME
        self._distances = np.concatenate([[0.0], np.cumsum(middle * seconds)])

    def distance(self, speed: float, frames: np.ndarray | float) -> np.ndarray:
        """World units covered after that many video frames, for an object that starts with `speed` (units a second)."""
        start = np.interp(-speed, -self._speeds, self._frames)
        end_distance = np.interp(start + np.asarray(frames), self._frames, self._distances)
        return np.asarray(end_distance - np.interp(start, self._frames, self._distances))


@functools.lru_cache(maxsize=64)
def glide_curve(shape: str, settings: PhysicsSettings) -> GlideCurve:
    """The glide of an object of that shape in the world of `settings`."""
    return GlideCurve(settings.sphere_friction if shape == "sphere" else settings.sliding_friction, settings)
