"""Boundary edges: the edges between a pixel of a region and a pixel outside it. Outlines are fitted to them.

A region is all pixels of one label (a class id, say) in one image. It need not be connected.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Integer, UInt8

from vidseg_utils.world.label_offset import EXACT_LABELS, LabelOffset
from vidseg_utils.world.silhouettes import PixelRays, mask_sample_points, pixel_rays

# A region that is smaller than either of these is not an object.
MIN_REGION_SHARE = 1 / 4000  # of the image's pixels
MIN_REGION_PX = 6.0
GROUND, UNKNOWN = -1, -2  # in place of a region's index, for pixels that belong to no region
_LABELS = 256  # a label is a uint8
_HASH = 2654435761  # Knuth's multiplicative hash: spreads edges evenly over [0, 1)
_HASH_STEPS = 65536  # different numbers that it gives


def min_region_area(height: int, width: int) -> float:
    """Pixels that a region must have to be an object, in an image of that size."""
    return max(MIN_REGION_PX, MIN_REGION_SHARE * height * width)


@dataclass(frozen=True)
class LabelRegions:
    """R regions that are large enough, in M images, and the K pixels that are not ground."""

    image: Integer[np.ndarray, " R"]
    label: Integer[np.ndarray, " R"]
    area: Integer[np.ndarray, " R"]  # pixels
    pixel: Integer[np.ndarray, " K"]  # index into all pixels of all images
    pixel_region: Integer[np.ndarray, " K"]  # the pixel's region, or UNKNOWN

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True)
class BoundaryEdges:
    """E boundary edges, by the region whose outline it may be, in order; two regions that touch share an edge."""

    region: Integer[np.ndarray, " E"]
    neighbour: Integer[np.ndarray, " E"]  # the region on the other side, or GROUND
    rays: PixelRays  # through the edges' midpoints
    random: Float[np.ndarray, " E"]  # in [0, 1), a function of the position in the image
    fatness: float  # pixels by which the edges lie outside the exact outline

    def __getitem__(self, index: np.ndarray) -> "BoundaryEdges":
        return BoundaryEdges(
            self.region[index], self.neighbour[index], self.rays[index], self.random[index], self.fatness
        )

    def in_single_precision(self) -> "BoundaryEdges":
        """Edges for a first fit, which is sooner done with rays in float32 and less than 0.001 pixels off."""
        return replace(self, rays=self.rays.astype(np.float32))


def find_label_regions(images: UInt8[np.ndarray, "M H W"], *, max_label: int) -> LabelRegions:
    """The regions of labels 1 to `max_label` in label images; 0 is ground, larger labels are unknown."""
    count, height, width = images.shape
    pixel = np.flatnonzero(images)
    keys = pixel // (height * width) * _LABELS + images.ravel()[pixel]
    area = np.bincount(keys, minlength=count * _LABELS).reshape(-1, _LABELS)
    area[:, max_label + 1 :] = 0
    image, label = np.nonzero(area >= min_region_area(height, width))
    pixel_region = _region_table(count, image, label)[keys]
    return LabelRegions(image, label, area[image, label], pixel, pixel_region)


def find_boundary_edges(
    images: UInt8[np.ndarray, "M H W"], regions: LabelRegions, *, offset: LabelOffset = EXACT_LABELS
) -> BoundaryEdges:
    """The boundary edges of the regions, apart from those at an unknown pixel or at the edge of the image.

    offset: of the labels against the exact masks; its shift is taken off the rays
    """
    count, height, width = images.shape
    table = _region_table(count, regions.image, regions.label)
    u, v = mask_sample_points(height, width, offset)
    owners, neighbours, us, vs, randoms = [], [], [], [], []
    for vertical in (False, True):
        a, b = (images[:, :-1], images[:, 1:]) if vertical else (images[:, :, :-1], images[:, :, 1:])
        image, row, column = np.unravel_index(np.flatnonzero(a != b), a.shape)
        first = table[image * _LABELS + a[image, row, column]]
        second = table[image * _LABELS + b[image, row, column]]
        edge_u = u[column] if vertical else (u[column] + u[column + 1]) / 2
        edge_v = (v[row] + v[row + 1]) / 2 if vertical else v[row]
        for owner, neighbour in ((first, second), (second, first)):
            known = (owner >= 0) & (neighbour >= GROUND)
            owners.append(owner[known])
            neighbours.append(neighbour[known])
            us.append(edge_u[known])
            vs.append(edge_v[known])
            randoms.append(((row * width + column)[known] * _HASH >> 8) % _HASH_STEPS / _HASH_STEPS)
    columns = (np.concatenate(column) for column in (owners, neighbours, randoms, us, vs))
    order = np.argsort(np.concatenate(owners), kind="stable")
    owner, neighbour, random, u, v = (column[order] for column in columns)
    rays = pixel_rays(u, v, height=height, width=width)
    return BoundaryEdges(owner, neighbour, rays, random, offset.scaled_to(width).fatness)


def _region_table(images: int, image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The region of label l in image m at index m * 256 + l; GROUND for label 0, UNKNOWN for a label without region."""
    table = np.full(images * _LABELS, UNKNOWN)
    table[np.arange(images) * _LABELS] = GROUND
    table[image * _LABELS + label] = np.arange(len(image))
    return table
