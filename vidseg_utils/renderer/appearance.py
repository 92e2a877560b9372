"""Constants of CLEVRER's appearance: lamps, ground and materials. Light is linear; lengths are world units.

The lamp positions are those of CLEVR (Johnson et al., CVPR 2017), recovered from the highlights in metal spheres. The
other constants were fitted to real frames by gradient descent on the squared error of the picture.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

from vidseg_utils.classes import COLOUR_RGB, COLOURS, class_attributes

# Raised whenever the same poses give other pictures or masks: data sets record it. 1: sharp cubes, no mirror images.
# 2: each pixel is the mean of its area.
LOOK = 3
BOUNCE_SCALE = 0.25  # of the fitted strengths `rubber_ground_light` and `ground_bounce`


@dataclass(frozen=True)
class Appearance:
    """Three area lamps (key, fill, back) that face the origin, a sun, a uniform sky, and the materials.

    Tuples of four are ordered key, fill, back, sun. Tuples of three are red, green, blue or cube, sphere, cylinder.
    """

    # Light on the ground. The colours include the ground's own grey.
    lamp_positions: tuple = ((6.4467, -2.9052, 4.2584), (-4.6711, -4.0136, 3.0112), (-1.1685, 2.6460, 5.8157))
    lamp_colours: tuple = ((5.1098, 4.7863, 3.7846), (1.2396, 1.2991, 1.7315), (2.6470, 2.7872, 2.7004))
    sun_direction: tuple = (0.420, -0.194, 0.887)  # from the ground towards the sun
    ambient: tuple = (0.1334, 0.1316, 0.1322)  # light of sun and sky together on the ground
    sun_share: float = 0.728  # the sun's share of `ambient`; the rest is the sky's
    # shadows
    lamp_radii: tuple = (0.325, 0.426, 0.758, 0.064)  # larger is softer; the sun's is in radians
    ambient_occlusion: float = 1.25  # how strongly an object darkens the sky's light on the ground beside it
    ground_bounce: tuple = (0.94, 0.585)  # metal, rubber: how strongly an object tints the ground beside it
    # rubber
    rubber_gain: float = 1.167  # brightness of a colour's RGB / 255, relative to the ground's
    rubber_lights: tuple = (1.275, 0.686, 1.003, 0.81, 1.282)  # of key, fill, back, sun, sky; relative to the ground's
    rubber_ground_light: float = 0.673  # light that the ground reflects onto rubber from below
    # metal: a tinted mirror of the ground below and the sky above
    metal_gain: float = 0.533
    ground_reflection: float = 1.74
    object_reflection: float = 1.74  # strength of the mirror images of other objects
    reflected_shadow: tuple = (0.49, 0.91, 0.6)  # by shape: darkness of an object's own shadow in its mirror image
    reflected_shadow_reach: float = 0.69  # in radii of the object
    # Coefficients of 1, x, y, z, xy, yz, xz, xx - yy, zz, where (x, y, z) is the direction into the sky.
    sky: tuple = (0.111, -0.082, 0.026, 0.055, -0.130, 0.002, 0.098, 0.033, -0.103)
    horizon_width: float = 0.212
    highlight: tuple = (5.5, 3.3, 8.3, 14.5)
    glow: tuple = (0.31, 0.136, 0.346, 0.67)  # a wide halo around each highlight
    # A standing cylinder's lid is brushed along its radii, so each lamp is smeared into two bright sectors.
    lid_highlight: float = 0.0215  # of `highlight`
    lid_widths: tuple = (0.66, 0.172)  # of the smear, in slopes of the half-way direction: along the radius, across it
    bevel: tuple = (0.0362, 0.0, 0.008)  # by shape: width of the strip along edges whose normals turn


APPEARANCE = Appearance()


def linear_colours(class_ids: Integer[np.ndarray, "K"]) -> Float[np.ndarray, "K 3"]:
    """Colours of classes (1..48) in linear light, before the material's gain. CLEVR uses RGB / 255 as such."""
    colours = [COLOUR_RGB[COLOURS.index(class_attributes(class_id)[2])] for class_id in class_ids.tolist()]
    return np.array(colours, dtype=float).reshape(-1, 3) / 255


def bounced_colours(colours: Float[np.ndarray, "K 3"], is_metal: Bool[np.ndarray, "K"]) -> Float[np.ndarray, "K 3"]:
    """Linear light that objects of these colours reflect onto the ground at a point where they hide the whole sky."""
    gains = np.array([APPEARANCE.rubber_gain, APPEARANCE.metal_gain]) * APPEARANCE.ground_bounce[::-1]
    return BOUNCE_SCALE * gains[is_metal.astype(int)][:, None] * colours
