"""The linear light that rubber and metal surfaces send on.

`lamps` are the (4, 4) unit directions and strengths of key, fill, back and sun at an object (`lights.lamp_light`).
"""

from math import exp, sqrt

import numpy as np

from vidseg_utils.renderer.appearance import APPEARANCE, BOUNCE_SCALE
from vidseg_utils.renderer.ground import REFLECTION_AREA, REFLECTION_CELLS
from vidseg_utils.renderer.kernels.compiling import inner
from vidseg_utils.renderer.kernels.vectors import clamp, product, scaled, smoothstep
from vidseg_utils.renderer.lights import LIGHT_COLOURS
from vidseg_utils.world.solids import OBJECT_RADIUS

MIN_DESCENT = 0.02  # of a mirrored ray, per unit of length: it meets the ground at a finite distance
FROM_GROUND = BOUNCE_SCALE * APPEARANCE.rubber_ground_light  # lights a surface from below
RUBBER_COLOURS = LIGHT_COLOURS * np.array(APPEARANCE.rubber_lights)[:, None]  # (5, 3) of lamps, sun and sky
RUBBER_COLOURS[4] = (1 - APPEARANCE.sun_share) * RUBBER_COLOURS[4] - FROM_GROUND
RUBBER_GAIN, METAL_GAIN = APPEARANCE.rubber_gain, APPEARANCE.metal_gain
OWN_SHADOW = np.array(APPEARANCE.reflected_shadow)
OWN_SHADOW_SCALE = 1 / (OBJECT_RADIUS * APPEARANCE.reflected_shadow_reach) ** 2  # of squared world units
GROUND_REFLECTION, HORIZON_WIDTH = APPEARANCE.ground_reflection, APPEARANCE.horizon_width
SKY, HIGHLIGHT, GLOW = (np.array(values) for values in (APPEARANCE.sky, APPEARANCE.highlight, APPEARANCE.glow))
LID_HIGHLIGHT, (LID_ALONG, LID_ACROSS) = APPEARANCE.lid_highlight, APPEARANCE.lid_widths
X0, X1, Y0, Y1 = REFLECTION_AREA
COLUMNS_PER_UNIT, ROWS_PER_UNIT = REFLECTION_CELLS / (X1 - X0), REFLECTION_CELLS / (Y1 - Y0)
LAST_CELL = REFLECTION_CELLS - 1.0


@inner
def _towards(direction, lamps, lamp):
    """Cosine of the angle between a unit direction and that to a lamp."""
    return direction[0] * lamps[lamp, 0] + direction[1] * lamps[lamp, 1] + direction[2] * lamps[lamp, 2]


@inner
def rubber_light(normal, lamps, colour):
    """Light of a matt surface with that unit normal."""
    red = green = blue = FROM_GROUND
    for lamp in range(5):
        facing = max(_towards(normal, lamps, lamp), 0.0) * lamps[lamp, 3] if lamp < 4 else 0.5 + 0.5 * normal[2]
        red += RUBBER_COLOURS[lamp, 0] * facing
        green += RUBBER_COLOURS[lamp, 1] * facing
        blue += RUBBER_COLOURS[lamp, 2] * facing
    return scaled(product(colour, (red, green, blue)), RUBBER_GAIN)


@inner
def metal_light(shape, point, reflected, lamps, centre, colour, reflection_table):
    """Light of a tinted mirror with the ground below it and the sky above.

    point: on the surface; reflected: unit direction of the mirrored ray; centre: of the object; all in the world
    reflection_table: see `Ground`
    """
    x, y, z = reflected
    length = max(point[2], 0.0) / max(-z, MIN_DESCENT)  # of the mirrored ray, down to the ground
    foot_x, foot_y = point[0] + x * length, point[1] + y * length
    # Squared distance from the object's centre, in units of the reach of its own shadow.
    squared = ((foot_x - centre[0]) ** 2 + (foot_y - centre[1]) ** 2) * OWN_SHADOW_SCALE
    sky_share = smoothstep(0.5 + z * (0.5 / HORIZON_WIDTH))
    ground_share = GROUND_REFLECTION * (1 - OWN_SHADOW[shape] / (1 + squared * squared)) * (1 - sky_share)
    sky = SKY[0] + x * (SKY[1] + SKY[4] * y + SKY[6] * z + SKY[7] * x) + y * (SKY[2] + SKY[5] * z - SKY[7] * y)
    light = max(sky + z * (SKY[3] + SKY[8] * z), 0.0) * sky_share
    for lamp in range(4):
        halo = max(0.5 + 0.5 * _towards(reflected, lamps, lamp), 0.0) ** 32
        light += HIGHLIGHT[lamp] * halo**16 + GLOW[lamp] * halo
    column = int(clamp((foot_x - X0) * COLUMNS_PER_UNIT, 0.0, LAST_CELL))
    row = int(clamp((foot_y - Y0) * ROWS_PER_UNIT, 0.0, LAST_CELL))
    ground = reflection_table[row, column]
    mirrored_light = (
        ground_share * ground[0] + light,
        ground_share * ground[1] + light,
        ground_share * ground[2] + light,
    )
    return scaled(product(colour, mirrored_light), METAL_GAIN)


@inner
def lid_light(point, direction, lamps, centre, colour):
    """Light of the highlights in the brushed lid of a standing metal cylinder.

    The arguments are as for `metal_light`; direction: unit direction from the camera to the point.
    """
    out_x, out_y = point[0] - centre[0], point[1] - centre[1]
    scale = 1 / sqrt(out_x * out_x + out_y * out_y + 1e-6)
    out_x, out_y = out_x * scale, out_y * scale
    light = 0.0
    for lamp in range(4):
        half_x, half_y = lamps[lamp, 0] - direction[0], lamps[lamp, 1] - direction[1]
        half_z = lamps[lamp, 2] - direction[2]
        along = (half_x * out_x + half_y * out_y) / (half_z * LID_ALONG)
        across = (half_y * out_x - half_x * out_y) / (half_z * LID_ACROSS)
        light += HIGHLIGHT[lamp] * exp(-along * along - across * across)
    return scaled(colour, METAL_GAIN * LID_HIGHLIGHT * light)
