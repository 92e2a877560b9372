"""What light makes of floor, rubber and metal. Vectors are tuples or tensors whose first axis is x, y, z.

All functions take the parameters as the tensors of `look.look_tensors`, so that they can be fitted by gradient descent.
"""

from types import SimpleNamespace

import torch
from torch import Tensor

from vidseg_utils.data.synthetic.look import by_shape

SUN_DISTANCE = 100.0  # for shadows the sun is a lamp that far away


def dot(a, b) -> Tensor:
    """Inner product over the first axis."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def unit(a: Tensor) -> Tensor:
    """Of length 1 along the first axis."""
    return a * torch.rsqrt(dot(a, a).clamp_min(1e-12))


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
    sun = unit(look.sun_direction)
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


def local_normal(shape: str, point: tuple, half: float, look: SimpleNamespace) -> tuple:
    """Outward normal, not of unit length, at points of an object in its own frame; edges are rounded."""
    if shape == "sphere":
        return point
    flat = half - by_shape(look.bevel, shape) - 1e-4
    if shape == "cube":
        return tuple(p - p.clamp(-flat, flat) for p in point)
    x, y, z = point
    radius = torch.sqrt(x * x + z * z).clamp_min(1e-6)
    outward = (radius - flat).clamp_min(0) / radius
    return x * outward, y - y.clamp(-flat, flat), z * outward


def shade_rubber(normal: Tensor, lamps: Tensor, colour: Tensor, look: SimpleNamespace) -> Tensor:
    """normal: (3, P) unit; lamps: (4, 3, P) strength x direction; colour: (3,). returns: (3, P) linear."""
    facing = torch.stack([dot(normal, lamp).clamp_min(0) for lamp in lamps] + [0.5 + 0.5 * normal[2]])
    # the sky's light, and the floor's light from the other side
    colours = light_colours(look)
    sky, floor = (1 - look.sun_share) * colours[:, 4], 0.25 * look.rubber_floor_light
    colours = torch.cat([colours[:, :4], (sky - floor)[:, None]], dim=1)
    gain = look.rubber_gain * colour[:, None]
    return gain * (colours @ facing + floor)


def shade_metal(
    point: tuple,
    reflected: tuple,
    lamps: Tensor,
    centre: Tensor,
    colour: Tensor,
    floor,
    shape: str,
    look: SimpleNamespace,
) -> Tensor:
    """Of a tinted mirror. point, reflected (unit): 3 x (P, S); lamps: (4, 3, P, 1) directions; centre: (2, P, 1);
    floor: function of places x, y that returns its colour (3, P, S). returns: (3, P, S) linear.
    """
    x, y, z = reflected
    reach = point[2].clamp_min(0) / (-z).clamp_min(0.02)  # to the floor
    foot = point[0] + x * reach, point[1] + y * reach
    away = ((foot[0] - centre[0]) ** 2 + (foot[1] - centre[1]) ** 2) * (1 / (0.2 * look.reflected_shadow_reach) ** 2)
    below = look.floor_reflection * (1 - by_shape(look.reflected_shadow, shape) * torch.exp(-away))
    k = look.sky
    sky = k[0] + x * (k[1] + k[4] * y + k[6] * z + k[7] * x) + y * (k[2] + k[5] * z - k[7] * y) + z * (k[3] + k[8] * z)
    sky = sky.clamp_min(0) + look.sky_horizon * torch.exp(z.clamp_min(0) * (-1 / look.sky_falloff))
    above = smoothstep(0.5 + z * (0.5 / look.horizon_width))
    light = floor(*foot) * (below * (1 - above)) + sky * above
    for lamp, bright, sharp, glow in zip(lamps, look.highlight, look.highlight_sharpness, look.glow, strict=True):
        off = dot(reflected, lamp) - 1
        light = light + (bright * torch.exp(sharp * off) + glow * torch.exp(look.glow_sharpness * off))
    return look.metal_gain * colour[:, None, None] * light


def shadow(shape: str, half: float, point: tuple, step: tuple, radius: Tensor) -> Tensor:
    """Share of a lamp that an object hides, by how close the ray from the floor to the lamp passes it.

    point: 3 x (P,) floor points in the object's frame; step: 3 x (P,) from there to the lamp; radius: the lamp's.
    """
    along = -dot(point, step) / dot(step, step)  # where the ray passes the centre, as a share of the way to the lamp
    if shape == "cube":  # seen along the ray, the outline's sides are edges of the three face directions
        gap = None
        for i, j in ((0, 1), (1, 2), (2, 0)):
            across = (point[i] * step[j] - point[j] * step[i]).abs() - half * (step[i].abs() + step[j].abs())
            side = across * torch.rsqrt(step[i] ** 2 + step[j] ** 2 + 1e-9)
            gap = side if gap is None else torch.maximum(gap, side)
    else:
        if shape == "cylinder":  # nearest to the axis, between the lids
            inverse = 1 / (step[1] + 1e-9)
            middle, reach = -point[1] * inverse, half * inverse.abs()
            flat = step[0] * step[0] + step[2] * step[2] + 1e-9
            along = -(point[0] * step[0] + point[2] * step[2]) / flat
            along = torch.minimum(torch.maximum(along, middle - reach), middle + reach)
            passing = point[0] + along * step[0], point[2] + along * step[2]
            gap = torch.sqrt(passing[0] ** 2 + passing[1] ** 2 + 1e-12) - half
        else:
            passing = tuple(p + along * s for p, s in zip(point, step, strict=True))
            gap = torch.sqrt(dot(passing, passing) + 1e-12) - half
    return smoothstep(0.5 - 0.5 * gap / (radius * along.clamp_min(0.004)))


def hidden_sky(point: tuple, half: float) -> Tensor:
    """Share of the sky that a sphere hides from floor points; point: 3 x (P,), from the sphere's centre."""
    squared = dot(point, point)
    return (half * half) * (-point[2]).clamp_min(0) * squared**-1.5


def to_picture(light: Tensor) -> Tensor:
    """Linear light to sRGB, 0..255."""
    light = light.clamp(0, 1)
    return 255 * torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(1e-4) ** (1 / 2.4) - 0.055)
