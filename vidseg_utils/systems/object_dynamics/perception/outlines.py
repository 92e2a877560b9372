"""Where each object stands in each frame, read off its outline by Gauss-Newton.

The observations are the boundary edges between a pixel of the object and one that is not. Those at the picture's edge,
at an unknown label or at a nearer object say nothing about the object's own outline and are left out, so a half-hidden
object is fitted to its visible half. The fit's curvature is kept: it is the information of the estimate.
"""

from dataclasses import dataclass, replace

import numpy as np

from vidseg_utils.classes import N_CLASSES, shape_code
from vidseg_utils.systems.object_dynamics.perception.boundary_edges import (
    FLOOR,
    BoundaryEdges,
    find_boundary_edges,
    find_regions,
)
from vidseg_utils.world.camera import unproject
from vidseg_utils.world.silhouettes import PixelRays, covered_pixels, mask_sample_points, signed_distance
from vidseg_utils.world.solids import CUBE, OBJECT_RADIUS

CRACK_NOISE = 0.33  # pixels: a crack is half a pixel off at most
FLOOR_NOISE = 0.0015  # world units (and 4 times as many radians) that no outline is sharper than
THINNING = 3  # of the cracks, while an object is looked for
SPILT, DOUBTFUL_RESIDUAL = 0.3, 0.7  # pixels, from where on a fitted outline is doubted
SAMPLED_ROWS = 40  # of a picture, tell how much bare floor a silhouette covers
RETRY_RESIDUAL = 0.5  # pixels, of a fit that is tried again from elsewhere
OUTLIER = 1.2  # pixels from where on a crack pulls with constant force only
_PRIOR = np.array([1e-2, 1e-2, 1e-3])  # world units or radians, ** -2


