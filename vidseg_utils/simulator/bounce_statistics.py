"""Statistics of collisions: how much speed comes back, by the speed of approach, and how much masses differ."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from vidseg_utils.world.trajectory import Collision, Trajectory

# A bounce is measured from the frame before the collision to BOUNCE_FRAMES after it. It is left out when one of the two
# objects is in another collision from QUIET_FRAMES before the first of these to the last.
BOUNCE_FRAMES, QUIET_FRAMES = 3, 2
MIN_APPROACH = 0.3  # units a second; a slower bounce says nothing about the restitution
SLOW_APPROACH, FAST_APPROACH = 1.1, 2.1  # units a second; limits of the bins of the restitution
SCATTER_APPROACH = 1.5  # units a second, above which the scatter of the restitution is measured
MIN_KICK = 0.05  # units a second; an object whose velocity changes less was only grazed
MASS_APPROACH = 1.0  # units a second, above which masses are compared: friction matters little then


def bounce_statistics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Name -> figure; NaN where no collision can be measured. Speeds are in units a second."""
    bounces = measure_bounces(trajectories)
    approach, restitution, mass = (bounces if len(bounces) else np.full((1, 3), np.nan)).T
    known = approach > MIN_APPROACH
    slow, fast = known & (approach < SLOW_APPROACH), approach >= FAST_APPROACH
    return {
        "restitution, approach below 1.1": _mean(restitution[slow]),
        "restitution, approach 1.1 to 2.1": _mean(restitution[known & ~slow & ~fast]),
        "restitution, approach above 2.1": _mean(restitution[fast]),
        "scatter of restitution, approach above 1.5": _spread(restitution[approach > SCATTER_APPROACH]),
        "scatter of the log of the mass ratio": _spread(mass[approach > MASS_APPROACH]),
    }


def measure_bounces(trajectories: Sequence[Trajectory]) -> Float[np.ndarray, "N 3"]:
    """Each measurable collision: approach (units a second), restitution, log of the mass ratio; see `measure`."""
    bounces = [bounce for t in trajectories for c in t.collisions if (bounce := measure(t, c)) is not None]
    return np.array(bounces).reshape(-1, 3)


def is_isolated(trajectory: Trajectory, collision: Collision) -> bool:
    """Whether the frames of a bounce exist and neither object is in another collision during them."""
    first, last = collision.frame - 1, collision.frame + BOUNCE_FRAMES
    others = [c for c in trajectory.collisions if c is not collision and {*collision.objects} & {*c.objects}]
    near = any(first - QUIET_FRAMES <= c.frame <= last for c in others)
    return first >= 0 and last < len(trajectory.positions) and not near


def measure(trajectory: Trajectory, collision: Collision) -> tuple[float, float, float] | None:
    """The speed of approach, the restitution (both along the line of centres) and the log of the ratio of the two
    masses. None for a collision that is not isolated, and for one that only grazed.
    """
    if not is_isolated(trajectory, collision):
        return None
    velocities = trajectory.velocities[[collision.frame - 1, collision.frame + BOUNCE_FRAMES]]
    velocities = velocities[:, list(collision.objects)]
    kicks = np.linalg.norm(velocities[1] - velocities[0], axis=-1)
    if kicks.min() < MIN_KICK:
        return None
    normal = (velocities[1, 0] - velocities[0, 0]) / kicks[0]  # nearly all of the impulse is along the line of centres
    meeting, parting = (velocities[:, 0] - velocities[:, 1]) @ normal
    return abs(meeting), -parting / meeting, float(np.log(kicks[1] / kicks[0]))


def _mean(values: Float[np.ndarray, "N"]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _spread(values: Float[np.ndarray, "N"]) -> float:
    """Standard deviation."""
    return float(values.std()) if len(values) else float("nan")
