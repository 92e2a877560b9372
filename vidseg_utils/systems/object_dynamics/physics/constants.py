"""The constants of the rigid-body physics, by name."""

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class PhysicsConstants:
    """What is fitted. The starting values are a guess by eye; `fit_constants` finds the rest."""

    sliding_friction: float = 2e-4  # units / frame^2, cubes and cylinders on the floor
    rolling_friction: float = 1e-5
    linear_drag: float = 1e-3  # 1 / frame
    quadratic_drag: float = 0.03  # 1 / unit
    spin_drag: float = 0.02  # 1 / frame
    contact_friction: float = 0.03  # between two objects
    half_side: float = 0.2  # of a cube in a contact
    radius: float = 0.2  # of a sphere or cylinder in a contact
    contact_delay: float = (
        0.2  # frames from the first touch to the moment at which an instant resolve_contacts would have to be
    )
    restitution_cube_cube: float = 0.7  # restitution: speed of parting over speed of meeting
    restitution_cube_sphere: float = 0.7
    restitution_cube_cylinder: float = 0.7
    restitution_sphere_sphere: float = 0.7
    restitution_sphere_cylinder: float = 0.7
    restitution_cylinder_cylinder: float = 0.7
    start_speed: float = 0.08  # of the objects that move at the first video frame: mean and standard deviation
    start_speed_spread: float = 0.004
    start_angle_spread: float = 0.4  # radians: standard deviation of their direction from that to the origin

    def as_array(self) -> np.ndarray:
        """All of them, in this order: what a run folder keeps."""
        return np.array([getattr(self, field.name) for field in fields(self)])

    @property
    def restitution(self) -> np.ndarray:
        """(3, 3) by the shapes that meet."""
        names = ("cube", "sphere", "cylinder")
        pairs = [[names[min(a, b)] + "_" + names[max(a, b)] for b in range(3)] for a in range(3)]
        return np.array([[getattr(self, f"restitution_{pair}") for pair in row] for row in pairs])

    @classmethod
    def of(cls, values: np.ndarray) -> "PhysicsConstants":
        """The inverse of `as_array`."""
        return cls(*(float(v) for v in values))