@dataclass(frozen=True)
class Measurements:
    """P sightings: one object in one frame of one clip."""

    clip: np.ndarray  # (P,)
    frame: np.ndarray  # (P,)
    class_id: np.ndarray  # (P,)
    area: np.ndarray  # (P,) visible pixels
    pose: np.ndarray  # (P, 3) x, y in world units, yaw in radians (0 but for cubes)
    information: np.ndarray  # (P, 3, 3) inverse covariance of the pose
    residual: np.ndarray  # (P,) root mean square distance of the cracks from the fitted outline, pixels
    cut: np.ndarray  # (P,) bool: it touches the edge of the picture

    def __getitem__(self, index: np.ndarray) -> "Measurements":
        return Measurements(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @property
    def shape(self) -> np.ndarray:
        """(P,) 0 cube, 1 sphere, 2 cylinder."""
        return shape_code(self.class_id)


def measure_poses(masks: np.ndarray) -> Measurements:
    """masks: (B, T, H, W) class ids (others are unknown) -> every object seen, with its fitted pose."""
    clips, frames, height, width = masks.shape
    flat = np.ascontiguousarray(masks, dtype=np.uint8).reshape(clips * frames, height, width)
    picture, class_id, area, pixels, owner = find_regions(flat, highest=N_CLASSES - 1)
    cracks = find_boundary_edges(flat, picture, class_id)
    shape, seen_area = shape_code(class_id), area
    pose, guesses, cut = _first_guess(pixels, owner, len(picture), height, width)
    against_floor = np.flatnonzero(cracks.other == FLOOR)
    few = cracks[against_floor[cracks.draw[against_floor] < 1 / THINNING]]
    pose, _, residual = _fit(few, shape, pose, 6, turns=(0.0, 0.5, 1.0))
    uncertain = np.flatnonzero((residual > RETRY_RESIDUAL) | cut)
    place = np.full(len(shape), -1)
    place[uncertain] = np.arange(len(uncertain))
    part = few[place[few.owner] >= 0]
    part = replace(part, owner=place[part.owner])
    cost = _misjudged(
        pose[uncertain], residual[uncertain], shape[uncertain], picture[uncertain], seen_area[uncertain], flat
    )
    for start in guesses:
        again, _, distance = _fit(part, shape[uncertain], start[uncertain], 6, turns=(0.0, 0.5))
        price = _misjudged(again, distance, shape[uncertain], picture[uncertain], seen_area[uncertain], flat)
        better = price < cost - 0.02
        pose[uncertain[better]], cost[better] = again[better], price[better]
    depth = pose[:, 0]
    in_front = (cracks.other == FLOOR) | (depth[cracks.owner] > depth[cracks.other] - 0.02)
    pose, information, residual = _fit(cracks[np.flatnonzero(in_front)], shape, pose, 3, turns=(0.0,))
    spilt = np.zeros(len(pose))
    spilt[uncertain] = _misjudged(
        pose[uncertain], spilt[uncertain], shape[uncertain], picture[uncertain], seen_area[uncertain], flat
    )
    trust = 1 / (1 + (spilt / SPILT) ** 4) / (1 + (residual / DOUBTFUL_RESIDUAL) ** 4)
    information *= trust[:, None, None]
    clip, frame = np.divmod(picture, frames)
    return Measurements(clip, frame, class_id.astype(np.uint8), seen_area, pose, information, residual, cut)


def shape_residuals(things: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How ill a cube's, a sphere's and a cylinder's outline fit each thing.

    things: (M, H, W) uint8 numbers of the things in M pictures; 0 = floor, 255 = unknown.
    returns: picture (P,), thing (P,), and residual (P, 3): root mean square distance in pixels, times the cracks.
    """
    _, height, width = things.shape
    picture, thing, _, pixels, owner = find_regions(things, highest=254)
    cracks = find_boundary_edges(things, picture, thing)
    cracks = cracks[np.flatnonzero(cracks.other == FLOOR)]
    guess, _, _ = _first_guess(pixels, owner, len(picture), height, width)
    residuals = []
    for shape in range(3):
        turns = (0.0, 0.5, 1.0) if shape == CUBE else (0.0,)
        residuals.append(_fit(cracks, np.full(len(picture), shape), guess, 6, turns=turns)[2])
    count = np.bincount(cracks.owner, minlength=len(picture))
    return picture, thing, np.stack(residuals, axis=1) * count[:, None]


def _first_guess(
    pixels: np.ndarray, which: np.ndarray, count: int, height: int, width: int
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Poses (count, 3) from the middle of the visible pixels, taken to be at the object's own height; poses to try for
    objects of which little shows; and which objects touch the edge of the picture.
    """
    u, v = mask_sample_points(height, width)
    pixels, which = pixels[which >= 0], which[which >= 0]
    row, column = np.divmod(pixels % (height * width), width)
    area = np.bincount(which, minlength=count)
    middle = np.stack([np.bincount(which, weights=place, minlength=count) / area for place in (u[column], v[row])], 1)
    pose = np.zeros((count, 3))
    pose[:, :2] = unproject(middle, z=OBJECT_RADIUS, height=height, width=width)
    lowest, highest = np.zeros(count), np.full(count, float(height))
    np.maximum.at(lowest, which, v[row])
    np.minimum.at(highest, which, v[row])
    near = unproject(np.column_stack([middle[:, 0], lowest]), height=height, width=width)
    far = unproject(np.column_stack([middle[:, 0], highest]), z=2 * OBJECT_RADIUS, height=height, width=width)
    shifts = ((near, -0.2, 0.0), (near, -0.2, -0.3), (near, -0.2, 0.3), (far, 0.2, 0.0))
    guesses = [point + np.array([x, y]) for point, x, y in shifts]
    edge = (row == 0) | (row == height - 1) | (column == 0) | (column == width - 1)
    return pose, [np.pad(guess, ((0, 0), (0, 1))) for guess in guesses], np.bincount(which[edge], minlength=count) > 0


def _misjudged(
    pose: np.ndarray, residual: np.ndarray, shape: np.ndarray, picture: np.ndarray, area: np.ndarray, flat: np.ndarray
) -> np.ndarray:
    """The residual (pixels), and more where the fitted silhouette covers bare floor that it should not."""
    _, height, width = flat.shape
    every = max(1, height // SAMPLED_ROWS)
    objects, pixels = covered_pixels(shape, pose, height=height, width=width, every=every)
    bare = flat.reshape(len(flat), -1)[picture[objects], pixels] == 0
    spilt = every**2 * np.bincount(objects[bare], minlength=len(pose))
    return residual + spilt / np.maximum(4 * np.sqrt(area), 8)


def _fit(
    cracks: BoundaryEdges, shape: np.ndarray, pose: np.ndarray, iterations: int, turns: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses, information and residuals; `turns`: first guesses of a cube's yaw, added to `pose`'s."""
    best_pose = best_information = best_cost = None
    for turn in turns:
        chosen = np.flatnonzero(shape == CUBE) if best_pose is not None else np.arange(len(shape))
        place = np.full(len(shape), -1)
        place[chosen] = np.arange(len(chosen))
        mine = place[cracks.owner] >= 0
        start = pose[chosen].copy()
        start[:, 2] += turn * (shape[chosen] == CUBE)
        result = _descend(cracks.rays[mine], place[cracks.owner[mine]], shape[chosen], start, iterations)
        if best_pose is None:
            best_pose, best_information, best_cost = result
            continue
        better = result[2] < best_cost[chosen]
        for whole, part in zip((best_pose, best_information, best_cost), result, strict=True):
            whole[chosen[better]] = part[better]
    return best_pose, best_information, best_cost


def _descend(
    rays: PixelRays, owner: np.ndarray, shape: np.ndarray, pose: np.ndarray, iterations: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Damped Gauss-Newton with Huber's weights, all objects at once."""
    count = len(pose)
    free = np.ones((count, 3))
    free[shape != CUBE, 2] = 0.0
    cracks = np.bincount(owner, minlength=count)
    for step in range(iterations + 1):
        distance = signed_distance(rays, shape[owner], pose[owner])
        outlier = OUTLIER * (4.0 if step < iterations // 2 else 1.0)
        weight = np.minimum(1.0, outlier / np.maximum(np.abs(distance.pixels), 1e-9))
        by = distance.by_pose
        hessian = np.zeros((count, 3, 3))
        gradient = np.zeros((count, 3))
        for i in range(3):
            weighted = weight * by[i]
            gradient[:, i] = np.bincount(owner, weights=weighted * distance.pixels, minlength=count)
            for j in range(i + 1):
                hessian[:, i, j] = hessian[:, j, i] = np.bincount(owner, weights=weighted * by[j], minlength=count)
        hessian = hessian * free[:, :, None] * free[:, None, :]
        if step == iterations:
            break
        damped = hessian + np.eye(3) * (_PRIOR + (1 - free) * 1.0)[:, :, None] * 1.0
        move = -np.linalg.solve(damped, (gradient * free)[:, :, None])[:, :, 0]
        longest = np.maximum(np.abs(move) / np.array([0.3, 0.3, 0.3]), 1.0)
        pose = pose + move / longest.max(axis=1, keepdims=True)
    square = np.bincount(owner, weights=weight * distance.pixels**2, minlength=count) / np.maximum(cracks, 1)
    noise = np.maximum(square, CRACK_NOISE**2)
    information = hessian / noise[:, None, None] + np.eye(3) * 1e-4
    pose[shape == CUBE, 2] = np.mod(pose[shape == CUBE, 2] + np.pi / 4, np.pi / 2) - np.pi / 4
    return pose, information, np.sqrt(square)
