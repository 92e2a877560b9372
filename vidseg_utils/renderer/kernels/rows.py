"""A row of pixels of a frame: the ground in the shadows of the objects, and the objects before it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from vidseg_utils.renderer.ground import SRGB_TABLE_SIZE
from vidseg_utils.renderer.kernels.compiling import inner
from vidseg_utils.renderer.kernels.shadows import shade_lamp, shade_sky
from vidseg_utils.renderer.kernels.vectors import clamp, matrix, vector
from vidseg_utils.renderer.kernels.views import N_RAYS
from vidseg_utils.renderer.lights import LIGHT_COLOURS
from vidseg_utils.renderer.scene import OBJECT, SKY

BEYOND_DEPTH = 1e9  # world units; every object is nearer, and a ray that misses one is not
# Taps of a symmetric filter of five pixels, along rows and columns: the outer, the inner and the middle one, in 64ths.
# CLEVRER's frames are scaled down bicubically. Beside a mean over each pixel this leaves less of the finest detail and
# slightly more of coarser detail. Fitted to the power spectrum at the edges of objects.
OUTER_TAP, INNER_TAP, MIDDLE_TAP = -3, 7, 56


class Row(NamedTuple):
    """A row of W pixels while it is drawn."""

    is_touched: Bool[np.ndarray, "W"]  # by the rectangle of an object or of a shadow
    light: Float[np.ndarray, "5 W"]  # that the ground gets from key, fill, back, sun and sky
    bounced: Float[np.ndarray, "3 W"]  # linear light that the ground gets from objects
    nearest: Float[np.ndarray, "W N_RAYS"]  # depth of the nearest object along each ray
    covered: Float[np.ndarray, "W"]  # share of the pixel that objects cover
    objects: Float[np.ndarray, "3 W"]  # linear light of the objects in it


@inner
def empty_row(width):
    """A row to draw in."""
    nearest = np.empty((width, N_RAYS), np.float32)
    covered, objects = np.empty(width), np.empty((3, width))
    return Row(np.empty(width, np.bool_), np.empty((5, width)), np.empty((3, width)), nearest, covered, objects)


@inner
def draw_row(scene, ground, number, first, past, poses, views, depths, lights, row, picture):
    """Draw the pixels [first, past) of row `number` of a picture (3, H, W).

    poses, views: (N,) the frames whose shadows and views of the objects are shown; depths, lights: of the views
    """
    _draw_ground(scene, ground, number, first, past, poses, row)
    _draw_objects(scene, number, first, past, views, depths, lights, row)
    pixels = slice(first, past)
    is_touched, covered = row.is_touched[pixels], row.covered[pixels]
    for channel in range(3):
        light, objects = row.bounced[channel, pixels], row.objects[channel, pixels]
        for lamp in range(5):
            colour, lamp_light = LIGHT_COLOURS[lamp, channel], row.light[lamp, pixels]
            for column in range(len(light)):
                light[column] += colour * lamp_light[column]
        for column in range(len(light)):
            light[column] = light[column] * (1 - covered[column]) + objects[column]
        levels, empty = picture[channel, number, pixels], ground.picture[channel, number, pixels]
        for column in range(len(light)):
            if is_touched[column]:
                index = int(clamp(light[column] * SRGB_TABLE_SIZE, 0.0, SRGB_TABLE_SIZE - 1.0))
                levels[column] = ground.levels[index]
            else:
                levels[column] = empty[column]


@inner
def _columns(rectangle, number, first, past):
    """The columns of a rectangle in row `number` that are among [first, past)."""
    if rectangle[2] <= number < rectangle[3]:
        return max(rectangle[0], first), min(rectangle[1], past)
    return 0, 0


@inner
def _draw_ground(scene, ground, number, first, past, poses, row):
    """The light of the ground in a row, as the objects shade it and reflect light onto it."""
    x, y = ground.x[number], ground.y[number]
    for lamp in range(5):
        for column in range(first, past):
            row.light[lamp, column] = ground.light[number, lamp, column]
    for column in range(first, past):
        row.is_touched[column] = False
    for channel in range(3):
        for column in range(first, past):
            row.bounced[channel, column] = 0.0
    for i in range(len(scene.shapes)):
        t = poses[i]
        for lamp in range(5):
            start, stop = _columns(scene.rectangles[t, i, lamp], number, first, past)
            if start >= stop:
                continue
            for column in range(start, stop):
                row.is_touched[column] = True
            centre = vector(scene.positions[t, i])
            if lamp == SKY:
                shade_sky(
                    row.light[SKY, start:stop],
                    row.bounced[:, start:stop],
                    x,
                    y[start:stop],
                    centre,
                    vector(scene.bounced_colours[i]),
                )
                continue
            rotation, position = matrix(scene.rotations[t, i]), vector(scene.lamp_positions[t, i, lamp])
            shade_lamp(row.light[lamp, start:stop], x, y[start:stop], scene.shapes[i], centre, rotation, position, lamp)


@inner
def _draw_objects(scene, number, first, past, views, depths, lights, row):
    """The light of the nearest objects in a row, and the share of each pixel that they cover."""
    for column in range(first, past):
        row.covered[column] = 0.0
        for ray in range(N_RAYS):
            row.nearest[column, ray] = BEYOND_DEPTH
    for channel in range(3):
        for column in range(first, past):
            row.objects[channel, column] = 0.0
    for i in range(len(scene.shapes)):
        start, stop = _columns(scene.rectangles[views[i], i, OBJECT], number, first, past)
        for column in range(start, stop):
            row.is_touched[column] = True
            for ray in range(N_RAYS):
                row.nearest[column, ray] = min(row.nearest[column, ray], depths[i, number, column, ray])
    for i in range(len(scene.shapes)):
        start, stop = _columns(scene.rectangles[views[i], i, OBJECT], number, first, past)
        for column in range(start, stop):
            n_seen = 0
            for ray in range(N_RAYS):
                if depths[i, number, column, ray] <= row.nearest[column, ray]:
                    n_seen += 1
                    row.nearest[column, ray] = 0.0  # of objects that are equally near, the first one is seen
            if n_seen:
                share = n_seen / N_RAYS
                row.covered[column] += share
                for channel in range(3):
                    row.objects[channel, column] += share * lights[i, number, column, channel]


@inner
def filter_row(picture, number, first, past, buffer, filtered):
    """The pixels [first, past) of a row as if the picture had been scaled down bicubically: filtered by the taps.

    buffer: (W + 4,), for the row filtered along its columns, continued at both ends; filtered: (3, H, W)
    """
    height, width = picture.shape[1:]
    above, below = max(number - 1, 0), min(number + 1, height - 1)
    far_above, far_below = max(number - 2, 0), min(number + 2, height - 1)
    start, stop = max(first - 2, 0), min(past + 2, width)
    for channel in range(3):
        near = picture[channel, :, start:stop]
        centre, above1, above2 = near[number], near[above], near[far_above]
        below1, below2 = near[below], near[far_below]
        columns = buffer[start + 2 : stop + 2]
        for column in range(len(columns)):
            outer, inner_ = np.int32(above2[column]) + below2[column], np.int32(above1[column]) + below1[column]
            columns[column] = _rounded(outer, inner_, np.int32(centre[column]))
        if start == 0:
            buffer[0] = buffer[1] = buffer[2]
        if stop == width:
            buffer[width + 2] = buffer[width + 3] = buffer[width + 1]
        columns, out = buffer[first : past + 4], filtered[channel, number, first:past]
        for column in range(len(out)):
            outer, inner_ = columns[column] + columns[column + 4], columns[column + 1] + columns[column + 3]
            out[column] = min(max(_rounded(outer, inner_, columns[column + 2]), 0), 255)


@inner
def _rounded(outer, inner_, middle):
    """The weighted mean of five whole numbers, rounded."""
    return (OUTER_TAP * outer + INNER_TAP * inner_ + MIDDLE_TAP * middle + 32) >> 6
