"""The three solids: their codes and their sizes. All objects of the world have one size.

A code is the position of a shape's name in `classes.SHAPES`.
"""

import numpy as np

from vidseg_utils.classes import SHAPES

CUBE, SPHERE, CYLINDER = range(len(SHAPES))
OBJECT_RADIUS = 0.2  # radius, half side and half height of every object, in world units
# Half side and half height of a cube, radius of a sphere, radius and half height of a cylinder as a camera sees them,
# in world units: OBJECT_RADIUS, less where edges are bevelled. Fitted by least squares to outlines of real videos.
VISIBLE_HALF_SIZE = np.array([0.1915, 0.2, 0.1965])
VISIBLE_HALF_SIZE.setflags(write=False)


def visible_half_size(shape: str) -> float:
    """The entry of VISIBLE_HALF_SIZE for "cube", "sphere" or "cylinder", in world units."""
    return float(VISIBLE_HALF_SIZE[SHAPES.index(shape)])
