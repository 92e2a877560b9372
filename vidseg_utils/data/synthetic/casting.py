"""Which object does a ray hit, and how far away? Sphere, box and cylinder at any orientation.

Only pixels inside an object's projected bounding rectangle are looked at. In the object's own frame a pixel's ray is
linear in the pixel's place, so every test is a few multiplications on one flat list of candidate pixels.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from vidseg_utils.classes import N_CLASSES, class_attributes
from vidseg_utils.data.camera import camera_matrix

# Half sizes in the picture, fitted to the outlines of the real videos: the physics' 0.2, less where edges are bevelled.
HALF_SIZE = {"cube": 0.192, "sphere": 0.2, "cylinder": 0.197}
NEAREST_CENTRE = 0.4  # depth in world units below which an object is not drawn: no object of the world comes that close
PIXELS_AT_ONCE = 2_500_000  # picture pixels of one batch of masks: its work then stays in the processor's cache
_CORNERS = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), axis=-1).reshape(8, 3)


@dataclass(frozen=True)
class Pixels:
    """P pixels of F pictures, as a flat list. All (P,) int64."""

    frame: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    place: torch.Tensor  # in the flattened (F, H, W)


@dataclass(frozen=True)
class Rays:
    """Rays through S points of each of P pixels, in the frame of the one object that they may hit.

    A ray's point is origin + depth x direction, where depth is measured along the camera's view axis.
    """

    shape: str
    pixels: Pixels
    origin: tuple[torch.Tensor, ...]  # 3 x (P, 1)
    direction: tuple[torch.Tensor, ...]  # 3 x (P, S)


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


def disc_extremes(centres: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Bounding rectangles of ellipses (or ellipsoids) in the picture, from their dual conics.

    centres: (..., 3) in homogeneous pixels; axes: (..., 3, K) their K half axes likewise.
    returns: (..., 2, 2): lowest and highest (x, y) in pixels.
    """
    conic = axes @ np.swapaxes(axes, -1, -2) - centres[..., :, None] * centres[..., None, :]
    middle = conic[..., :2, 2] / conic[..., 2, 2, None]
    diagonal = np.stack([conic[..., 0, 0], conic[..., 1, 1]], axis=-1) / conic[..., 2, 2, None]
    half = np.sqrt(np.maximum(middle**2 - diagonal, 0))
    return np.stack([middle - half, middle + half], axis=-2)


def bounding_rectangles(
    shape: str, positions: np.ndarray, rotations: np.ndarray, *, height: int, width: int, spread: float = 0.0
) -> np.ndarray:
    """The pixels that an object can cover, where a pixel is its centre and all points within `spread` pixels of it.

    positions: (F, 3); rotations: (F, 3, 3). returns: (F, 4) int64: first and past-the-last column, first and
    past-the-last row; all 0 where the object is out of the picture, absent (NaN) or too near the camera.
    """
    matrix, half = camera_matrix(height, width), HALF_SIZE[shape]
    centre = positions @ matrix[:, :3].T + matrix[:, 3]  # (F, 3) in homogeneous pixels
    with np.errstate(invalid="ignore", divide="ignore"):
        axes = matrix[:, :3] @ rotations * half  # (F, 3, 3)
        if shape == "cube":
            corners = centre[:, None] + _CORNERS @ np.swapaxes(axes, 1, 2)  # (F, 8, 3)
            places = corners[..., :2] / corners[..., 2:]
            low, high = places.min(axis=1), places.max(axis=1)
        elif shape == "sphere":
            low, high = np.moveaxis(disc_extremes(centre, axes), 1, 0)
        else:  # the hull of its two lids
            lids = [disc_extremes(centre + sign * axes[:, :, 1], axes[:, :, ::2]) for sign in (-1, 1)]
            low, high = np.minimum(lids[0], lids[1])[:, 0], np.maximum(lids[0], lids[1])[:, 1]
        low[~(centre[:, 2] > NEAREST_CENTRE)] = np.nan  # NaN too
    return rectangles_between(low - spread, high + spread, height=height, width=width)


