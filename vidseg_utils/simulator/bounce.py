"""How much speed comes back when two objects touch: a law of restitution by approach speed, and its spring and damper.

CLEVRER was simulated by Bullet (Yi et al., ICLR 2020), whose time step makes slow touches stick and fast ones scatter.
The law was measured on a replay of CLEVRER's collisions in Bullet.
"""

import functools

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from vidseg_utils.simulator.settings import FINE_STEP_SECONDS

CONTACT_FREQUENCY = 250.0  # radians a second: a bounce lasts about 12 ms and dents the surface by 0.01 units
SOFTEST_STIFFNESS = 2500.0  # 1 / s^2, of a contact that returns no speed
MEASURED_STEPS = 84  # physics steps, three video frames, after which a bounce counts as over
MAX_RESTITUTION = 0.9
# Mean and standard deviation of the restitution at these approach speeds (units a second, at the point of contact,
# along the normal). Between them both are interpolated; outside, the nearest value holds.
APPROACH_SPEEDS = np.array([0.9, 1.2, 1.6, 2.0, 2.4, 2.8, 3.5, 4.5])
MEAN_WITH_SPHERE = np.array([0.0, 0.02, 0.14, 0.29, 0.33, 0.43, 0.51, 0.55])
SPREAD_WITH_SPHERE = np.array([0.0, 0.12, 0.20, 0.25, 0.25, 0.21, 0.18, 0.13])
MEAN_WITHOUT_SPHERE = np.array([0.06, 0.15, 0.25, 0.33, 0.37, 0.40, 0.42, 0.45])
SPREAD_WITHOUT_SPHERE = np.array([0.10, 0.14, 0.14, 0.12, 0.11, 0.12, 0.10, 0.09])
# With no, one and two cubes the mean is this much more, and this many times as large: a bounce off the centre turns a
# cube, so the centres part more slowly than the surfaces. Chosen so that the centres of generated pairs part as fast as
# those of real pairs do.
CUBE_GAINS = ((0.0, 1.0), (0.14, 1.7), (0.2, 1.7))


def restitution_at(speed: float, quantile: float, shapes: tuple[str, str]) -> float:
    """Restitution of a touch at an approach speed in units a second.

    quantile: in (0, 1), which of the scattered values: 0.5 is the middle
    shapes: of the two objects; with a sphere the values scatter evenly, else as a bell curve
    """
    sphere = "sphere" in shapes
    means, spreads = (MEAN_WITH_SPHERE, SPREAD_WITH_SPHERE) if sphere else (MEAN_WITHOUT_SPHERE, SPREAD_WITHOUT_SPHERE)
    deviations = 12**0.5 * (quantile - 0.5) if sphere else float(ndtri(quantile))
    more, times = CUBE_GAINS[shapes.count("cube")]
    mean = more + times * np.interp(speed, APPROACH_SPEEDS, means)
    value = mean + deviations * np.interp(speed, APPROACH_SPEEDS, spreads)
    return float(np.clip(value, 0.0, MAX_RESTITUTION))


def spring_and_damper(restitution: float) -> tuple[float, float]:
    """Stiffness (1 / s^2) and damping (1 / s) of a contact of unit mass that returns `restitution` of the speed.

    They hold for physics steps of FINE_STEP_SECONDS.
    """
    stiffness, damping, returned = _springs()
    return float(np.interp(restitution, returned, stiffness)), float(np.interp(restitution, returned, damping))


@functools.cache
def _springs() -> tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K"], Float[np.ndarray, "K"]]:
    """Stiffness, damping and restitution of springs from a dead one to one without damping.

    The contact is stepped as the simulator steps it, and only pushes. The mean is over the part of a step that has
    passed when the two touch.
    """
    # beyond critical damping the spring becomes weaker too: a stiff one would slowly push the two apart
    share = np.linspace(0, 1, 51)[:-1]
    stiffness = np.concatenate([share * CONTACT_FREQUENCY**2 + SOFTEST_STIFFNESS, np.full(51, CONTACT_FREQUENCY**2)])
    critical = 2 * CONTACT_FREQUENCY
    damping = np.concatenate(
        [1 / FINE_STEP_SECONDS + share * (critical - 1 / FINE_STEP_SECONDS), np.linspace(critical, 0, 51)]
    )
    overlap = np.linspace(0, FINE_STEP_SECONDS, 17)[:-1, None] * np.ones_like(damping)  # at a speed of 1
    speed = np.ones_like(overlap)  # of approach
    for _ in range(MEASURED_STEPS):
        force = stiffness * overlap + damping * speed
        speed = speed - FINE_STEP_SECONDS * np.where(overlap > 0, np.maximum(force, 0), 0)
        overlap = overlap + FINE_STEP_SECONDS * speed
    return stiffness, damping, np.maximum.accumulate(-speed.mean(axis=0))
