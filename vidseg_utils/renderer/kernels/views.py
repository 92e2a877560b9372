"""What a camera sees of one object: how deep each ray enters it, and the light of each pixel.

A pixel has four rays. Metal mirrors near objects once: there are no mirror images in the mirror images.
Simplification: objects do not shade each other.
"""

from math import inf
from typing import NamedTuple

import numpy as np

from vidseg_utils.renderer.appearance import APPEARANCE
from vidseg_utils.renderer.kernels.changes import is_near
from vidseg_utils.renderer.kernels.compiling import inner
from vidseg_utils.renderer.kernels.rays import CYLINDER, entry_depth, surface_normal
from vidseg_utils.renderer.kernels.surfaces import METAL_GAIN, lid_light, metal_light, rubber_light
from vidseg_utils.renderer.kernels.vectors import (
    along_ray,
    clipped,
    difference,
    dot,
    matrix,
    mirrored,
    product,
    scaled,
    times,
    transposed_times,
    unit,
    vector,
)
from vidseg_utils.renderer.scene import ANTIALIASING, OBJECT
from vidseg_utils.world.solids import OBJECT_RADIUS

Vector = tuple[float, float, float]
RAYS = np.array(ANTIALIASING)
N_RAYS = len(RAYS)
LID_NORMAL_Z = 0.97  # a cylinder's surface whose normal has a larger z is its lid, without the rim
MISSED_DEPTH = 10.0  # world units: where a ray ends that misses the object
# Square of the radius of a ball around a cube, sphere and cylinder, world units: a little more than half a diagonal.
SQUARED_BALL_RADIUS = np.array([3.0, 1.0, 2.0]) * OBJECT_RADIUS**2
IMAGE_STRENGTH = METAL_GAIN * APPEARANCE.object_reflection


class Solid(NamedTuple):
    """One object in one frame."""

    shape: int  # code of `solids`
    is_metal: bool
    colour: Vector
    centre: Vector
    rotation: tuple[Vector, Vector, Vector]  # object -> world
    lamps: np.ndarray  # (4, 4), see `lamp_light`


@inner
def _solid(scene, t, i):
    """Object i in frame t."""
    shape, is_metal, colour = scene.shapes[i], scene.is_metal[i], vector(scene.colours[i])
    return Solid(
        shape, is_metal, colour, vector(scene.positions[t, i]), matrix(scene.rotations[t, i]), scene.lamps[t, i]
    )


@inner
def draw_view(scene, t, i, reflection_table, depths, lights):
    """Draw object i as in frame t.

    depths: (H, W, N_RAYS) along each ray, infinity where it misses; lights: (H, W, 3) linear, the mean over the rays
    that hit. Both are changed in place, in the object's rectangle.
    """
    solid, n_objects = _solid(scene, t, i), len(scene.shapes)
    origin, slopes = vector(scene.origins[t, i]), matrix(scene.slopes[t, i])
    camera, camera_rays = vector(scene.camera), matrix(scene.camera_rays)
    others, n_others, in_path = np.empty(n_objects, np.int64), 0, np.empty(n_objects, np.bool_)
    for other in range(n_objects):
        if solid.is_metal and is_near(scene.positions, t, i, other):
            others[n_others] = other
            n_others += 1
    x0, x1, y0, y1 = scene.rectangles[t, i, OBJECT]
    for row in range(y0, y1):
        for column in range(x0, x1):
            n_hits = 0
            for ray in range(N_RAYS):
                depth = entry_depth(solid.shape, origin, times(slopes, _position(row, column, ray)))
                depths[row, column, ray] = depth
                n_hits += depth < inf
            if not n_hits:
                continue
            # Of metal, the sum of the rays' light. Rubber is matt, so one colour is enough: that of the mean normal.
            total = 0.0, 0.0, 0.0
            for ray in range(N_RAYS):
                depth = depths[row, column, ray]
                is_first_that_misses = ray == 0 and n_others > 0 and depth == inf
                if depth == inf and not is_first_that_misses:
                    continue
                direction = times(camera_rays, _position(row, column, ray))
                point = along_ray(camera, MISSED_DEPTH if is_first_that_misses else depth, direction)
                normal = _normal(solid, point)
                if not solid.is_metal:
                    total = along_ray(total, 1.0, normal)
                    continue
                direction, normal = unit(direction), unit(normal)
                reflected = mirrored(direction, normal)
                if ray == 0:  # it decides for all rays of the pixel
                    for n in range(n_others):
                        in_path[n] = _passes_near(scene, t, others[n], point, reflected)
                if is_first_that_misses:
                    continue
                image_depth, light = inf, (0.0, 0.0, 0.0)
                for n in range(n_others):
                    if in_path[n]:
                        image_depth, light = _nearer_image(
                            _solid(scene, t, others[n]), point, reflected, image_depth, light, reflection_table
                        )
                if image_depth < inf:
                    light = scaled(product(solid.colour, light), IMAGE_STRENGTH)
                else:
                    light = _metal_light(solid, point, reflected, reflection_table)
                    if solid.shape == CYLINDER and normal[2] > LID_NORMAL_Z:
                        lid = lid_light(point, direction, solid.lamps, solid.centre, solid.colour)
                        light = along_ray(light, 1.0, lid)
                total = along_ray(total, 1.0, clipped(light))
            if solid.is_metal:
                light = scaled(total, 1 / n_hits)
            else:
                light = rubber_light(unit(total), solid.lamps, solid.colour)
            for channel in range(3):
                lights[row, column, channel] = light[channel]


@inner
def _position(row, column, ray):
    """[x, y, 1] of a ray in the picture, in pixels."""
    return column + 0.5 + RAYS[ray, 0], row + 0.5 + RAYS[ray, 1], 1.0


@inner
def _normal(solid, point):
    """Outward normal, not of unit length, at a point on the surface; both in the world."""
    own_point = transposed_times(solid.rotation, difference(point, solid.centre))
    return times(solid.rotation, surface_normal(solid.shape, own_point))


@inner
def _metal_light(solid, point, reflected, reflection_table):
    """`metal_light` of that object."""
    return metal_light(solid.shape, point, reflected, solid.lamps, solid.centre, solid.colour, reflection_table)


@inner
def _passes_near(scene, t, i, point, direction):
    """Whether a ray passes the centre of object i within the radius of a ball around the object."""
    to_centre = difference(vector(scene.positions[t, i]), point)
    along = dot(to_centre, direction)
    return along > 0 and dot(to_centre, to_centre) - along * along < SQUARED_BALL_RADIUS[scene.shapes[i]]


@inner
def _nearer_image(solid, point, direction, nearest, light, reflection_table):
    """Depth at which a mirrored ray enters the object, and its light there; `nearest` and `light` if it is farther."""
    origin = transposed_times(solid.rotation, difference(point, solid.centre))
    depth = entry_depth(solid.shape, origin, transposed_times(solid.rotation, direction))
    if not 0 < depth < nearest:
        return nearest, light
    hit = along_ray(point, depth, direction)
    normal = unit(_normal(solid, hit))
    if solid.is_metal:
        return depth, clipped(_metal_light(solid, hit, mirrored(direction, normal), reflection_table))
    return depth, rubber_light(normal, solid.lamps, solid.colour)
