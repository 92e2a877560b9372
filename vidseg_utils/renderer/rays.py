"""Which object does a ray hit, and how far away? Sphere, box and cylinder at any orientation.

Only pixels inside an object's projected bounding rectangle are looked at. In the object's own frame a pixel's ray is
linear in the pixel's place, so every test is a few multiplications, done for many poses at once.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from vidseg_utils.classes import N_CLASSES, class_attributes
from vidseg_utils.renderer.windows import Tile, bounding_rectangles, tiles
from vidseg_utils.world.camera import camera_matrix
from vidseg_utils.world.solids import visible_half_size

MASKS_AT_ONCE = 64


@dataclass(frozen=True)
class Rays:
    """Rays through S points of each pixel of a tile, in the frame of the one object that they may hit.

    A ray's point is origin + depth x direction, where depth is measured along the camera's view axis.
    """

    shape: str
    origin: tuple[torch.Tensor, ...]  # 3 x (U, 1, 1)
    direction: tuple[torch.Tensor, ...]  # 3 x (S, U, h, w)


def check_objects(class_ids: np.ndarray, positions: np.ndarray, rotations: np.ndarray) -> list[str]:
    """The shape of each object. Raises ValueError for ids that are no objects and for arrays that do not fit."""
    ids = np.asarray(class_ids)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"class_ids are {ids.dtype} of shape {ids.shape}; expected integers of shape (objects,)")
    if ids.size and not (ids.min() >= 1 and ids.max() < N_CLASSES):
        raise ValueError(f"class_ids run from {ids.min()} to {ids.max()}; objects have 1 to {N_CLASSES - 1}")
    expected = (len(positions), len(ids), 3)
    if positions.shape != expected or rotations.shape != (*expected, 3):
        raise ValueError(
            f"positions {positions.shape} and rotations {rotations.shape} do not fit {len(ids)} objects; "
            f"expected (T, {len(ids)}, 3) and (T, {len(ids)}, 3, 3)"
        )
    return [class_attributes(int(id_))[0] for id_ in ids]


@functools.lru_cache(maxsize=16)
def camera_rays(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(3, 3) matrix from [x, y, 1] of a pixel to its ray's direction (one unit of depth long), and the camera (3,)."""
    matrix = camera_matrix(height, width)
    to_world = np.linalg.inv(matrix[:, :3])
    return to_world, -to_world @ matrix[:, 3]


def to_tensors(device: torch.device | str, *arrays: np.ndarray) -> tuple[torch.Tensor, ...]:
    """float32 on the device; NaN, as absent objects have, becomes 0."""
    return tuple(torch.as_tensor(a).to(device, torch.float32).nan_to_num_(nan=0.0) for a in arrays)


def cast_rays(
    shape: str,
    tile: Tile,
    positions: np.ndarray,
    rotations: np.ndarray,
    *,
    height: int,
    width: int,
    offsets: tuple[tuple[float, float], ...] = ((0.0, 0.0),),
) -> Rays:
    """Rays through S points of each pixel, which lie `offsets` (x, y) pixels from its centre.

    positions: (F, 3), rotations: (F, 3, 3), of which the tile shows some.
    """
    to_world, camera = camera_rays(height, width)
    inverse = np.swapaxes(rotations[tile.poses], 1, 2)  # (U, 3, 3) world -> object
    origin = inverse @ (camera - positions[tile.poses])[..., None]  # (U, 3, 1)
    slopes = inverse @ to_world  # (U, 3, 3): direction = slopes @ [x, y, 1]
    origin, slopes = to_tensors(tile.x.device, origin, slopes)
    x, y = points(tile, offsets)
    slopes = slopes[:, :, :, None, None]
    return Rays(
        shape,
        origin=tuple(origin[:, k, :, None] for k in range(3)),
        direction=tuple(slopes[:, k, 0] * x + (slopes[:, k, 1] * y + slopes[:, k, 2]) for k in range(3)),
    )


def points(tile: Tile, offsets: tuple[tuple[float, float], ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """(S, U, 1, w) x and (S, U, h, 1) y of points that lie `offsets` (x, y) from the centres of a tile's pixels."""
    shift = torch.tensor(offsets, device=tile.x.device).view(-1, 2, 1, 1, 1) + 0.5
    return tile.x + shift[:, 0], tile.y + shift[:, 1]


def enter_depths(rays: Rays) -> torch.Tensor:
    """(S, U, h, w) depth at which each ray enters the object; inf where it misses."""
    (ox, oy, oz), (dx, dy, dz) = rays.origin, rays.direction
    r = visible_half_size(rays.shape)
    if rays.shape == "sphere":
        a, b = dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz
        c = ox * ox + oy * oy + oz * oz - r * r
        return ((-b - torch.sqrt(b * b - a * c)) / a).nan_to_num_(nan=torch.inf)  # a root of less than 0 misses
    if rays.shape == "cylinder":
        a, b, c = dx * dx + dz * dz, ox * dx + oz * dz, ox * ox + oz * oz - r * r
        root = torch.sqrt(b * b - a * c)
        enter, leave = (-b - root) / a, (root - b) / a  # of the endless cylinder; NaN where the ray misses it
        slabs = ((oy, dy),)
    else:
        enter = leave = None
        slabs = ((ox, dx), (oy, dy), (oz, dz))
    for o, d in slabs:  # between two parallel faces
        inverse = 1 / (d + 1e-20)  # a ray along the faces stays between them or misses; never 0 / 0
        middle, half = -o * inverse, r * inverse.abs()
        enter = middle - half if enter is None else torch.maximum(enter, middle - half)
        leave = middle + half if leave is None else torch.minimum(leave, middle + half)
    return enter.masked_fill_(~(enter < leave), torch.inf)


@torch.inference_mode()
def cast_masks(
    class_ids: np.ndarray,
    positions: np.ndarray,
    rotations: np.ndarray,
    *,
    height: int = 160,
    width: int = 240,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Class of the nearest object in the ray through each pixel's centre, for T frames or T unrelated samples.

    class_ids: (N,) 1..48; positions: (T, N, 3) centres in world units, NaN where an object is absent;
    rotations: (T, N, 3, 3) object -> world. returns: (T, H, W) uint8.
    """
    positions, rotations = np.asarray(positions, dtype=float), np.asarray(rotations, dtype=float)
    shapes = check_objects(class_ids, positions, rotations)
    masks = torch.zeros((len(positions), height, width), dtype=torch.uint8, device=device)
    nearest = torch.empty(min(MASKS_AT_ONCE, len(positions)) * height * width, device=device)
    for start in range(0, len(positions), MASKS_AT_ONCE):
        some = slice(start, start + MASKS_AT_ONCE)
        mask = masks[some].view(-1)
        depth = nearest[: len(mask)].fill_(torch.inf)
        for n, shape in enumerate(shapes):
            where, turn = positions[some, n], rotations[some, n]
            rectangles = bounding_rectangles(shape, where, turn, height=height, width=width)
            for tile in tiles(rectangles, height=height, width=width, device=device):
                enter = enter_depths(cast_rays(shape, tile, where, turn, height=height, width=width)).view(-1)
                first = torch.as_tensor(tile.poses * (height * width)).to(device)[:, None, None]
                place = (first + tile.y * width + tile.x).view(-1)
                before = depth.index_select(0, place)
                owner = mask.index_select(0, place).masked_fill_(enter < before, int(class_ids[n]))
                depth.scatter_(0, place, torch.minimum(enter, before))
                mask.scatter_(0, place, owner)
    return masks.cpu().numpy()
