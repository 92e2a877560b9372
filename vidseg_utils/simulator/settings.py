"""The constants of the world, and the straight glide of one object under them.

Fitted to CLEVRER's annotations (Yi et al., ICLR 2020): a constant friction, and drags that grow with v and with v^2.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

SECONDS_PER_FRAME = 0.028  # a video frame moves an object by its annotated velocity times this
MAX_SPEED = 4.2  # units a second; nothing moves faster
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
    restitution: float = 0.7  # speed of parting over speed of meeting

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}; it must be a finite number, 0 or more")
        if not 0.05 <= self.restitution <= 0.95:
            raise ValueError(f"restitution is {self.restitution}; it must be from 0.05 to 0.95")


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
