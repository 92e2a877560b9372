"""Key, fill and back lamp, sun and sky: where they are, how they light a point, and what an object hides of them.

`appearance` is that of `appearance_tensors`; with other tensors in it, these functions can be fitted by gradient
descent. Vectors are x, y, z: three tensors, or one tensor with these on its first axis.
"""

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vidseg_utils.renderer.appearance import APPEARANCE
from vidseg_utils.renderer.pixel_blocks import DiscHulls
from vidseg_utils.renderer.windows import NEAREST_DEPTH, ellipse_bounds, pixels_between
from vidseg_utils.world.camera import camera_matrix
from vidseg_utils.world.solids import CUBE_EDGE_RADIUS, OBJECT_RADIUS

SUN_DISTANCE = 100.0  # world units; for shadows the sun is a lamp this far from each object
SHADOW_CASTER_HEIGHT = 0.42  # world units; no object is taller
FOOTPRINT_RADIUS = {"cube": 0.28, "sphere": 0.2, "cylinder": 0.21}  # world units, around an object on the ground
MIN_ALONG = 0.004  # share of the way to a lamp at which a ray passes an object, at least: limits how sharp shadows are
SKY_SHADOW_REACH = 0.5  # world units from an object's centre; farther away it hides too little of the sky to be seen

Vector = Sequence[Tensor] | Tensor


def dot(a: Vector, b: Vector) -> Tensor:
    """Inner product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def unit(a: Vector) -> tuple[Tensor, Tensor, Tensor]:
    """The vector scaled to length 1."""
    scale = torch.rsqrt(dot(a, a).clamp_min(1e-12))
    return a[0] * scale, a[1] * scale, a[2] * scale


def mirrored(direction: Vector, normal: Vector) -> tuple[Tensor, Tensor, Tensor]:
    """The direction in which a mirror with that unit normal sends light on."""
    twice_along_normal = 2 * dot(direction, normal)
    x, y, z = (d - twice_along_normal * n for d, n in zip(direction, normal, strict=True))
    return x, y, z


def smoothstep(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """0 below 0, 1 above 1, smooth in between."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def lamp_light(
    points: Float[Tensor, "3 P"], appearance: SimpleNamespace
) -> tuple[Float[Tensor, "4 P"], Float[Tensor, "4 3 P"]]:
    """How strongly key, fill, back and sun shine at each point, and unit directions from the point towards them."""
    to_lamp = appearance.lamp_positions[:, :, None] - points  # (3 lamps, 3, P)
    squared = (to_lamp * to_lamp).sum(1)
    direction = to_lamp * torch.rsqrt(squared)[:, None]
    aim = appearance.lamp_positions / appearance.lamp_positions.norm(dim=1, keepdim=True)
    strength = (direction * aim[:, :, None]).sum(1).clamp_min(0) / squared
    sun = torch.stack(unit(appearance.sun_direction))
    sun_strength = (appearance.sun_share / sun[2]).expand(1, points.shape[1])
    return torch.cat([strength, sun_strength]), torch.cat([direction, sun[:, None].expand_as(points)[None]])


def ground_light(points: Float[Tensor, "3 P"], appearance: SimpleNamespace) -> Float[Tensor, "5 P"]:
    """Light that points on the ground get from key, fill, back, sun and sky, before its colour (`light_colours`)."""
    strength, direction = lamp_light(points, appearance)
    sky = (1 - appearance.sun_share).expand(1, points.shape[1])
    return torch.cat([strength * direction[:, 2], sky])


def light_colours(appearance: SimpleNamespace) -> Float[Tensor, "3 5"]:
    """Linear colours of key, fill, back, sun and sky."""
    return torch.cat([appearance.lamp_colours, appearance.ambient[None], appearance.ambient[None]]).T


def lamp_positions(positions: Float[np.ndarray, "U 3"]) -> Float[np.ndarray, "4 U 3"]:
    """World positions of key, fill, back and sun as seen from objects at `positions`; the sun is far from each."""
    lamps = np.broadcast_to(np.array(APPEARANCE.lamp_positions)[:, None], (3, *positions.shape))
    sun = np.array(APPEARANCE.sun_direction) / np.linalg.norm(APPEARANCE.sun_direction)
    return np.concatenate([lamps, (positions + SUN_DISTANCE * sun)[None]])


def lamp_radii() -> tuple[float, float, float, float]:
    """Radii of key, fill, back and sun, world units."""
    key, fill, back, sun_angle = APPEARANCE.lamp_radii
    return key, fill, back, sun_angle * SUN_DISTANCE


