"""The pose of each object in each frame, measured on its outline.

The observations are the boundary edges of the object's pixels. Edges against a nearer object are left out, because they
are not on the object's own outline. So a half-hidden object is fitted to its visible half. The curvature of the
fit gives the information matrix of the measurement.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from vidseg_utils.classes import IGNORE_INDEX, N_CLASSES, SHAPES, shape_code
from vidseg_utils.systems.object_dynamics.perception.boundary_edges import (
    GROUND,
    LabelRegions,
    find_boundary_edges,
    find_label_regions,
)
from vidseg_utils.systems.object_dynamics.perception.pose_fit import fit_poses
from vidseg_utils.world.camera import unproject
from vidseg_utils.world.label_offset import EXACT_LABELS, LabelOffset
from vidseg_utils.world.mask_drawing import covered_pixels
from vidseg_utils.world.silhouettes import mask_sample_points
from vidseg_utils.world.solids import CUBE, OBJECT_RADIUS

COARSE_SHARE = 1 / 3  # share of the edges that are used while the pose is only roughly known
COARSE_ITERATIONS, FINE_ITERATIONS = 6, 3  # Gauss-Newton steps
COARSE_TURNS = (0.0, 0.5, 1.0)  # radians: yaws from which a cube's fit starts
RETRY_TURNS = (0.0, 0.5)  # the same when a fit is tried again
RETRY_SIDE_SHIFT = 0.3  # world units to either side of the nearest visible point, from where a fit is tried again
RETRY_RESIDUAL_PX = 0.5  # a fit with a larger residual is tried again from other starts
RETRY_GAIN_PX = 0.02  # by which a retry must be better
DOUBTED_COST, DOUBTED_RESIDUAL_PX = 0.3, 0.7  # a measurement with these has about half its information
SAMPLED_ROWS = 40  # of an image, on which the ground that a silhouette covers is counted
DEPTH_MARGIN = 0.02  # world units: a neighbour that is nearer by more hides the object


@dataclass(frozen=True)
class Measurements:
    """P measurements: one object in one frame of one clip each."""

    clip: Integer[np.ndarray, " P"]
    frame: Integer[np.ndarray, " P"]
    class_id: UInt8[np.ndarray, " P"]
    area: Integer[np.ndarray, " P"]  # visible pixels
    pose: Float[np.ndarray, "P 3"]  # x, y in world units, yaw in radians (0 for spheres and cylinders)
    information: Float[np.ndarray, "P 3 3"]  # inverse covariance of the pose
    residual: Float[np.ndarray, " P"]  # root mean square distance of the edges from the fitted outline, pixels
    at_border: Bool[np.ndarray, " P"]  # whether the object touches the edge of the image

    def __getitem__(self, index: np.ndarray) -> "Measurements":
        return Measurements(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @property
    def shape(self) -> Integer[np.ndarray, " P"]:
        """Shape codes."""
        return shape_code(self.class_id)


def measure_poses(masks: Integer[np.ndarray, "B T H W"], *, offset: LabelOffset = EXACT_LABELS) -> Measurements:
    """Measure every object in masks of class ids; other labels are unknown.

    offset: of the masks against the exact ones
    """
    clips, frames, height, width = masks.shape
    images = np.ascontiguousarray(masks, dtype=np.uint8).reshape(clips * frames, height, width)
    regions = find_label_regions(images, max_label=N_CLASSES - 1)
    edges = find_boundary_edges(images, regions, offset=offset)
    shape = shape_code(regions.label)
    start, other_starts, at_border = _starts(regions, height, width, offset)

    at_ground = np.flatnonzero(edges.neighbour == GROUND)
    coarse = edges[at_ground[edges.random[at_ground] < COARSE_SHARE]]
    fit = fit_poses(coarse, shape, start, iterations=COARSE_ITERATIONS, turns=COARSE_TURNS)
    pose = fit.pose

    uncertain = np.flatnonzero((fit.residual > RETRY_RESIDUAL_PX) | at_border)
    number = np.full(len(shape), -1)
    number[uncertain] = np.arange(len(uncertain))
    coarse = coarse[np.flatnonzero(number[coarse.region] >= 0)]
    coarse = replace(coarse, region=number[coarse.region])
    cost = _cost(pose[uncertain], fit.residual[uncertain], regions, uncertain, images, offset)
    for other_start in other_starts:
        again = fit_poses(
            coarse, shape[uncertain], other_start[uncertain], iterations=COARSE_ITERATIONS, turns=RETRY_TURNS
        )
        cost_again = _cost(again.pose, again.residual, regions, uncertain, images, offset)
        better = cost_again < cost - RETRY_GAIN_PX
        pose[uncertain[better]], cost[better] = again.pose[better], cost_again[better]

    x = pose[:, 0]  # grows towards the camera: of two objects that touch in the image, the larger x is nearer
    unhidden = (edges.neighbour == GROUND) | (x[edges.region] > x[edges.neighbour] - DEPTH_MARGIN)
    fit = fit_poses(edges[np.flatnonzero(unhidden)], shape, pose, iterations=FINE_ITERATIONS)
    misplaced = np.zeros(len(shape))
    misplaced[uncertain] = _cost(fit.pose[uncertain], misplaced[uncertain], regions, uncertain, images, offset)
    trust = 1 / (1 + (misplaced / DOUBTED_COST) ** 4) / (1 + (fit.residual / DOUBTED_RESIDUAL_PX) ** 4)
    information = fit.information * trust[:, None, None]
    clip, frame = np.divmod(regions.image, frames)
    return Measurements(
        clip, frame, regions.label.astype(np.uint8), regions.area, fit.pose, information, fit.residual, at_border
    )


def shape_residuals(
    images: UInt8[np.ndarray, "M H W"], *, offset: LabelOffset = EXACT_LABELS
) -> tuple[Integer[np.ndarray, " P"], Integer[np.ndarray, " P"], Float[np.ndarray, "P 3"]]:
    """Fit each of the three shapes to each region of label images; 0 is ground, 255 unknown.

    offset: of the images against the exact masks
    returns: each region's image and label, and its residual by shape code: root mean square distance in pixels, times
    the number of edges
    """
    _, height, width = images.shape
    regions = find_label_regions(images, max_label=IGNORE_INDEX - 1)
    edges = find_boundary_edges(images, regions, offset=offset)
    edges = edges[np.flatnonzero(edges.neighbour == GROUND)].in_single_precision()
    start, _, _ = _starts(regions, height, width, offset)
    residuals = []
    for shape in range(len(SHAPES)):
        turns = COARSE_TURNS if shape == CUBE else (0.0,)
        fit = fit_poses(edges, np.full(len(regions), shape), start, iterations=COARSE_ITERATIONS, turns=turns)
        residuals.append(fit.residual)
    n_edges = np.bincount(edges.region, minlength=len(regions))
    return regions.image, regions.label, np.stack(residuals, axis=1) * n_edges[:, None]


def _starts(
    regions: LabelRegions, height: int, width: int, offset: LabelOffset
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Poses (R, 3) from which fits start, other starts for hardly visible objects, and which regions are at the border.

    The first start is the middle of the visible pixels, taken to be at the height of the object's centre. The others
    are a radius behind the lowest visible point, also to its left and right, and a radius in front of the highest.
    """
    count = len(regions)
    u, v = mask_sample_points(height, width, offset)
    pixel, region = regions.pixel[regions.pixel_region >= 0], regions.pixel_region[regions.pixel_region >= 0]
    row, column = np.divmod(pixel % (height * width), width)
    area = np.bincount(region, minlength=count)
    middle = np.stack([np.bincount(region, weights=w, minlength=count) / area for w in (u[column], v[row])], 1)
    start = np.zeros((count, 3))
    start[:, :2] = unproject(middle, z=OBJECT_RADIUS, height=height, width=width)
    lowest, highest = np.zeros(count), np.full(count, float(height))
    np.maximum.at(lowest, region, v[row])
    np.minimum.at(highest, region, v[row])
    near = unproject(np.column_stack([middle[:, 0], lowest]), height=height, width=width)
    far = unproject(np.column_stack([middle[:, 0], highest]), z=2 * OBJECT_RADIUS, height=height, width=width)
    behind, in_front, side = -OBJECT_RADIUS, OBJECT_RADIUS, RETRY_SIDE_SHIFT
    shifts = ((near, behind, 0.0), (near, behind, -side), (near, behind, side), (far, in_front, 0.0))
    others = [np.pad(point + np.array([x, y]), ((0, 0), (0, 1))) for point, x, y in shifts]
    at_border = (row == 0) | (row == height - 1) | (column == 0) | (column == width - 1)
    return start, others, np.bincount(region[at_border], minlength=count) > 0


def _cost(
    pose: np.ndarray,
    residual: np.ndarray,
    regions: LabelRegions,
    chosen: np.ndarray,
    images: np.ndarray,
    offset: LabelOffset,
) -> np.ndarray:
    """The residual (pixels) of the chosen regions' fits, plus a penalty where the silhouette covers visible ground."""
    _, height, width = images.shape
    stride = max(1, height // SAMPLED_ROWS)
    shape, image, area = shape_code(regions.label[chosen]), regions.image[chosen], regions.area[chosen]
    objects, pixels = covered_pixels(shape, pose, height=height, width=width, stride=stride, offset=offset)
    on_ground = images.reshape(len(images), -1)[image[objects], pixels] == 0
    ground_px = stride**2 * np.bincount(objects[on_ground], minlength=len(pose))
    return residual + ground_px / np.maximum(4 * np.sqrt(area), 8)
