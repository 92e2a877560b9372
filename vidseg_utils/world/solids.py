"""The three solids: their codes, sizes, outlines and inertia. All objects of the world have one size.

A code is the position of a shape's name in `classes.SHAPES`; arrays with one entry or row a shape are ordered by code.
"""

import itertools

import numpy as np
from scipy.spatial.transform import Rotation

from vidseg_utils.classes import SHAPES

CUBE, SPHERE, CYLINDER = range(len(SHAPES))
OBJECT_RADIUS = 0.2  # radius, half side and half height of every object, in world units
# Half side and half height of a cube, radius of a sphere, radius and half height of a cylinder as a camera sees them,
# in world units. A cube's edges and corners are rounded: it is the Minkowski sum of a smaller cube and a ball of radius
# CUBE_EDGE_RADIUS. The edges of a cylinder are sharp: a radius up to 0.01 fits as well, a larger one worse. All were
# fitted by least squares to frames of real videos.
VISIBLE_HALF_SIZE = np.array([0.198, 0.2, 0.1962])
CUBE_EDGE_RADIUS = 0.03
# Greatest distance of a solid's surface from its vertical axis, in world units: a cube's is half its diagonal.
WIDEST_RADIUS = np.array([2**0.5 * OBJECT_RADIUS, OBJECT_RADIUS, OBJECT_RADIUS])
# Moments of inertia of a unit of mass, in units squared: about two horizontal axes and the vertical one of a solid that
# stands.
INERTIA = np.array(
    [
        [2 / 3 * OBJECT_RADIUS**2] * 3,
        [2 / 5 * OBJECT_RADIUS**2] * 3,
        [7 / 12 * OBJECT_RADIUS**2, 7 / 12 * OBJECT_RADIUS**2, OBJECT_RADIUS**2 / 2],
    ]
)
VERTICAL_INERTIA = INERTIA[:, 2]
# Mean distance of the points that touch the ground from the vertical axis, in world units: over a square, over a disc,
# and none for a sphere, which touches in one point.
MEAN_CONTACT_RADIUS = np.array([0.765, 0.0, 2 / 3]) * OBJECT_RADIUS

_ANGLES = np.linspace(0, 2 * np.pi, 17)[:-1, None]
_CIRCLE = np.concatenate([np.cos(_ANGLES), 0 * _ANGLES, np.sin(_ANGLES)], axis=1)
_UP = np.array([0.0, 1.0, 0.0])  # a cylinder's axis is its own y, as in `Trajectory.rotations`
_VIEW_TILT = Rotation.from_euler("y", -30, degrees=True)  # the camera looks down at 30 degrees
# Points of each shape, in its own frame and in world units, whose pictures span the object's picture. Those of a sphere
# are its circle across the camera's line of sight, in the world's axes.
OUTLINE_POINTS = {
    "cube": OBJECT_RADIUS * np.array(list(itertools.product((-1.0, 1.0), repeat=3))),
    "sphere": OBJECT_RADIUS * _CIRCLE[:, [1, 0, 2]] @ _VIEW_TILT.as_matrix().T,
    "cylinder": OBJECT_RADIUS * np.concatenate([_CIRCLE + _UP, _CIRCLE - _UP]),
}
for _array in (VISIBLE_HALF_SIZE, WIDEST_RADIUS, INERTIA, VERTICAL_INERTIA, MEAN_CONTACT_RADIUS):
    _array.setflags(write=False)


def smallest_cube_yaw(yaw: np.ndarray | np.floating) -> np.ndarray:
    """The yaw in [-pi/4, pi/4) that turns a cube to the same pose: one of a square's four equal yaws, in radians."""
    return np.asarray(np.mod(yaw + np.pi / 4, np.pi / 2) - np.pi / 4)


def visible_half_size(shape: str) -> float:
    """The entry of VISIBLE_HALF_SIZE for "cube", "sphere" or "cylinder", in world units."""
    return float(VISIBLE_HALF_SIZE[SHAPES.index(shape)])
