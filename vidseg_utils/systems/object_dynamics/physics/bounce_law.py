"""The law of the bounce and the spread of the masses, from collisions whose restitution and mass ratio were measured.

The restitution rises with the speed of approach, from 0 at one speed to the largest one of the two shapes at another.
It scatters around that law. The most probable law and scatter are found at once, under a prior around the shipped ones.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer
from scipy.optimize import minimize

from vidseg_utils.classes import SHAPES
from vidseg_utils.systems.object_dynamics.physics.constants import PAIR_NAMES, PAIRS, PhysicsConstants

SPEED_NAMES = ["restitution_start_speed", "restitution_full_speed"]
# Standard deviations of logarithms before anything is measured.
COMMON_PRIOR, PAIR_PRIOR = 0.3, 0.2  # of all largest restitutions together, and of each beside that
SPEED_PRIORS = np.array([0.4, 0.3])  # of SPEED_NAMES
SPREAD_PRIOR = 0.3  # of the restitution's and of the masses' spread
FIRST_FULL_SPEEDS = (1.0, 0.6, 0.3, 0.1)  # times the shipped one: where the search for the most probable law starts
LEAST_SPREAD = 0.01  # of the restitution or a mass's logarithm


@dataclass(frozen=True)
class Contacts:
    """What was measured of P collisions."""

    shapes: Integer[np.ndarray, "P 2"]  # shape codes
    approach: Float[np.ndarray, " P"]  # units a video frame, along the normal at the point of contact
    restitution: Float[np.ndarray, " P"]
    restitution_sigma: Float[np.ndarray, " P"]
    log_mass_ratio: Float[np.ndarray, " P"]
    log_mass_sigma: Float[np.ndarray, " P"]
    weight: Float[np.ndarray, " P"]  # 1 = sound, 0 = does not count

    @property
    def pair(self) -> Integer[np.ndarray, " P"]:
        """Indices into PAIRS."""
        low, high = np.sort(self.shapes, axis=1).T
        return low * len(SHAPES) - low * (low - 1) // 2 + high - low


def fit_bounce_law(contacts: Contacts) -> dict[str, float]:
    """The largest restitution of each pair of shapes, the two speeds of the law, and the spread around it."""
    shipped = PhysicsConstants()
    largest = np.array([getattr(shipped, name) for name in PAIR_NAMES])
    speeds = np.array([getattr(shipped, name) for name in SPEED_NAMES])
    pair, variance = contacts.pair, contacts.restitution_sigma**2

    def unpack(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        return largest * np.exp(x[0] + x[1:7]), speeds * np.exp(x[7:9]), shipped.restitution_spread * np.exp(x[9])

    def cost(x: np.ndarray) -> float:
        top, (start, full), spread = unpack(x)
        share = np.clip((contacts.approach - start) / max(full - start, 1e-9), 0, 1)
        total = variance + max(spread, LEAST_SPREAD) ** 2
        error = contacts.restitution - np.minimum(top[pair] * share, 1)
        data = contacts.weight @ (error**2 / total + np.log(total))
        prior = (x / widths) ** 2
        return float(data + prior.sum()) / 2

    widths = np.concatenate([[COMMON_PRIOR], np.full(len(PAIRS), PAIR_PRIOR), SPEED_PRIORS, [SPREAD_PRIOR]])
    found = []
    for factor in FIRST_FULL_SPEEDS:
        x = np.zeros(len(widths))
        x[7:9] = np.log(factor)
        found.append(minimize(cost, x, method="Powell"))
    top, (start, full), spread = unpack(min(found, key=lambda result: result.fun).x)
    values = [*np.minimum(top, 1), start, max(full, start), max(spread, LEAST_SPREAD)]
    names = [*PAIR_NAMES, *SPEED_NAMES, "restitution_spread"]
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def fit_mass_spread(contacts: Contacts) -> float:
    """The standard deviation of the logarithm of an object's mass."""
    shipped = PhysicsConstants().mass_spread

    def cost(x: np.ndarray) -> float:
        total = contacts.log_mass_sigma**2 + 2 * max(shipped * np.exp(x[0]), LEAST_SPREAD) ** 2
        data = contacts.weight @ (contacts.log_mass_ratio**2 / total + np.log(total))
        return float(data + (x[0] / SPREAD_PRIOR) ** 2) / 2

    return float(max(shipped * np.exp(minimize(cost, np.zeros(1), method="Powell").x[0]), LEAST_SPREAD))
