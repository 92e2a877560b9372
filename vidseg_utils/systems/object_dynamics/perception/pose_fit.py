"""Fit the pose of every object to its boundary edges: damped Gauss-Newton with Huber's weights, all objects at once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from vidseg_utils.classes import SHAPES
from vidseg_utils.systems.object_dynamics.perception.boundary_edges import BoundaryEdges
from vidseg_utils.world.silhouettes import PixelRays, distance_from_shape
from vidseg_utils.world.solids import CUBE, smallest_cube_yaw

EDGE_NOISE_PX = 0.33  # standard deviation of a boundary edge, which is at most half a pixel away from the outline
OUTLIER_PX = 1.2  # an edge further away pulls with constant force (Huber)
EARLY_OUTLIER = 4.0  # times OUTLIER_PX in the first half of the iterations, where edges are still far from the outline
MAX_MOVE = 0.3  # world units or radians a Gauss-Newton step
_PRIOR = np.array([1e-2, 1e-2, 1e-3])  # added to the Hessian's diagonal: (world units or radians) ** -2
_PRIOR_INFORMATION = 1e-4  # the same of the information that is returned


@dataclass(frozen=True)
class PoseFit:
    """The fitted poses of R objects."""

    pose: Float[np.ndarray, "R 3"]  # x, y in world units, yaw in radians in [-pi/4, pi/4)
    information: Float[np.ndarray, "R 3 3"]  # inverse covariance of the pose
    residual: Float[np.ndarray, " R"]  # root mean square distance of the edges from the outline, pixels


def fit_poses(
    edges: BoundaryEdges,
    shape: Integer[np.ndarray, " R"],
    start: Float[np.ndarray, "R 3"],
    *,
    iterations: int,
    turns: tuple[float, ...] = (0.0,),
) -> PoseFit:
    """Fit poses from `start`. A cube is fitted once for each of `turns`; the fit with the smallest residual is kept.

    turns: radians that are added to the yaw of a cube's start
    """
    pose, information, residual = (
        start.copy(),
        np.tile(np.eye(3) * _PRIOR_INFORMATION, (len(start), 1, 1)),
        np.zeros(len(start)),
    )
    n_edges = np.bincount(edges.region, minlength=len(shape))
    for code in range(len(SHAPES)):
        objects = np.flatnonzero((shape == code) & (n_edges > 0))
        if not len(objects):
            continue
        rays = edges.rays[np.flatnonzero(shape[edges.region] == code)]
        fits = []
        for turn in turns if code == CUBE else (0.0,):
            turned = start[objects] + [0.0, 0.0, turn]
            fits.append(_descend(rays, n_edges[objects], code, turned, iterations, edges.fatness))
        for number, fit in enumerate(fits):
            better = fit.residual < residual[objects] if number else np.ones(len(objects), dtype=bool)
            chosen = objects[better]
            pose[chosen], information[chosen] = fit.pose[better], fit.information[better]
            residual[chosen] = fit.residual[better]
    return PoseFit(pose, information, residual)


def _descend(
    rays: PixelRays, n_edges: np.ndarray, shape: int, pose: np.ndarray, iterations: int, fatness: float
) -> PoseFit:
    """Fit all objects, of one shape, from one start each. n_edges: of each object; `rays` are sorted by object."""
    free = np.array([1.0, 1.0, 1.0 if shape == CUBE else 0.0])  # the yaw of a disc does not show
    first = np.cumsum(n_edges) - n_edges
    for iteration in range(iterations + 1):
        distance = distance_from_shape(shape, rays, np.repeat(pose.T.astype(rays.slope.dtype), n_edges, axis=1))
        pixels = distance.pixels - fatness
        outlier = OUTLIER_PX * (EARLY_OUTLIER if iteration < iterations // 2 else 1.0)
        weight = np.minimum(1.0, outlier / np.maximum(np.abs(pixels), 1e-9))
        hessian, gradient = _normal_equations(distance.by_pose, pixels, weight, first)
        if iteration == iterations:
            break
        damped = hessian + np.diag(_PRIOR + (1 - free))
        move = -np.linalg.solve(damped, gradient[:, :, None])[:, :, 0]
        excess = np.maximum(np.abs(move) / MAX_MOVE, 1.0)
        pose = pose + move / excess.max(axis=1, keepdims=True)
    square = np.add.reduceat(weight * pixels**2, first).astype(float) / n_edges
    noise = np.maximum(square, EDGE_NOISE_PX**2)
    information = hessian / noise[:, None, None] + np.eye(3) * _PRIOR_INFORMATION
    if shape == CUBE:
        pose[:, 2] = smallest_cube_yaw(pose[:, 2])
    return PoseFit(pose, information, np.sqrt(square))


def _normal_equations(
    by_pose: np.ndarray, distance: np.ndarray, weight: np.ndarray, first: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Newton's Hessian (R, 3, 3) and gradient (R, 3): sums over the edges of each object, from `first` on."""
    by_pose = by_pose.astype(float)  # so that rounding leaves the Hessian positive
    weighted = weight * by_pose
    gradient = np.add.reduceat(weighted * distance, first, axis=1).T
    hessian = np.empty((len(first), 3, 3))
    for i in range(3):
        hessian[:, i, : i + 1] = np.add.reduceat(weighted[i] * by_pose[: i + 1], first, axis=1).T
        hessian[:, : i + 1, i] = hessian[:, i, : i + 1]
    return hessian, gradient
