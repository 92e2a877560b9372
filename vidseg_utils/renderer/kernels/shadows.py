"""What an object hides of the lamps and the sky from the ground, in a row of pixels.

The camera's picture is level: all ground in a row of pixels has one world x.
"""

from math import sqrt

from vidseg_utils.renderer.appearance import APPEARANCE
from vidseg_utils.renderer.kernels.compiling import inner
from vidseg_utils.renderer.kernels.rays import CYLINDER, EDGE_RADIUS, HALF_SIZE, INNER_HALF_SIZE, SPHERE
from vidseg_utils.renderer.kernels.vectors import along_ray, clamp, difference, dot, smoothstep, transposed_times
from vidseg_utils.renderer.lights import LAMP_RADII, SKY_SHADOW_REACH
from vidseg_utils.world.solids import OBJECT_RADIUS

MIN_ALONG = 0.004  # share of the way to a lamp at which a ray passes an object, at least: limits how sharp shadows are
AMBIENT_OCCLUSION = APPEARANCE.ambient_occlusion


@inner
def shade_lamp(light, x, ground_y, shape, centre, rotation, lamp_position, lamp):
    """Multiply the light of one lamp, in some pixels of a row, by the share of it that an object leaves visible.

    light: (W,), changed in place; x, ground_y (W,): of the ground that the pixels show; lamp: 0..3
    """
    start = transposed_times(rotation, (x - centre[0], -centre[1], -centre[2]))  # the row's ground at y = 0
    own_lamp = transposed_times(rotation, difference(lamp_position, centre))
    for column in range(len(light)):
        point = along_ray(start, ground_y[column], rotation[1])
        light[column] *= 1 - _hidden_lamp_share(shape, point, difference(own_lamp, point), LAMP_RADII[lamp])


@inner
def _hidden_lamp_share(shape, point, to_lamp, radius):
    """Share of a lamp that an object hides from a point, by how close the ray to the lamp passes the object.

    point: in the object's frame; to_lamp: from the point to the lamp, in the same frame; radius: of the lamp
    """
    px, py, pz = point
    lx, ly, lz = to_lamp
    if shape == CYLINDER:
        # `along` is the position on the ray, 0 at the ground and 1 at the lamp, that is nearest to the axis between the
        # two lids.
        half_size, inverse = HALF_SIZE[CYLINDER], 1 / (ly + 1e-9)
        middle, half_length = -py * inverse, half_size * abs(inverse)
        along = -(px * lx + pz * lz) / (lx * lx + lz * lz + 1e-9)
        along = clamp(along, middle - half_length, middle + half_length)
        nearest_x, nearest_z = px + along * lx, pz + along * lz
        gap = sqrt(nearest_x * nearest_x + nearest_z * nearest_z + 1e-12) - half_size
        return _hidden_share(gap, radius, along)
    xx, yy, zz = lx * lx, ly * ly, lz * lz
    along = -(px * lx + py * ly + pz * lz) / (xx + yy + zz)  # nearest to the object's centre
    if shape == SPHERE:
        nearest = px + along * lx, py + along * ly, pz + along * lz
        return _hidden_share(sqrt(dot(nearest, nearest) + 1e-12) - HALF_SIZE[SPHERE], radius, along)
    # Seen along the ray, every side of a cube's outline is an edge, which runs along one of the three axes. Its edges
    # are rounded; its corners are taken to be sharp.
    ax, ay, az = abs(lx), abs(ly), abs(lz)
    gap_z = (abs(px * ly - py * lx) - INNER_HALF_SIZE * (ax + ay)) / sqrt(xx + yy + 1e-9)
    gap_x = (abs(py * lz - pz * ly) - INNER_HALF_SIZE * (ay + az)) / sqrt(yy + zz + 1e-9)
    gap_y = (abs(pz * lx - px * lz) - INNER_HALF_SIZE * (az + ax)) / sqrt(zz + xx + 1e-9)
    return _hidden_share(max(max(gap_x, gap_y), gap_z) - EDGE_RADIUS, radius, along)


@inner
def _hidden_share(gap, radius, along):
    """Share of a lamp of that radius whose centre ray passes the object's outline at a distance of `gap`."""
    return smoothstep(0.5 - 0.5 * gap / (radius * max(along, MIN_ALONG)))


@inner
def shade_sky(light, bounced, x, ground_y, centre, bounced_colour):
    """Multiply the sky's light, in some pixels of a row, by the share that an object leaves visible, and add what the
    object reflects. It hides as much of the sky as a sphere.

    light (W,), bounced (3, W): changed in place; x, ground_y: as for `shade_lamp`
    bounced_colour: light that the object reflects to a point from which it hides the whole sky
    """
    centre_x, centre_y, centre_z = centre[0], centre[1], centre[2]
    hidden_near = OBJECT_RADIUS**2 * max(centre_z, 0.0)
    for column in range(len(light)):
        step_x, step_y = x - centre_x, ground_y[column] - centre_y
        squared = step_x * step_x + step_y * step_y
        inverse = 1 / sqrt(squared + centre_z * centre_z)
        fade = max(1 - squared * (1 / SKY_SHADOW_REACH**2), 0.0)
        hidden = hidden_near * (inverse * inverse * inverse) * (fade * fade)
        light[column] *= 1 - min(AMBIENT_OCCLUSION * hidden, 1.0)
        for channel in range(3):
            bounced[channel, column] += bounced_colour[channel] * hidden