def rectangles_between(low: np.ndarray, high: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Pixels whose centres (at .5) lie between the places low and high (F, 2): rectangles (F, 4) as above."""
    size = np.array([width, height])
    with np.errstate(invalid="ignore"):
        first = np.clip(np.nan_to_num(np.ceil(low - 0.5)), 0, size)
        past = np.clip(np.nan_to_num(np.floor(high - 0.5) + 1), 0, size)
    rectangles = np.stack([first[:, 0], past[:, 0], first[:, 1], past[:, 1]], axis=1).astype(np.int64)
    rectangles[(past <= first).any(axis=1)] = 0
    return rectangles


def pixels_within(rectangles: np.ndarray, *, height: int, width: int, device: torch.device | str) -> Pixels:
    """All pixels of F rectangles (F, 4), one rectangle in each of F pictures."""
    x0, x1, y0, y1 = rectangles.T
    rows = y1 - y0
    frame = np.repeat(np.arange(len(rectangles)), rows)  # (R,) of each row of each rectangle
    y = np.arange(len(frame)) + np.repeat(y0 - (rows.cumsum() - rows), rows)
    columns = (x1 - x0)[frame]
    first = x0[frame] - (columns.cumsum() - columns)  # a row's first column less its place in the list
    table = torch.as_tensor(np.stack([frame, y, first], axis=1)).to(device)
    frame, y, first = table.repeat_interleave(
        torch.as_tensor(columns).to(device), dim=0, output_size=int(columns.sum())
    ).unbind(1)
    x = first + torch.arange(len(first), device=device)
    return Pixels(frame, x, y, (frame * height + y) * width + x)


def cast_rays(
    shape: str,
    positions: np.ndarray,
    rotations: np.ndarray,
    *,
    height: int,
    width: int,
    device: torch.device | str,
    offsets: tuple[tuple[float, float], ...] = ((0.0, 0.0),),
) -> Rays:
    """Rays to one object in F frames, through S `offsets` (x, y) from the centre of each pixel that it can cover."""
    spread = max(abs(v) for offset in offsets for v in offset)
    rectangles = bounding_rectangles(shape, positions, rotations, height=height, width=width, spread=spread)
    pixels = pixels_within(rectangles, height=height, width=width, device=device)
    to_world, camera = camera_rays(height, width)
    inverse = np.swapaxes(np.nan_to_num(rotations), 1, 2)  # (F, 3, 3) world -> object
    origin = inverse @ (camera - np.nan_to_num(positions))[..., None]  # (F, 3, 1)
    slopes = inverse @ to_world  # (F, 3, 3): direction = slopes @ [x, y, 1]
    slopes[:, :, 2] += 0.5 * (slopes[:, :, 0] + slopes[:, :, 1])  # pixel centres
    table = torch.as_tensor(np.concatenate([slopes, origin], axis=2).reshape(-1, 12), dtype=torch.float32).to(device)
    table = table.T.contiguous().index_select(1, pixels.frame)[:, :, None]  # (12, P, 1)
    x, y = pixels.x[:, None].float(), pixels.y[:, None].float()
    if len(offsets) > 1 or offsets[0] != (0.0, 0.0):
        shift = torch.tensor(offsets, dtype=torch.float32, device=device)
        x, y = x + shift[:, 0], y + shift[:, 1]
    return Rays(
        shape,
        pixels,
        origin=tuple(table[4 * k + 3] for k in range(3)),
        direction=tuple(table[4 * k] * x + table[4 * k + 1] * y + table[4 * k + 2] for k in range(3)),
    )


def enter_depths(rays: Rays) -> torch.Tensor:
    """(P, S) depth at which each ray enters the object; inf where it misses."""
    (ox, oy, oz), (dx, dy, dz) = rays.origin, rays.direction
    r = HALF_SIZE[rays.shape]
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
    return torch.where(enter < leave, enter, torch.inf)


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
    samples = max(1, PIXELS_AT_ONCE // (height * width))
    nearest = torch.empty(min(samples, len(positions)) * height * width, device=device)
    for start in range(0, len(positions), samples):
        mask = masks[start : start + samples].view(-1)
        depth = nearest[: len(mask)].fill_(torch.inf)
        for n, shape in enumerate(shapes):
            poses = positions[start : start + samples, n], rotations[start : start + samples, n]
            rays = cast_rays(shape, *poses, height=height, width=width, device=device)
            place, enter = rays.pixels.place, enter_depths(rays)[:, 0]
            before = depth.index_select(0, place)
            closer = enter < before
            depth[place] = torch.where(closer, enter, before)
            mask[place] = mask.index_select(0, place).masked_fill_(closer, int(class_ids[n]))
    return masks.cpu().numpy()
