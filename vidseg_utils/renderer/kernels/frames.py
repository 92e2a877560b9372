"""Frames of a video. Only what has changed since the frame before is drawn again."""

import numpy as np
from numba import types

from vidseg_utils.renderer.kernels.changes import has_moved, mirrors_a_change
from vidseg_utils.renderer.kernels.compiling import inner, kernel
from vidseg_utils.renderer.kernels.rows import draw_row, empty_row, filter_row
from vidseg_utils.renderer.kernels.signatures import FRAMES, GROUND, SCENE
from vidseg_utils.renderer.kernels.views import N_RAYS, draw_view
from vidseg_utils.renderer.scene import OBJECT


@inner
def _widen(first, past, rectangle):
    """Count the rectangle's pixels among those that have changed."""
    for number in range(rectangle[2], rectangle[3]):
        first[number] = min(first[number], rectangle[0])
        past[number] = max(past[number], rectangle[1])


@inner
def _filter(picture, t, first, past, buffer, frames):
    """Make frame t from the picture. What has not changed, and nothing near it, is as in the frame before."""
    height, width = picture.shape[1:]
    for number in range(height):
        start, stop = width, 0
        for near in range(max(number - 2, 0), min(number + 3, height)):
            start, stop = min(start, first[near] - 2), max(stop, past[near] + 2)
        start, stop = max(start, 0), min(stop, width)
        if t:
            for channel in range(3):
                for column in range(width):
                    frames[t, channel, number, column] = frames[t - 1, channel, number, column]
        if start < stop:
            filter_row(picture, number, start, stop, buffer, frames[t])


@kernel(types.void(FRAMES, SCENE, GROUND))
def draw_frames(frames, scene, ground):
    """Draw every frame (T, 3, H, W), in sRGB."""
    height, width = frames.shape[2:]
    n_objects, positions, rotations = len(scene.shapes), scene.positions, scene.rotations
    depths = np.empty((n_objects, height, width, N_RAYS), np.float32)
    lights = np.empty((n_objects, height, width, 3), np.float32)
    poses, views = np.zeros(n_objects, np.int64), np.zeros(n_objects, np.int64)  # the frames that are shown of each
    mirrored_poses = np.zeros((n_objects, n_objects), np.int64)
    row, buffer, picture = empty_row(width), np.empty(width + 4, np.int32), np.empty((3, height, width), np.uint8)
    first, past = np.empty(height, np.int64), np.empty(height, np.int64)  # the changed pixels of each row
    for t in range(len(frames)):
        for number in range(height):  # all pixels of the first frame are new
            first[number], past[number] = (width, 0) if t else (0, width)
        for i in range(n_objects):
            is_new_pose = t == 0 or has_moved(positions, rotations, poses[i], t, i, 1.0)
            is_new_view = scene.is_metal[i] and mirrors_a_change(positions, rotations, t, i, mirrored_poses[i])
            if is_new_pose:
                for light in range(OBJECT):
                    _widen(first, past, scene.rectangles[poses[i], i, light])
                    _widen(first, past, scene.rectangles[t, i, light])
                poses[i] = t
            if is_new_pose or is_new_view:
                _widen(first, past, scene.rectangles[views[i], i, OBJECT])
                _widen(first, past, scene.rectangles[t, i, OBJECT])
                views[i] = t
                draw_view(scene, t, i, ground.reflection_table, depths[i], lights[i])
        for number in range(height):
            if first[number] < past[number]:
                start, stop = first[number], past[number]
                draw_row(scene, ground, number, start, stop, poses, views, depths, lights, row, picture)
        _filter(picture, t, first, past, buffer, frames)
