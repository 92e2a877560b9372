"""What light makes of floor, rubber and metal. Vectors are tuples or tensors whose first axis is x, y, z.

`look` is that of `look.look_tensors`; with other tensors in it, these functions can be fitted by gradient descent.
"""

import functools
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import torch
from torch import Tensor

from vidseg_utils.renderer.appearance import by_shape

LEVELS = 8192  # steps of the table from linear light to sRGB


def dot(a, b) -> Tensor:
    """Inner product over the first axis."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def unit(a) -> tuple:
    """Three tensors, scaled to length 1."""
    scale = torch.rsqrt(dot(a, a).clamp_min(1e-12))
    return a[0] * scale, a[1] * scale, a[2] * scale


def smoothstep(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1, smooth between."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def lamp_light(points: Tensor, look: SimpleNamespace) -> tuple[Tensor, Tensor]:
    """points: (3, P). returns: (4, P) how strongly each lamp shines there and (4, 3, P) unit directions towards it."""
    to = look.lamp_positions[:, :, None] - points  # (3 lamps, 3, P)
    squared = (to * to).sum(1)
    direction = to * torch.rsqrt(squared)[:, None]
    aim = look.lamp_positions / look.lamp_positions.norm(dim=1, keepdim=True)
    strength = (direction * aim[:, :, None]).sum(1).clamp_min(0) / squared
    sun = torch.stack(unit(look.sun_direction))
    sun_strength = (look.sun_share / sun[2]).expand(1, points.shape[1])
    return torch.cat([strength, sun_strength]), torch.cat([direction, sun[:, None].expand_as(points)[None]])


def floor_light(points: Tensor, look: SimpleNamespace) -> Tensor:
    """points: (3, P) on the floor. returns: (5, P) light from key, fill, back, sun and sky; see `light_colours`."""
    strength, direction = lamp_light(points, look)
    sky = (1 - look.sun_share).expand(1, points.shape[1])
    return torch.cat([strength * direction[:, 2], sky])


def light_colours(look: SimpleNamespace) -> Tensor:
    """(3, 5) colours of key, fill, back, sun and sky."""
    return torch.cat([look.lamp_colours, look.ambient[None], look.ambient[None]]).T


def local_normal(shape: str, point: Sequence[Tensor], half: float, look: SimpleNamespace) -> Sequence[Tensor]:
    """Outward normal, not of unit length, at points of an object in its own frame; edges are rounded."""
    if shape == "sphere":
        return point
    flat = float(half - by_shape(look.bevel, shape) - 1e-4)
    if shape == "cube":
        return tuple(p - p.clamp(-flat, flat) for p in point)
    x, y, z = point
    radius = torch.sqrt(x * x + z * z).clamp_min(1e-6)
    outward = (radius - flat).clamp_min(0) / radius
    return x * outward, y - y.clamp(-flat, flat), z * outward


def shade_rubber(normal, lamps, colour: Tensor, look: SimpleNamespace) -> Tensor:
    """normal: 3 x (U, h, w) unit; lamps: (4, 3, U, 1, 1) strength x direction; colour: (3,).

    returns: (3, U, h, w) linear.
    """
    facing = torch.stack([dot(normal, lamp).clamp_min(0) for lamp in lamps] + [0.5 + 0.5 * normal[2]])
    colours = light_colours(look)
    floor = (0.25 * look.rubber_floor_light).expand(3, 1)
    colours = torch.cat([colours[:, :4], (1 - look.sun_share) * colours[:, 4:] - floor], dim=1)  # floor: from below
    gain = look.rubber_gain * colour[:, None]
    return ((gain * colours) @ facing.view(5, -1) + gain * floor).view(3, *facing.shape[1:])


def shade_metal(point, reflected, lamps, centre, colour: Tensor, floor: Callable, shape: str, look) -> Tensor:
    """Of a tinted mirror with the floor below it and the sky above.

    point, reflected (unit): 3 x (S, U, h, w); lamps: (4, 3, U, 1, 1) directions; centre: 2 x (U, 1, 1); colour: (3,);
    floor: function of places x, y that returns its colour (3, S, U, h, w). returns: (3, S, U, h, w) linear.
    """
    x, y, z = reflected
    reach = point[2].clamp_min(0) / (-z).clamp_min(0.02)  # to the floor
    foot = point[0] + x * reach, point[1] + y * reach
    away = ((foot[0] - centre[0]) ** 2 + (foot[1] - centre[1]) ** 2) * (1 / (0.2 * look.reflected_shadow_reach) ** 2)
    below = look.floor_reflection * (1 - by_shape(look.reflected_shadow, shape) / (1 + away * away))
    k = look.sky
    sky = k[0] + x * (k[1] + k[4] * y + k[6] * z + k[7] * x) + y * (k[2] + k[5] * z - k[7] * y) + z * (k[3] + k[8] * z)
    above = smoothstep(0.5 + z * (0.5 / look.horizon_width))
    light = floor(*foot) * (below * (1 - above)) + sky.clamp_min(0) * above
    for lamp, bright, glow in zip(lamps, look.highlight, look.glow, strict=True):
        halo = _power_of_two((0.5 + 0.5 * dot(reflected, lamp)).clamp_min(0), 5)  # to the power 32
        light = light + (bright * _power_of_two(halo, 4) + glow * halo)  # the lamp itself, to the power 512
    return (look.metal_gain * colour).view(3, 1, 1, 1, 1) * light


def _power_of_two(x: Tensor, doublings: int) -> Tensor:
    for _ in range(doublings):
        x = x * x
    return x


def shadow(shape: str, half: float, point: Sequence[Tensor], step: Sequence[Tensor], radius: Tensor) -> Tensor:
    """Share of a lamp that an object hides, by how close the ray from the floor to the lamp passes it.

    point: floor points in the object's frame; step: from there to the lamp; both 3 tensors of one shape, which the
    result has too. radius: the lamp's.
    """
    if shape == "cylinder":  # where the ray is nearest to the axis between the lids, as a share of the way to the lamp
        inverse = 1 / (step[1] + 1e-9)
        middle, reach = -point[1] * inverse, half * inverse.abs()
        along = -(point[0] * step[0] + point[2] * step[2]) / (step[0] * step[0] + step[2] * step[2] + 1e-9)
        along = torch.minimum(torch.maximum(along, middle - reach), middle + reach)
        passing = point[0] + along * step[0], point[2] + along * step[2]
        gap = torch.sqrt(passing[0] * passing[0] + passing[1] * passing[1] + 1e-12) - half
        return smoothstep(0.5 - 0.5 * gap / (radius * along.clamp_min(0.004)))
    squares = [s * s for s in step]
    along = -dot(point, step) / (squares[0] + squares[1] + squares[2])  # where it is nearest to the centre
    if shape == "sphere":
        passing = tuple(p + along * s for p, s in zip(point, step, strict=True))
        gap = torch.sqrt(dot(passing, passing) + 1e-12) - half
    else:  # seen along the ray, every side of a box's outline is an edge, which runs along one of three directions
        gap, sizes = None, [s.abs() for s in step]
        for i, j in ((0, 1), (1, 2), (2, 0)):
            across = (point[i] * step[j] - point[j] * step[i]).abs() - half * (sizes[i] + sizes[j])
            side = across * torch.rsqrt(squares[i] + squares[j] + 1e-9)
            gap = side if gap is None else torch.maximum(gap, side)
    return smoothstep(0.5 - 0.5 * gap / (radius * along.clamp_min(0.004)))


def hidden_sky(x: Tensor, y: Tensor, z: Tensor, reach: float) -> Tensor:
    """Share of the sky that an object hides from floor points, as a sphere would.

    x, y: from the object's centre to the point; z: of the centre; fades to 0 at x, y `reach` away.
    """
    flat = x * x + y * y
    near = torch.rsqrt(flat + z * z)
    fade = (1 - flat * (1 / reach**2)).clamp_min(0)
    return (0.04 * z.clamp_min(0)) * (near * near * near) * (fade * fade)


def to_picture(light: Tensor) -> Tensor:
    """Linear light to sRGB, 0..255."""
    light = light.clamp(0, 1)
    return 255 * torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(1e-4) ** (1 / 2.4) - 0.055)


@functools.lru_cache(maxsize=8)
def _levels(device: torch.device | str) -> Tensor:
    return to_picture((torch.arange(LEVELS) + 0.5) / LEVELS).round().to(torch.uint8).to(device)


def to_levels(light: Tensor) -> Tensor:
    """`to_picture`, rounded to uint8, by a table."""
    place = (light * LEVELS).clamp_(0, LEVELS - 1).int()
    return _levels(light.device).index_select(0, place.view(-1)).view(light.shape)
