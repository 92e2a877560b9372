"""What an outline is observed by: every crack between a pixel of a thing and one that is not.

A thing is all pixels of one number (a class id, say) in one picture.
"""

from dataclasses import dataclass

import numpy as np

from vidseg_utils.world.silhouettes import PixelRays, mask_sample_points, pixel_rays

MIN_AREA = 1 / 4000  # of the picture; a smaller patch is no thing
FLOOR, UNKNOWN = -1, -2  # what is on the other side of a crack, when it is no thing


def least_area(height: int, width: int) -> float:
    """Pixels that a thing has at least."""
    return max(6.0, MIN_AREA * height * width)


@dataclass(frozen=True)
class BoundaryEdges:
    """C cracks, each from the side of the thing whose outline it may be."""

    owner: np.ndarray  # (C,) sighting whose outline it may be
    other: np.ndarray  # (C,) sighting on the other side, or FLOOR
    rays: PixelRays
    draw: np.ndarray  # (C,) a number in [0, 1) that its place in the picture decides

    def __getitem__(self, index: np.ndarray) -> "BoundaryEdges":
        return BoundaryEdges(self.owner[index], self.other[index], self.rays[index], self.draw[index])


def find_regions(flat: np.ndarray, *, highest: int) -> tuple[np.ndarray, ...]:
    """Picture, number and area of every thing that is large enough; every pixel that is not floor, and its thing."""
    pictures, height, width = flat.shape
    pixels = np.flatnonzero(flat)
    keys = pixels // (height * width) * 256 + flat.ravel()[pixels]
    area = np.bincount(keys, minlength=pictures * 256).reshape(-1, 256)
    area[:, highest + 1 :] = 0
    picture, number = np.nonzero(area >= least_area(height, width))
    return picture, number, area[picture, number], pixels, _index(pictures, picture, number)[keys]


def _index(pictures: int, picture: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Which thing each number of each picture is."""
    index = np.full(pictures * 256, UNKNOWN)
    index[np.arange(pictures) * 256] = FLOOR
    index[picture * 256 + number] = np.arange(len(picture))
    return index


def find_boundary_edges(flat: np.ndarray, things_picture: np.ndarray, number: np.ndarray) -> BoundaryEdges:
    """The cracks around the things (P,) of the pictures (M, H, W), given each thing's picture and number."""
    pictures, height, width = flat.shape
    index = _index(pictures, things_picture, number)
    u, v = mask_sample_points(height, width)
    owners, others, us, vs, draws = [], [], [], [], []
    for down in (False, True):
        a, b = (flat[:, :-1], flat[:, 1:]) if down else (flat[:, :, :-1], flat[:, :, 1:])
        places = np.flatnonzero(a != b)
        picture, row, column = np.unravel_index(places, a.shape)
        first = index[picture * 256 + a[picture, row, column]]
        second = index[picture * 256 + b[picture, row, column]]
        at_u = u[column] if down else (u[column] + u[column + 1]) / 2
        at_v = (v[row] + v[row + 1]) / 2 if down else v[row]
        for owner, other in ((first, second), (second, first)):
            known = (owner >= 0) & (other >= FLOOR)
            owners.append(owner[known])
            others.append(other[known])
            us.append(at_u[known])
            vs.append(at_v[known])
            draws.append(((row * width + column)[known] * 2654435761 >> 8) % 65536 / 65536)
    rays = pixel_rays(np.concatenate(us), np.concatenate(vs), height=height, width=width)
    return BoundaryEdges(np.concatenate(owners), np.concatenate(others), rays, np.concatenate(draws))
