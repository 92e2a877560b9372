"""Least squares over the physics constants and, at the same time, over what is unknown in each of many windows.

A window is a stretch of a video that is played again: its unknowns, such as the state at its start, belong to it alone,
while the constants are common to all windows. So the normal equations have a block for each window, and the unknowns
are eliminated block by block (the Schur complement of bundle adjustment; Triggs et al., 2000). Windows that do not fit,
because something unknown happened in them, lose their weight (Cauchy's loss of a window's sum of squares).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants

# Residuals (C, W, R) of W windows, C copies of each with other unknowns (C, W, U).
Residuals = Callable[[PhysicsConstants, np.ndarray], np.ndarray]

LOG_STEP = 1e-2  # of a finite difference; 1 % carries the slope over the jitter of single contacts
MAX_LOG_CHANGE = 0.3  # of a constant in one iteration
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-4, 1e6  # of a window's unknowns (Levenberg and Marquardt)
CONVERGED = 1e-3  # share of the cost; an iteration that gains less is the last
_TINY = 1e-9  # added to the diagonal, for unknowns that nothing depends on


@dataclass(frozen=True)
class WindowFit:
    """Fitted constants, and the unknowns of W windows."""

    constants: PhysicsConstants
    unknowns: Float[np.ndarray, "W U"]
    covariance: Float[np.ndarray, "W U U"]  # of the unknowns, if the constants were known
    weight: Float[np.ndarray, " W"]  # 1 = fits, towards 0 = an outlier
    square: Float[np.ndarray, " W"]  # sum of the squared residuals


@dataclass(frozen=True)
class _Step:
    """Changes of the P constants' logarithms and of the windows' unknowns, and the covariance of these."""

    logs: Float[np.ndarray, " P"]
    unknowns: Float[np.ndarray, "W U"]
    covariance: Float[np.ndarray, "W U U"]


def fit_windows(
    residuals: Residuals,
    start: PhysicsConstants,
    unknowns: Float[np.ndarray, "W U"],
    *,
    steps: Float[np.ndarray, " U"],
    bounds: tuple[Float[np.ndarray, " U"], Float[np.ndarray, " U"]],
    prior: Mapping[str, tuple[float, float]],
    tolerance: Float[np.ndarray, " W"],
    max_iterations: int,
    after_iteration: Callable[[], object] = lambda: None,
) -> WindowFit:
    """Minimise the windows' robust sums of squares plus the constants' prior.

    steps: of the finite differences of the unknowns; bounds: their lowest and highest values
    prior: name of a constant -> its expected value and the standard deviation of its logarithm; others stay as they are
    tolerance: sum of squares of each window at which it has half its weight
    """
    names, width = list(prior), np.array([prior[name][1] for name in prior])
    centre = np.log([prior[name][0] for name in names])
    logs = np.log([getattr(start, name) for name in names])
    damping, caution = np.full(len(unknowns), FIRST_DAMPING), 1.0

    def with_logs(logs: np.ndarray) -> PhysicsConstants:
        return replace(start, **{name: float(np.exp(log)) for name, log in zip(names, logs, strict=True)})

    def costs(values: np.ndarray) -> np.ndarray:
        return tolerance * np.log1p((values**2).sum(axis=-1) / tolerance)

    def prior_cost(logs: np.ndarray) -> float:
        return float((((logs - centre) / width) ** 2).sum())

    value = residuals(with_logs(logs), unknowns[None])[0]
    covariance, weight = np.zeros((*unknowns.shape, unknowns.shape[1])), np.ones(len(unknowns))
    for _ in range(max_iterations):
        constants = with_logs(logs)
        moved = unknowns + steps * np.eye(len(steps))[:, None]  # (U, W, U)
        by_unknown = (residuals(constants, moved) - value) / steps[:, None, None]
        by_log = np.zeros((len(names), *value.shape))
        for index in range(len(names)):
            changed = with_logs(logs + LOG_STEP * np.eye(len(names))[index])
            by_log[index] = (residuals(changed, unknowns[None])[0] - value) / LOG_STEP
        weight = 1 / (1 + (value**2).sum(axis=-1) / tolerance)

        step = _gauss_newton_step(
            value, by_unknown, by_log, weight, damping, caution, off_centre=(logs - centre) / width, width=width
        )
        covariance = step.covariance
        trial_logs = logs + step.logs
        trial_unknowns = np.clip(unknowns + step.unknowns, *bounds)
        trial = residuals(with_logs(trial_logs), np.stack([trial_unknowns, unknowns]))
        better = costs(trial[0]) < costs(trial[1])
        trial_value = np.where(better[:, None], trial[0], trial[1])
        damping = np.clip(np.where(better, damping / 3, damping * 5), LEAST_DAMPING, MOST_DAMPING)
        cost, cost_before = costs(trial_value).sum() + prior_cost(trial_logs), costs(value).sum() + prior_cost(logs)
        after_iteration()
        if cost <= cost_before:
            logs, value = trial_logs, trial_value
            unknowns = np.where(better[:, None], trial_unknowns, unknowns)
            caution = max(caution / 3, 1.0)
            if cost_before - cost < CONVERGED * cost_before:
                break
        else:
            caution *= 5
    return WindowFit(with_logs(logs), unknowns, covariance, weight, (value**2).sum(axis=-1))


def _gauss_newton_step(
    value: Float[np.ndarray, "W R"],
    by_unknown: Float[np.ndarray, "U W R"],
    by_log: Float[np.ndarray, "P W R"],
    weight: Float[np.ndarray, " W"],
    damping: Float[np.ndarray, " W"],
    caution: float,
    *,
    off_centre: Float[np.ndarray, " P"],
    width: Float[np.ndarray, " P"],
) -> _Step:
    """The step that minimises the linearised residuals.

    damping, caution: of the unknowns' and of the constants' part (1 = none of the latter)
    off_centre: how far the logarithms are from the middle of their prior, in units of its width
    """
    identity = np.eye(len(by_unknown))
    square = np.einsum("uwr,vwr->wuv", by_unknown, by_unknown)
    gradient = np.einsum("uwr,wr->wu", by_unknown, value)
    mixed = np.einsum("uwr,pwr->wup", by_unknown, by_log)
    diagonal = np.einsum("wuu->wu", square)
    damped = square + (damping[:, None] * diagonal + _TINY)[:, :, None] * identity
    solved = np.linalg.solve(damped, np.concatenate([gradient[..., None], mixed], axis=-1))
    by_gradient, by_mixed = solved[..., 0], solved[..., 1:]
    curvature = np.einsum("w,pwr,qwr->pq", weight, by_log, by_log, optimize=True)
    curvature -= np.einsum("w,wup,wuq->pq", weight, mixed, by_mixed, optimize=True)
    slope = np.einsum("w,pwr,wr->p", weight, by_log, value, optimize=True)
    slope -= np.einsum("w,wup,wu->p", weight, mixed, by_gradient, optimize=True)
    curvature += np.diag(1 / width**2)
    slope += off_centre / width
    change = -np.linalg.solve(curvature * (1 + (caution - 1) * np.eye(len(by_log))), slope)
    change /= max(1.0, np.abs(change).max(initial=0) / MAX_LOG_CHANGE)
    unknowns = -by_gradient - np.einsum("wup,p->wu", by_mixed, change)
    return _Step(change, unknowns, np.linalg.inv(square + _TINY * identity))
