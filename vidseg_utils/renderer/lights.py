"""Key, fill and back lamp, sun and sky: where they are, how they light a point, and how far shadows reach."""

import numpy as np
from jaxtyping import Float, Int

from vidseg_utils.renderer.appearance import APPEARANCE

SUN_DISTANCE = 100.0  # world units; for shadows the sun is a lamp this far from each object
SHADOW_CASTER_HEIGHT = 0.42  # world units; no object is taller
FOOTPRINT_RADIUS = np.array([0.28, 0.2, 0.21])  # world units, around a cube, sphere and cylinder on the ground
SKY_SHADOW_REACH = 0.5  # world units from an object's centre; farther away it hides too little of the sky to be seen
LIGHT_COLOURS = np.array([*APPEARANCE.lamp_colours, *[APPEARANCE.ambient] * 2])  # (5, 3): key, fill, back, sun, sky
LAMP_RADII = np.array(APPEARANCE.lamp_radii) * [1, 1, 1, SUN_DISTANCE]  # key, fill, back and sun, world units
_LAMPS = np.array(APPEARANCE.lamp_positions)
_AIMS = _LAMPS / np.linalg.norm(_LAMPS, axis=1, keepdims=True)  # lamps face the origin, so these point away from it
_SUN = np.array(APPEARANCE.sun_direction) / np.linalg.norm(APPEARANCE.sun_direction)


def lamp_light(points: Float[np.ndarray, "*points 3"]) -> Float[np.ndarray, "*points 4 4"]:
    """Unit directions from each point towards key, fill, back and sun, and, last, how strongly they shine there."""
    to_lamps = _LAMPS - points[..., None, :]
    squared = (to_lamps**2).sum(axis=-1, keepdims=True)
    directions = to_lamps / np.sqrt(squared)
    light = np.empty((*points.shape[:-1], 4, 4))
    light[..., :3, :3] = directions
    light[..., :3, 3:] = np.maximum((directions * _AIMS).sum(axis=-1, keepdims=True), 0) / squared
    light[..., 3, :3] = _SUN
    light[..., 3, 3] = APPEARANCE.sun_share / _SUN[2]
    return light


def ground_light(points: Float[np.ndarray, "*points 3"]) -> Float[np.ndarray, "*points 5"]:
    """Light that points on the ground get from key, fill, back, sun and sky, before its colour (LIGHT_COLOURS)."""
    lamps = lamp_light(points)
    light = np.full((*points.shape[:-1], 5), 1 - APPEARANCE.sun_share)
    light[..., :4] = lamps[..., 3] * lamps[..., 2]
    return light


def lamp_positions(positions: Float[np.ndarray, "*objects 3"]) -> Float[np.ndarray, "*objects 4 3"]:
    """World positions of key, fill, back and sun as seen from objects at `positions`; the sun is far from each."""
    lamps = np.empty((*positions.shape[:-1], 4, 3))
    lamps[..., :3, :] = _LAMPS
    lamps[..., 3, :] = positions + SUN_DISTANCE * _SUN
    return lamps


def shadow_tips(shapes: Int[np.ndarray, "N"], positions: Float[np.ndarray, "T N 3"]) -> Float[np.ndarray, "T N 4 3"]:
    """The shadows of objects' tops, by key, fill, back and sun: discs on the ground, x, y and radius.

    shapes: codes of `solids`
    """
    lamps, centre = lamp_positions(positions), positions[:, :, None, :2]
    # Length of a ray from the object's top to the ground over its length from the lamp to the top.
    share = SHADOW_CASTER_HEIGHT / (lamps[..., 2:] - SHADOW_CASTER_HEIGHT)
    radius = FOOTPRINT_RADIUS[shapes][:, None, None] * (1 + share) + LAMP_RADII[:, None] * share
    return np.concatenate([centre + (centre - lamps[..., :2]) * share, radius], axis=-1)