def shadow_hulls(shape: str, positions: Float[np.ndarray, "U 3"]) -> DiscHulls:
    """The ground that the shadows of an object in U poses can touch.

    A lamp's shadow reaches from the object's footprint to the shadow of its top. The sky's is a disc around the object.
    returns: 5 * U hulls: those of key, then of fill, back, sun and sky.
    """
    centre, foot_radius = positions[:, :2], FOOTPRINT_RADIUS[shape]
    lamps = lamp_positions(positions)
    # Length of a ray from the object's top to the ground over its length from the lamp to the top: (4, U).
    share = SHADOW_CASTER_HEIGHT / (lamps[..., 2] - SHADOW_CASTER_HEIGHT)
    tip = centre + (centre - lamps[..., :2]) * share[..., None]
    tip_radius = foot_radius * (1 + share) + np.array(lamp_radii())[:, None] * share
    sky_radius = np.full(len(centre), SKY_SHADOW_REACH)
    return DiscHulls(
        start=np.tile(centre, (5, 1)),
        start_radius=np.concatenate([np.full(share.size, foot_radius), sky_radius]),
        end=np.concatenate([tip.reshape(-1, 2), centre]),
        end_radius=np.concatenate([tip_radius.ravel(), sky_radius]),
    )


def shadow_rectangles(hulls: DiscHulls, *, height: int, width: int) -> Int[np.ndarray, "U 4"]:
    """Rectangles, as `windows.bounding_rectangles` returns them, around the pixels that show U hulls on the ground."""
    start = _disc_bounds(hulls.start, hulls.start_radius, height=height, width=width)
    end = _disc_bounds(hulls.end, hulls.end_radius, height=height, width=width)
    low, high = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 1], end[:, 1])
    return pixels_between(low, high, height=height, width=width)


def _disc_bounds(centre: np.ndarray, radius: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """(U, 2, 2) lowest and highest pixel (x, y) of discs on the ground with centres (U, 2) and radii (U,)."""
    matrix = camera_matrix(height, width)
    with np.errstate(invalid="ignore", divide="ignore"):
        homogeneous = centre @ matrix[:, :2].T + matrix[:, 3]  # (U, 3)
        bounds = ellipse_bounds(homogeneous, radius[:, None, None] * matrix[:, :2])
        bounds[~(homogeneous[:, 2] - radius > NEAREST_DEPTH / 2)] = np.nan
    return bounds


def hidden_lamp_share(shape: str, half_size: float, point: Vector, to_lamp: Vector, radius: Tensor) -> Tensor:
    """Share of a lamp that an object hides from ground points, by how close the ray to the lamp passes the object.

    point: ground points in the object's frame: three tensors; the result has their shape
    to_lamp: from the points to the lamp, in the same frame and shape
    radius: of the lamp, world units; broadcast against them
    """
    if shape == "cylinder":
        # `along` is the position on the ray, 0 at the ground and 1 at the lamp, that is nearest to the axis between the
        # two lids.
        inverse = 1 / (to_lamp[1] + 1e-9)
        middle, half_length = -point[1] * inverse, half_size * inverse.abs()
        along = -(point[0] * to_lamp[0] + point[2] * to_lamp[2])
        along = along / (to_lamp[0] * to_lamp[0] + to_lamp[2] * to_lamp[2] + 1e-9)
        along = torch.minimum(torch.maximum(along, middle - half_length), middle + half_length)
        nearest = point[0] + along * to_lamp[0], point[2] + along * to_lamp[2]
        gap = torch.sqrt(nearest[0] * nearest[0] + nearest[1] * nearest[1] + 1e-12) - half_size
        return _hidden_share(gap, radius, along)
    squares = [step * step for step in to_lamp]
    along = -dot(point, to_lamp) / (squares[0] + squares[1] + squares[2])  # nearest to the object's centre
    if shape == "sphere":
        nearest = tuple(p + along * step for p, step in zip(point, to_lamp, strict=True))
        gap = torch.sqrt(dot(nearest, nearest) + 1e-12) - half_size
        return _hidden_share(gap, radius, along)
    # Seen along the ray, every side of a cube's outline is an edge, which runs along one of the three axes. Its edges
    # are rounded; its corners are taken to be sharp.
    half_size -= CUBE_EDGE_RADIUS
    sizes = [step.abs() for step in to_lamp]
    side_gaps = []
    for i, j in ((0, 1), (1, 2), (2, 0)):
        across = (point[i] * to_lamp[j] - point[j] * to_lamp[i]).abs() - half_size * (sizes[i] + sizes[j])
        side_gaps.append(across * torch.rsqrt(squares[i] + squares[j] + 1e-9))
    gap = torch.maximum(torch.maximum(side_gaps[0], side_gaps[1]), side_gaps[2]) - CUBE_EDGE_RADIUS
    return _hidden_share(gap, radius, along)


def _hidden_share(gap: Tensor, radius: Tensor, along: Tensor) -> Tensor:
    """Share of a lamp of that radius whose centre ray passes the object's outline at a distance of `gap`."""
    return smoothstep(0.5 - 0.5 * gap / (radius * along.clamp_min(MIN_ALONG)))


def hidden_sky_share(x: Tensor, y: Tensor, z: Tensor, reach: float) -> Tensor:
    """Share of the sky that an object hides from ground points, as if it were a sphere.

    x, y: from the object's centre to the point; z: height of the centre; all in world units
    reach: distance in world units from which on the share is 0
    """
    squared = x * x + y * y
    inverse_distance = torch.rsqrt(squared + z * z)
    fade = (1 - squared * (1 / reach**2)).clamp_min(0)
    hidden = OBJECT_RADIUS**2 * z.clamp_min(0)
    return hidden * (inverse_distance * inverse_distance * inverse_distance) * (fade * fade)
