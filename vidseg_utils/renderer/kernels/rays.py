"""Where a ray enters a sphere, rounded box or cylinder, and the normal there, in the object's own frame.

A point of a ray is origin + depth * direction. Depth is in world units; from the camera, along its view axis.
"""

from math import inf, sqrt

import numpy as np

from vidseg_utils.renderer.appearance import APPEARANCE
from vidseg_utils.renderer.kernels.compiling import inner
from vidseg_utils.renderer.kernels.vectors import clamp, dot
from vidseg_utils.world import solids

CUBE, SPHERE, CYLINDER = solids.CUBE, solids.SPHERE, solids.CYLINDER
HALF_SIZE = np.array(solids.VISIBLE_HALF_SIZE)
EDGE_RADIUS = solids.CUBE_EDGE_RADIUS
INNER_HALF_SIZE = float(HALF_SIZE[CUBE]) - EDGE_RADIUS  # of the cube whose surface a rounded cube's edges surround
FLAT_HALF_SIZE = HALF_SIZE - np.array(APPEARANCE.bevel) - 1e-4  # of the part of a face that has one normal


@inner
def entry_depth(shape, origin, direction):
    """Depth at which a ray enters the object; infinity where it misses.

    A ray that hits a cube's rounded edge gets the depth at which it enters the cube with sharp edges.
    """
    half_size = HALF_SIZE[shape]
    if shape == SPHERE:
        a, b = dot(direction, direction), dot(origin, direction)
        square = b * b - a * (dot(origin, origin) - half_size * half_size)
        return (-b - sqrt(square)) / a if square >= 0 else inf
    if shape == CYLINDER:
        (ox, oy, oz), (dx, dy, dz) = origin, direction
        a, b = dx * dx + dz * dz, ox * dx + oz * dz
        square = b * b - a * (ox * ox + oz * oz - half_size * half_size)
        if square < 0:
            return inf
        root = sqrt(square)
        enter, leave = _between_faces(oy, dy, half_size)
        enter, leave = max(enter, (-b - root) / a), min(leave, (root - b) / a)
        return enter if enter < leave else inf
    enter, leave = _between_faces(origin[0], direction[0], half_size)
    for axis in (1, 2):
        enter_layer, leave_layer = _between_faces(origin[axis], direction[axis], half_size)
        enter, leave = max(enter, enter_layer), min(leave, leave_layer)
    return enter if enter < leave and _within_rounded_edges(origin, direction, enter, leave) else inf


@inner
def _between_faces(origin, direction, half_size):
    """Depths at which a ray enters and leaves the layer between two parallel faces."""
    inverse = 1 / (direction + 1e-20)  # never 0 / 0: a ray along the faces is always between them, or never
    middle, half_length = -origin * inverse, half_size * abs(inverse)
    return middle - half_length, middle + half_length


@inner
def _within_rounded_edges(origin, direction, enter, leave):
    """Whether a ray that passes a cube with sharp edges, between these depths, hits the cube with rounded edges.

    It does if it passes the smaller cube inside it within the radius of the edges. Along a ray, the squared distance
    from that cube is convex and piecewise quadratic. It is computed in the middle and, after one Newton step, near its
    least value.
    """
    middle = 0.5 * (enter + leave)
    squared, slope, curvature = 0.0, 0.0, 1e-12
    for axis in range(3):
        point = origin[axis] + middle * direction[axis]
        beyond = point - clamp(point, -INNER_HALF_SIZE, INNER_HALF_SIZE)
        squared += beyond * beyond
        slope += beyond * direction[axis]
        if beyond != 0:
            curvature += direction[axis] * direction[axis]
    if squared < EDGE_RADIUS**2:
        return True
    nearest = clamp(middle - slope / curvature, enter, leave)
    squared = 0.0
    for axis in range(3):
        beyond = max(abs(origin[axis] + nearest * direction[axis]) - INNER_HALF_SIZE, 0.0)
        squared += beyond * beyond
    return squared < EDGE_RADIUS**2


@inner
def surface_normal(shape, point):
    """Outward normal, not of unit length, at a point of the object; edges are rounded."""
    x, y, z = point
    flat = FLAT_HALF_SIZE[shape]
    if shape == SPHERE:
        return x, y, z
    if shape == CUBE:
        return x - clamp(x, -flat, flat), y - clamp(y, -flat, flat), z - clamp(z, -flat, flat)
    radius = max(sqrt(x * x + z * z), 1e-6)
    outward = max(radius - flat, 0.0) / radius
    return x * outward, y - clamp(y, -flat, flat), z * outward
