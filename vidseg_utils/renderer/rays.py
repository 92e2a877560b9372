"""Where a ray enters a sphere, rounded box or cylinder at any orientation.

In the object's own frame a pixel's ray is linear in the pixel's coordinates. So each test is a few multiplications,
done for many poses at once. Shapes: S rays a pixel, U poses of an object, windows of h x w pixels.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vidseg_utils.renderer.windows import WindowBatch
from vidseg_utils.world.camera import camera_matrix
from vidseg_utils.world.solids import CUBE_EDGE_RADIUS, visible_half_size

PIXEL_CENTRE = ((0.0, 0.0),)


@dataclass(frozen=True)
class Rays:
    """Rays in the frame of the one object that they may hit, such as those through the pixels of a window batch.

    A point of a ray is origin + depth * direction. Depth is in world units; from the camera, along its view axis.
    """

    shape: str
    origin: tuple[Float[Tensor, "*origins"], ...]  # x, y, z; broadcast against the directions
    direction: tuple[Float[Tensor, "*rays"], ...]  # x, y, z


@functools.lru_cache(maxsize=16)
def camera_rays(height: int, width: int) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """Matrix from a pixel [x, y, 1] to its ray's direction (one unit of depth long), and the camera's position."""
    matrix = camera_matrix(height, width)
    to_world = np.linalg.inv(matrix[:, :3])
    return to_world, -to_world @ matrix[:, 3]


def float_tensors(device: torch.device | str, *arrays: np.ndarray) -> tuple[Tensor, ...]:
    """The arrays as float32 tensors on the device; NaN (an absent object) becomes 0."""
    return tuple(torch.as_tensor(array).to(device, torch.float32).nan_to_num_(nan=0.0) for array in arrays)


def cast_rays(
    shape: str,
    windows: WindowBatch,
    positions: Float[np.ndarray, "poses 3"],
    rotations: Float[np.ndarray, "poses 3 3"],
    *,
    height: int,
    width: int,
    offsets: tuple[tuple[float, float], ...] = PIXEL_CENTRE,
) -> Rays:
    """Rays through S points of each pixel, which lie `offsets` (x, y) pixels from the pixel's centre.

    positions, rotations: all poses of the object; the windows show U of them.
    """
    to_world, camera = camera_rays(height, width)
    inverse = np.swapaxes(rotations[windows.poses], 1, 2)  # (U, 3, 3) world -> object
    origin = inverse @ (camera - positions[windows.poses])[..., None]  # (U, 3, 1)
    slopes = inverse @ to_world  # (U, 3, 3): direction = slopes @ [x, y, 1]
    origin, slopes = float_tensors(windows.columns.device, origin, slopes)
    x, y = sample_positions(windows, offsets)
    slopes = slopes[:, :, :, None, None]
    return Rays(
        shape,
        origin=tuple(origin[:, k, :, None] for k in range(3)),
        direction=tuple(slopes[:, k, 0] * x + (slopes[:, k, 1] * y + slopes[:, k, 2]) for k in range(3)),
    )


def sample_positions(
    windows: WindowBatch, offsets: tuple[tuple[float, float], ...]
) -> tuple[Float[Tensor, "S U 1 w"], Float[Tensor, "S U h 1"]]:
    """Pixel coordinates x and y of S points a pixel, which lie `offsets` (x, y) pixels from the pixel's centre."""
    shift = torch.tensor(offsets, device=windows.columns.device).view(-1, 2, 1, 1, 1) + 0.5
    return windows.columns + shift[:, 0], windows.rows + shift[:, 1]


def entry_depths(rays: Rays) -> Float[Tensor, "*rays"]:
    """Depth at which each ray enters the object; infinity where it misses.

    A ray that hits a cube's rounded edge gets the depth at which it enters the cube with sharp edges.
    """
    (ox, oy, oz), (dx, dy, dz) = rays.origin, rays.direction
    r = visible_half_size(rays.shape)
    if rays.shape == "sphere":
        a, b = dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz
        c = ox * ox + oy * oy + oz * oz - r * r
        return ((-b - torch.sqrt(b * b - a * c)) / a).nan_to_num_(nan=torch.inf)  # a negative root is a miss
    if rays.shape == "cylinder":  # without its lids; NaN where the ray misses
        a, b, c = dx * dx + dz * dz, ox * dx + oz * dz, ox * ox + oz * oz - r * r
        root = torch.sqrt(b * b - a * c)
        enter, leave = (-b - root) / a, (root - b) / a
        face_pairs = ((oy, dy),)
    else:
        enter = leave = None
        face_pairs = ((ox, dx), (oy, dy), (oz, dz))
    for origin, direction in face_pairs:  # the layer between two parallel faces
        inverse = 1 / (direction + 1e-20)  # never 0 / 0: a ray along the faces is always between them, or never
        middle, half_length = -origin * inverse, r * inverse.abs()
        enter = middle - half_length if enter is None else torch.maximum(enter, middle - half_length)
        leave = middle + half_length if leave is None else torch.minimum(leave, middle + half_length)
    assert enter is not None and leave is not None
    hit = enter < leave
    if rays.shape == "cube":
        hit &= _within_rounded_edges(rays, enter, leave)
    return enter.masked_fill_(~hit, torch.inf)


def _within_rounded_edges(rays: Rays, enter: Tensor, leave: Tensor) -> Tensor:
    """Whether rays that pass a cube with sharp edges, between these depths, hit the cube with rounded edges.

    They do if they pass the smaller cube inside it within the radius of the edges. Along a ray, the squared distance
    from that cube is convex and piecewise quadratic. It is computed in the middle and, after one Newton step, near its
    least value.
    """
    half_size = visible_half_size(rays.shape) - CUBE_EDGE_RADIUS
    middle = (enter + leave).mul_(0.5)
    squared, slope = torch.zeros_like(middle), torch.zeros_like(middle)
    curvature = torch.full_like(middle, 1e-12)
    for origin, direction in zip(rays.origin, rays.direction, strict=True):
        point = (direction * middle).add_(origin)
        beyond = point - point.clamp(-half_size, half_size)
        squared.addcmul_(beyond, beyond)
        slope.addcmul_(beyond, direction)
        curvature.add_((direction * direction).mul_(beyond != 0))
    nearest = torch.minimum(torch.maximum(middle.sub_(slope.div_(curvature)), enter), leave)
    squared_nearest = torch.zeros_like(nearest)
    for origin, direction in zip(rays.origin, rays.direction, strict=True):
        beyond = (direction * nearest).add_(origin).abs_().sub_(half_size).clamp_min_(0)
        squared_nearest.addcmul_(beyond, beyond)
    return torch.minimum(squared, squared_nearest) < CUBE_EDGE_RADIUS**2
