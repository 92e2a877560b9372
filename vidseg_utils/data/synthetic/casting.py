"""Which object does the ray through each pixel hit, and how far away? Sphere, box and cylinder at any orientation.

Only pixels inside an object's projected bounding rectangle are looked at. In the object's own frame a pixel's ray is
linear in the pixel's place, so every test is a few multiplications on one flat list of candidate pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from vidseg_utils.classes import N_CLASSES, SHAPES, class_attributes
from vidseg_utils.data.camera import camera_matrix

CANDIDATES_PER_CHUNK = 40_000  # pixels worked on at once: the temporaries then stay in the processor's cache
# Half sizes in the picture, fitted to the outlines of the real videos: the physics' 0.2, less where edges are bevelled.
HALF_SIZE = {"cube": 0.192, "sphere": 0.2, "cylinder": 0.198}
_CORNERS = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), axis=-1).reshape(8, 3)


@dataclass(frozen=True)
class Rays:
    """The candidate pixels of one object in F frames: P pixels with the ray of each in the object's own frame.

    A ray's point is origin + depth x direction, where depth is measured along the camera's view axis.
    """

    shape: str
    pixel: torch.Tensor  # (P,) int64 place in the flattened (F, H, W) picture
    frame: torch.Tensor  # (P,) int64
    origin: tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # 3 x (P,)
    direction: tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # 3 x (P,)


def shapes_of(class_ids: np.ndarray) -> list[str]:
    """The shape of each object. Raises ValueError for an id that is no object."""
    ids = np.asarray(class_ids)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"class_ids are {ids.dtype} of shape {ids.shape}; expected integers of shape (objects,)")
    if ids.size and not (ids.min() >= 1 and ids.max() < N_CLASSES):
        raise ValueError(f"class_ids run from {ids.min()} to {ids.max()}; objects have 1 to {N_CLASSES - 1}")
    return [class_attributes(int(id_))[0] for id_ in ids]


def bounding_rectangles(
    shape: str, positions: np.ndarray, rotations: np.ndarray, *, height: int, width: int, margin: int = 0
) -> np.ndarray:
    """The pixels that an object can cover. positions: (F, 3); rotations: (F, 3, 3).

    returns: (F, 4) int64: first and past-the-last column, first and past-the-last row; all 0 where it is out of the
    picture, absent (NaN) or not wholly before the camera.
    """
    matrix = camera_matrix(height, width)
    projection, offset = matrix[:, :3], positions @ matrix[:, :3].T + matrix[:, 3]  # centre in homogeneous pixels
    in_front = offset[:, 2] > 0.4  # False for NaN too
    with np.errstate(invalid="ignore", divide="ignore"):
        if shape == "cube":
            corners = offset[:, None] + HALF_SIZE[shape] * _CORNERS @ np.swapaxes(
                projection @ rotations, 1, 2
            )  # (F, 8, 3)
            places = corners[..., :2] / corners[..., 2:]
        else:  # the dual conic of a quadric gives its outline's extremes; a cylinder is bounded by its two discs
            axes = projection @ rotations * HALF_SIZE[shape]  # (F, 3, 3)
            centres = offset[:, None]
            if shape == "cylinder":
                lid, axes = axes[:, :, 1], axes[:, :, [0, 2]]
                centres = np.stack([offset + lid, offset - lid], axis=1)
            spread = (axes @ np.swapaxes(axes, 1, 2))[:, None]  # (F, 1, 3, 3)
            conic = spread - centres[..., :, None] * centres[..., None, :]
            middle = conic[..., :2, 2] / conic[..., 2, 2, None]
            diagonal = np.stack([conic[..., 0, 0], conic[..., 1, 1]], axis=-1) / conic[..., 2, 2, None]
            half = np.sqrt(np.maximum(middle**2 - diagonal, 0))
            places = np.concatenate([middle - half, middle + half], axis=1)
        # a pixel is covered if its centre (at .5) is: outermost candidates are the centres between the extremes
        first = np.ceil(places.min(axis=1) - 0.5) - margin
        past = np.floor(places.max(axis=1) - 0.5) + 1 + margin
    rectangle = np.stack([first[:, 0], past[:, 0], first[:, 1], past[:, 1]], axis=1)
    rectangle = np.where(in_front[:, None] & np.isfinite(rectangle), rectangle, 0)
    rectangle = np.clip(rectangle, 0, [width, width, height, height]).astype(np.int64)
    empty = (rectangle[:, 0] >= rectangle[:, 1]) | (rectangle[:, 2] >= rectangle[:, 3])
    rectangle[empty] = 0
    return rectangle


def pixels_within(
    rectangles: torch.Tensor, *, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """rectangles: (F, 4) -> row of each pixel in the list of rows (P,), its column (P,); frame and y of each row (R,)."""
    device = rectangles.device
    x0, x1, y0, y1 = rectangles.unbind(1)
    rows = y1 - y0
    frame = torch.repeat_interleave(rows)  # (R,)
    y = torch.arange(len(frame), device=device) + (y0 - (rows.cumsum(0) - rows))[frame]
    columns = (x1 - x0)[frame]
    row = torch.repeat_interleave(columns)  # (P,)
    x = torch.arange(len(row), device=device) + (x0[frame] - (columns.cumsum(0) - columns))[row]
    return row, x, frame, y


def rays_of(
    shape: str, positions: np.ndarray, rotations: np.ndarray, *, height: int, width: int, device: torch.device | str
) -> Rays | None:
    """The candidate pixels of one object in F frames; None where there are none. positions: (F, 3)."""
    rectangles = bounding_rectangles(shape, positions, rotations, height=height, width=width)
    if not rectangles.any():
        return None
    matrix = camera_matrix(height, width)
    to_world = np.linalg.inv(matrix[:, :3])
    camera = -to_world @ matrix[:, 3]
    inverse = np.swapaxes(np.nan_to_num(rotations), 1, 2)  # (F, 3, 3) world -> object
    origin = (inverse @ (camera - np.nan_to_num(positions))[..., None])[..., 0]  # (F, 3)
    slopes = inverse @ to_world  # (F, 3, 3): direction = slopes @ [x, y, 1]
    slopes, origin = (torch.as_tensor(a, dtype=torch.float32).to(device) for a in (slopes, origin))

    row, x, frame, y = pixels_within(torch.as_tensor(rectangles).to(device), height=height, width=width)
    start = (
        slopes[frame, :, 2] + slopes[frame, :, 1] * (y + 0.5)[:, None] + 0.5 * slopes[frame, :, 0]
    )  # (R, 3) at x = 0
    step, row_origin, column = slopes[frame, :, 0], origin[frame], x.float()
    return Rays(
        shape,
        pixel=((frame * height + y) * width)[row] + x,
        frame=frame[row],
        origin=tuple(row_origin[:, k][row] for k in range(3)),
        direction=tuple(start[:, k][row] + step[:, k][row] * column for k in range(3)),
    )


def depths(rays: Rays) -> torch.Tensor:
    """(P,) depth at which each ray enters the object; inf where it misses."""
    (ox, oy, oz), (dx, dy, dz) = rays.origin, rays.direction
    r = HALF_SIZE[rays.shape]
    if rays.shape == "sphere":
        a, b = dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz
        c = ox * ox + oy * oy + oz * oz - r * r
        enter = (-b - torch.sqrt(b * b - a * c)) / a  # NaN where it misses
        return enter.nan_to_num_(nan=torch.inf)
    if rays.shape == "cylinder":
        a, b, c = dx * dx + dz * dz, ox * dx + oz * dz, ox * ox + oz * oz - r * r
        root = torch.sqrt(b * b - a * c)
        enter, leave = (-b - root) / a, (root - b) / a
        axes = ((oy, dy),)
    else:
        enter = leave = None
        axes = ((ox, dx), (oy, dy), (oz, dz))
    for o, d in axes:  # the slab between two parallel faces
        inverse = 1 / (d + 1e-20)  # a ray along the slab misses or stays inside; never 0 / 0
        middle, half = -o * inverse, r * inverse.abs()
        enter = middle - half if enter is None else torch.maximum(enter, middle - half)
        leave = middle + half if leave is None else torch.minimum(leave, middle + half)
    return torch.where(enter < leave, enter, torch.inf)


def chunks(positions: np.ndarray, *, height: int, width: int) -> Iterator[slice]:
    """Slices of the T samples, each of about CANDIDATES_PER_CHUNK candidate pixels an object."""
    samples = max(1, CANDIDATES_PER_CHUNK // max(1, height * width // 60))
    for start in range(0, len(positions), samples):
        yield slice(start, start + samples)


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
    shapes = shapes_of(class_ids)
    positions, rotations = np.asarray(positions, dtype=float), np.asarray(rotations, dtype=float)
    expected = (len(positions), len(shapes), 3)
    if positions.shape != expected or rotations.shape != (*expected, 3):
        raise ValueError(
            f"positions {positions.shape} and rotations {rotations.shape} do not fit {len(shapes)} objects; "
            f"expected (T, {len(shapes)}, 3) and (T, {len(shapes)}, 3, 3)"
        )
    masks = torch.zeros((len(positions), height, width), dtype=torch.uint8, device=device)
    nearest = None
    for chunk in chunks(positions, height=height, width=width):
        mask = masks[chunk].view(-1)
        if nearest is None:
            nearest = torch.empty(len(mask), device=device)
        depth = nearest[: len(mask)].fill_(torch.inf)
        for n, shape in enumerate(shapes):
            rays = rays_of(shape, positions[chunk, n], rotations[chunk, n], height=height, width=width, device=device)
            if rays is None:
                continue
            enter = depths(rays)
            before = depth[rays.pixel]
            closer = enter < before
            depth[rays.pixel] = torch.where(closer, enter, before)
            mask[rays.pixel] = mask[rays.pixel].masked_fill_(closer, int(class_ids[n]))
    return masks.cpu().numpy()
