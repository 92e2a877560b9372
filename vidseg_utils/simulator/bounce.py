"""How much speed comes back when two objects touch: a law of restitution by approach speed, and its spring and damper.

CLEVRER was simulated by Bullet (Yi et al., ICLR 2020), whose time step makes slow touches stick and fast ones scatter.
The numbers of the law were fitted to thousands of collisions in Bullet.
"""

import functools

import numpy as np
from jaxtyping import Float

from vidseg_utils.simulator.settings import FINE_STEP_SECONDS

CONTACT_FREQUENCY = 250.0  # radians a second: a bounce lasts about 12 ms and dents the surface by 0.01 units
SOFTEST_STIFFNESS = 2500.0  # 1 / s^2, of a contact that returns no speed
MEASURED_STEPS = 84  # physics steps, three video frames, after which a bounce counts as over
MAX_RESTITUTION = 0.7  # of fast touches
# Bullet looks for contacts once a time step, and brings two surfaces that it finds closer than a margin together within
# that step. The gap that it finds, divided by the step, is lost from the speed of parting: at most this many units a
# second, and less the farther the objects came into the margin during the step before. Of 3,900 collisions in Bullet,
# 1.6 fits best; a little less comes nearer to the mean of real collisions.
LOST_SPEED = 1.5
SLOW_RESTITUTION = 0.15  # at least this much of the speed comes back, unless a sphere touches a round object


def restitution_at(speed: float, phase: float, shapes: tuple[str, str]) -> float:
    """Restitution of a touch at an approach speed in units a second, at the point of contact and along the normal.

    phase: 0..1, how far the objects came into the margin, as a share of their way in a time step; it is random
    shapes: of the two objects
    """
    lowest = 0.0 if "sphere" in shapes and "cube" not in shapes else SLOW_RESTITUTION
    lost = max(LOST_SPEED / speed - phase, 0.0) if speed > 0 else MAX_RESTITUTION
    return max(MAX_RESTITUTION - lost, lowest)


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
