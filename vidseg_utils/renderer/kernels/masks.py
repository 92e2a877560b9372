"""Masks of a video: each pixel is the class of the object that comes nearest in one of the rays through it."""

from math import inf

import numpy as np
from numba import types

from vidseg_utils.renderer.kernels.compiling import kernel
from vidseg_utils.renderer.kernels.rays import entry_depth
from vidseg_utils.renderer.kernels.signatures import INTEGERS, MASKS, MATRIX, POSITIONS, RECTANGLES, ROTATIONS
from vidseg_utils.renderer.kernels.vectors import matrix, times, vector


@kernel(types.void(MASKS, INTEGERS, INTEGERS, POSITIONS, ROTATIONS, RECTANGLES, MATRIX))
def draw_masks(masks, class_ids, shapes, origins, slopes, rectangles, points):
    """Draw the objects into masks (T, H, W) of zeros.

    class_ids, shapes: (N,); origins, slopes, rectangles: as in `Scene`, the last only of the objects
    points: (S, 2) x and y of the rays from the pixel's centre, in pixels
    """
    n_frames, height, width = masks.shape
    nearest = np.empty((height, width), np.float32)
    for t in range(n_frames):
        for row in range(height):
            for column in range(width):
                nearest[row, column] = inf
        for i in range(len(shapes)):
            x0, x1, y0, y1 = rectangles[t, i]
            shape, origin, slope = shapes[i], vector(origins[t, i]), matrix(slopes[t, i])
            for row in range(y0, y1):
                for column in range(x0, x1):
                    depth = inf
                    for point in range(len(points)):
                        position = column + 0.5 + points[point, 0], row + 0.5 + points[point, 1], 1.0
                        depth = min(depth, entry_depth(shape, origin, times(slope, position)))
                    depth = np.float32(depth)
                    if depth < nearest[row, column]:
                        nearest[row, column] = depth
                        masks[t, row, column] = class_ids[i]
