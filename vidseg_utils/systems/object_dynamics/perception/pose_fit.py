"""Fit the pose of every object to its boundary edges: damped Gauss-Newton with Huber's weights, all objects at once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from vidseg_utils.systems.object_dynamics.perception.boundary_edges import BoundaryEdges
from vidseg_utils.world.silhouettes import PixelRays, signed_distance
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
    best = _descend(edges.rays, edges.region, shape, _turned(start, shape, turns[0]), iterations, edges.fatness)
    cubes = np.flatnonzero(shape == CUBE)
    number = np.full(len(shape), -1)
    number[cubes] = np.arange(len(cubes))
    of_cube = number[edges.region] >= 0
    for turn in turns[1:]:
        rays, owner = edges.rays[of_cube], number[edges.region[of_cube]]
        fit = _descend(rays, owner, shape[cubes], _turned(start[cubes], shape[cubes], turn), iterations, edges.fatness)
        better = fit.residual < best.residual[cubes]
        chosen = cubes[better]
        best.pose[chosen], best.information[chosen] = fit.pose[better], fit.information[better]
        best.residual[chosen] = fit.residual[better]
    return best


def _turned(pose: np.ndarray, shape: np.ndarray, turn: float) -> np.ndarray:
    pose = pose.copy()
    pose[:, 2] += turn * (shape == CUBE)
    return pose


def _descend(
    rays: PixelRays, owner: np.ndarray, shape: np.ndarray, pose: np.ndarray, iterations: int, fatness: float
) -> PoseFit:
    """Fit all objects from one start each. owner: (E,) the object of each ray."""
    count = len(pose)
    free = np.ones((count, 3))
    free[shape != CUBE, 2] = 0.0  # the yaw of a disc does not show
    n_edges = np.bincount(owner, minlength=count)
    for iteration in range(iterations + 1):
        distance = signed_distance(rays, shape[owner], pose[owner])
        pixels = distance.pixels - fatness
        outlier = OUTLIER_PX * (EARLY_OUTLIER if iteration < iterations // 2 else 1.0)
        weight = np.minimum(1.0, outlier / np.maximum(np.abs(pixels), 1e-9))
        hessian, gradient = _normal_equations(distance.by_pose, pixels, weight, owner, count)
        hessian = hessian * free[:, :, None] * free[:, None, :]
        if iteration == iterations:
            break
        damped = hessian + np.eye(3) * (_PRIOR + (1 - free))[:, :, None]
        move = -np.linalg.solve(damped, (gradient * free)[:, :, None])[:, :, 0]
        excess = np.maximum(np.abs(move) / MAX_MOVE, 1.0)
        pose = pose + move / excess.max(axis=1, keepdims=True)
    square = np.bincount(owner, weights=weight * pixels**2, minlength=count) / np.maximum(n_edges, 1)
    noise = np.maximum(square, EDGE_NOISE_PX**2)
    information = hessian / noise[:, None, None] + np.eye(3) * _PRIOR_INFORMATION
    pose[shape == CUBE, 2] = smallest_cube_yaw(pose[shape == CUBE, 2])
    return PoseFit(pose, information, np.sqrt(square))


def _normal_equations(
    by_pose: np.ndarray, distance: np.ndarray, weight: np.ndarray, owner: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Newton's Hessian (count, 3, 3) and gradient (count, 3): sums over the edges of each object."""
    hessian, gradient = np.zeros((count, 3, 3)), np.zeros((count, 3))
    for i in range(3):
        weighted = weight * by_pose[i]
        gradient[:, i] = np.bincount(owner, weights=weighted * distance, minlength=count)
        for j in range(i + 1):
            entry = np.bincount(owner, weights=weighted * by_pose[j], minlength=count)
            hessian[:, i, j] = hessian[:, j, i] = entry
    return hessian, gradient
