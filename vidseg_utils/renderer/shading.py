"""The colour of rubber and metal surfaces, and the step from linear light to sRGB.

`appearance` is that of `appearance_tensors`; with other tensors in it, these functions can be fitted by gradient
descent. Vectors are x, y, z: three tensors, or one tensor with these on its first axis. Shapes: S rays a pixel, U poses
of an object, windows of h x w pixels.
"""

import functools
from collections.abc import Callable
from types import SimpleNamespace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vidseg_utils.renderer.appearance import value_of_shape
from vidseg_utils.renderer.lights import Vector, dot, light_colours, smoothstep
from vidseg_utils.world.solids import OBJECT_RADIUS

SRGB_TABLE_SIZE = 8192  # entries of the table from linear light to sRGB
BOUNCE_SCALE = 0.25  # of the fitted strengths `rubber_ground_light` and `ground_bounce`
MIN_DESCENT = 0.02  # of a mirrored ray, per unit of length: it meets the ground at a finite distance


def surface_normal(shape: str, point: Vector, half_size: float, appearance: SimpleNamespace) -> Vector:
    """Outward normal, not of unit length, at points of an object in its own frame; edges are rounded."""
    if shape == "sphere":
        return point
    flat_half_size = float(half_size - value_of_shape(appearance.bevel, shape) - 1e-4)
    if shape == "cube":
        return tuple(p - p.clamp(-flat_half_size, flat_half_size) for p in point)
    x, y, z = point
    radius = torch.sqrt(x * x + z * z).clamp_min(1e-6)
    outward = (radius - flat_half_size).clamp_min(0) / radius
    return x * outward, y - y.clamp(-flat_half_size, flat_half_size), z * outward


def shade_rubber(
    normal: Vector, lamps: Float[Tensor, "4 3 *lamps"], colour: Float[Tensor, "3 *lamps"], appearance: SimpleNamespace
) -> Float[Tensor, "3 *points"]:
    """Linear light from a matt surface. normal: unit; lamps: direction times strength.

    lamps and colour, of the object, are broadcast against the normal.
    """
    facing = torch.stack([dot(normal, lamp).clamp_min(0) for lamp in lamps] + [0.5 + 0.5 * normal[2]])
    colours = light_colours(appearance)
    from_ground = (BOUNCE_SCALE * appearance.rubber_ground_light).expand(3, 1)  # lights a surface from below
    colours = colours * appearance.rubber_lights
    from_sky = (1 - appearance.sun_share) * colours[:, 4:] - from_ground
    colours = torch.cat([colours[:, :4], from_sky], dim=1)
    light = (colours @ facing.view(5, -1) + from_ground).view(3, *facing.shape[1:])
    return appearance.rubber_gain * colour * light


def shade_metal(
    point: Vector,
    reflected: Vector,
    *,
    lamps: Float[Tensor, "4 3 *lamps"],
    centre: Float[Tensor, "2 *lamps"],
    colour: Float[Tensor, "3 *lamps"],
    ground_colour: Callable[[Tensor, Tensor], Tensor],
    shape: str,
    appearance: SimpleNamespace,
) -> Float[Tensor, "3 *points"]:
    """Linear light from a tinted mirror with the ground below it and the sky above.

    point: world positions on the surface, and reflected: unit directions of the mirrored rays, tensors of one shape;
    lamps: unit directions, centre: world x, y of the object, and its colour, all broadcast against them; ground_colour:
    the linear colour of the ground at world x, y.
    """
    x, y, z = reflected
    length = point[2].clamp_min(0) / (-z).clamp_min(MIN_DESCENT)  # of the mirrored ray, down to the ground
    foot_x, foot_y = point[0] + x * length, point[1] + y * length
    # Squared distance from the object's centre, in units of the reach of its own shadow.
    squared = ((foot_x - centre[0]) ** 2 + (foot_y - centre[1]) ** 2) * (
        1 / (OBJECT_RADIUS * appearance.reflected_shadow_reach) ** 2
    )
    own_shadow = value_of_shape(appearance.reflected_shadow, shape)
    ground_strength = appearance.ground_reflection * (1 - own_shadow / (1 + squared * squared))
    k = appearance.sky
    sky = k[0] + x * (k[1] + k[4] * y + k[6] * z + k[7] * x) + y * (k[2] + k[5] * z - k[7] * y) + z * (k[3] + k[8] * z)
    sky_share = smoothstep(0.5 + z * (0.5 / appearance.horizon_width))
    light = ground_colour(foot_x, foot_y) * (ground_strength * (1 - sky_share)) + sky.clamp_min(0) * sky_share
    for lamp, highlight, glow in zip(lamps, appearance.highlight, appearance.glow, strict=True):
        halo = _square_repeatedly((0.5 + 0.5 * dot(reflected, lamp)).clamp_min(0), 5)  # to the power 32
        light = light + (highlight * _square_repeatedly(halo, 4) + glow * halo)  # the highlight: to the power 512
    colour = colour.view(3, *[1] * (light.dim() - colour.dim()), *colour.shape[1:])
    return appearance.metal_gain * colour * light


def lid_highlights(
    point: Vector,
    direction: Vector,
    *,
    lamps: Float[Tensor, "4 3 *lamps"],
    centre: Float[Tensor, "2 *lamps"],
    appearance: SimpleNamespace,
) -> Float[Tensor, "*points"]:
    """Highlights in the brushed lid of a standing metal cylinder, before the metal's colour.

    The arguments are as for `shade_metal`; direction: unit directions from the camera to the points.
    """
    out_x, out_y = point[0] - centre[0], point[1] - centre[1]
    scale = torch.rsqrt(out_x * out_x + out_y * out_y + 1e-6)
    out_x, out_y = out_x * scale, out_y * scale
    width_along, width_across = appearance.lid_widths
    light = torch.zeros_like(out_x)
    for lamp, highlight in zip(lamps, appearance.highlight, strict=True):
        half_x, half_y, half_z = (to_lamp - step for to_lamp, step in zip(lamp, direction, strict=True))
        along = (half_x * out_x + half_y * out_y) / (half_z * width_along)
        across = (half_y * out_x - half_x * out_y) / (half_z * width_across)
        light += highlight * torch.exp(-along * along - across * across)
    return appearance.lid_highlight * light


def _square_repeatedly(x: Tensor, times: int) -> Tensor:
    for _ in range(times):
        x = x * x
    return x


def to_srgb(light: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Linear light (0..1, clipped) to sRGB, 0..255."""
    light = light.clamp(0, 1)
    return 255 * torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(1e-4) ** (1 / 2.4) - 0.055)


@functools.lru_cache(maxsize=8)
def _srgb_table(device: torch.device | str) -> Tensor:
    middle = (torch.arange(SRGB_TABLE_SIZE) + 0.5) / SRGB_TABLE_SIZE
    return to_srgb(middle).round().to(torch.uint8).to(device)


def srgb_levels(light: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """`to_srgb` rounded to whole levels, by a table, which is faster."""
    index = (light * SRGB_TABLE_SIZE).clamp_(0, SRGB_TABLE_SIZE - 1).int()
    return _srgb_table(light.device).index_select(0, index.view(-1)).view(light.shape)
