"""The constants of the rigid-body physics by name, and the JSON file in which a run folder keeps them."""

import sys
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vidseg_utils.classes import SHAPES
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.world.label_offset import LabelOffset

PAIRS = [(a, b) for a in range(len(SHAPES)) for b in range(a, len(SHAPES))]  # shape codes
PAIR_NAMES = [f"restitution_{SHAPES[a]}_{SHAPES[b]}" for a, b in PAIRS]  # of their constants


@dataclass(frozen=True)
class PhysicsConstants:
    """All fitted numbers, in world units and video frames.

    The defaults were fitted to a simulation like CLEVRER's own (Bullet). They are where `fit_constants` starts.
    """

    sliding_friction: float = 2.3e-4  # units / frame^2: deceleration of cubes and cylinders
    rolling_friction: float = 3e-6  # units / frame^2: deceleration of spheres
    linear_drag: float = 1.08e-3  # 1 / frame
    quadratic_drag: float = 0.0402  # 1 / unit
    spin_drag: float = 0.0289  # 1 / frame
    contact_friction: float = 0.0196  # friction coefficient between two objects
    half_side: float = 0.2004  # units, of a cube in a contact
    radius: float = 0.2013  # units, of a sphere or a cylinder in a contact
    contact_delay: float = 0.173  # frames from the first touch to the moment at which an instant impulse fits best
    # Restitution: the relative normal speed after a contact over that before it. It rises with the speed of approach,
    # from 0 at `restitution_start_speed` to the pair's largest one at `restitution_full_speed`.
    restitution_cube_cube: float = 0.67
    restitution_cube_sphere: float = 0.53
    restitution_cube_cylinder: float = 0.57
    restitution_sphere_sphere: float = 0.60
    restitution_sphere_cylinder: float = 0.54
    restitution_cylinder_cylinder: float = 0.66
    restitution_start_speed: float = 0.0184  # units / frame
    restitution_full_speed: float = 0.0788  # units / frame
    restitution_spread: float = 0.2  # standard deviation from one contact to the next at the same speed
    mass_spread: float = 0.16  # standard deviation of the logarithm of an object's mass
    start_speed: float = 0.08  # units / frame: mean over the objects that move in the first video frame
    start_speed_spread: float = 0.0023  # units / frame: its standard deviation
    start_angle_spread: float = 0.2  # radians: standard deviation of their direction from the direction to the origin
    # How the labels to forecast lie against the exact masks: see `LabelOffset`.
    label_shift_x: float = 0.0  # pixels of a 240 x 160 mask, to the right
    label_shift_y: float = 0.0  # the same, down
    label_fatness: float = 0.0  # the same, outwards

    @property
    def label_offset(self) -> LabelOffset:
        """The last three constants."""
        return LabelOffset(self.label_shift_x, self.label_shift_y, self.label_fatness)

    @cached_property
    def restitution(self) -> Float[np.ndarray, "3 3"]:
        """The largest restitution by the shape codes of the two objects."""
        table = np.zeros((len(SHAPES), len(SHAPES)))
        for (a, b), name in zip(PAIRS, PAIR_NAMES, strict=True):
            table[a, b] = table[b, a] = getattr(self, name)
        return table

    def to_json(self, path: Path) -> None:
        """Write the constants by name, atomically."""
        write_json(path, asdict(self))

    @classmethod
    def from_json(cls, path: Path) -> "PhysicsConstants":
        """Read what `to_json` wrote.

        Raises ValueError, naming the file and the cure, if it is missing or damaged, or if a constant is unknown,
        missing or not a finite number.
        """
        try:
            values = read_json(path)
        except FileNotFoundError:
            raise ValueError(f"{path} is missing: the physics is not fitted yet; train it first") from None
        except ValueError as error:
            raise ValueError(f"{error}; delete it and train again") from None
        names = [field.name for field in fields(cls)]
        faults = [f"{name} is missing" for name in names if name not in values]
        faults += [f"{name} is unknown" for name in values if name not in names]
        faults += [f"{name} is {value!r}, no finite number" for name, value in values.items() if not _is_finite(value)]
        if faults:
            raise ValueError(f"{path} does not hold the physics constants: {faults[0]}; delete it and train again")
        return cls(**{name: float(value) for name, value in values.items()})


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
