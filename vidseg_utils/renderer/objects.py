"""One object in the frames of a video: the pixels it covers, and the light that comes from it.

An object at rest looks the same in many frames, unless it is metal and mirrors an object that moves. So its light is
computed once a view: a pose of its own together with the poses of the objects that it mirrors.
Shapes: F frames, V views, U windows of h x w pixels, S rays a pixel, N blocks of P pixels (`pixel_blocks`).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vidseg_utils.classes import class_attributes
from vidseg_utils.renderer.appearance import appearance_tensors, material_and_colour
from vidseg_utils.renderer.ground import build_ground
from vidseg_utils.renderer.lights import Vector, dot, lamp_light, mirrored, unit
from vidseg_utils.renderer.pixel_blocks import build_pixel_blocks
from vidseg_utils.renderer.rays import camera_rays, cast_rays, entry_depths, float_tensors, sample_positions
from vidseg_utils.renderer.reflections import MirroredObject, add_mirror_images
from vidseg_utils.renderer.shading import BOUNCE_SCALE, lid_highlights, shade_metal, shade_rubber, surface_normal
from vidseg_utils.renderer.shadows import ObjectShadows
from vidseg_utils.renderer.windows import WindowBatch, batch_windows, bounding_rectangles
from vidseg_utils.world.solids import visible_half_size

# Poses that differ by less, in world units and in entries of the rotation matrix (about radians), count as one: this is
# less than a twentieth of a pixel.
SAME_POSITION, SAME_ROTATION = 5e-4, 2e-3
MIRRORED_TOLERANCE = 10.0  # times as much for an object that is seen in a mirror only
# The rays of a pixel: (x, y) from its centre, in pixels. No two share a row or a column, so the pictures of upright and
# level edges have steps of a quarter. A fifth ray gains 0.2 dB on the pixels of objects and takes 10 % longer.
ANTIALIASING = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))
LID_NORMAL_Z = 0.97  # a cylinder's surface whose normal has a larger z is its lid, without the rim
MAX_DEPTH = 10.0  # world units: depth at which a ray that misses the object ends, so that all numbers stay finite


class WindowLight(NamedTuple):
    """What the rays through a batch of windows hit, and the G frames that show these windows."""

    frames: Int[Tensor, "G"]
    pixels: Int[Tensor, "G hw"]  # indices into a flattened frame
    windows: Int[Tensor, "G"]  # which of the U windows each frame shows
    depth: Float[Tensor, "S U hw"]  # of the object along each ray; infinity where it misses
    light: Float[Tensor, "3 U hw"]  # linear, the mean over the rays that hit


class RenderedObject:
    """An object of class `class_id` in F frames, at `positions` and `rotations` (object -> world).

    mirrored: the objects that it mirrors if it is metal, in the same F frames
    """

    def __init__(
        self,
        class_id: int,
        positions: Float[np.ndarray, "F 3"],
        rotations: Float[np.ndarray, "F 3 3"],
        *,
        mirrored: Sequence[MirroredObject] = (),
        height: int,
        width: int,
        device: torch.device | str,
    ) -> None:
        self.shape = class_attributes(class_id)[0]
        self.half_size = visible_half_size(self.shape)
        self.material, colour = material_and_colour(class_id)
        self.colour = torch.as_tensor(colour).to(device)
        self.size, self.device = {"height": height, "width": width}, device
        self.appearance = appearance_tensors(device)
        self.ground, self.blocks = build_ground(height, width, device), build_pixel_blocks(height, width, device)
        is_new_pose = is_new_view = _is_new_pose(positions, rotations)
        poses = positions[is_new_pose], rotations[is_new_pose], np.cumsum(is_new_pose) - 1
        self.shadows = ObjectShadows(self.shape, *poses, **self.size, device=device)
        for other in mirrored:
            is_new_view = is_new_view | _is_new_pose(other.positions, other.rotations, tolerance=MIRRORED_TOLERANCE)
        self.view_of_frame = np.cumsum(is_new_view) - 1  # (F,) 0..V-1
        self.positions, self.rotations = positions[is_new_view], rotations[is_new_view]  # (V, 3), (V, 3, 3)
        self.mirrored = [other.select(is_new_view) for other in mirrored]
        margin_px = max(max(abs(x), abs(y)) for x, y in ANTIALIASING)
        pose = self.positions, self.rotations
        self.rectangles = bounding_rectangles(self.shape, *pose, **self.size, margin_px=margin_px)  # (V, 4)

    def mark_touched_pixels(self, touched: Bool[np.ndarray, "F H W"]) -> None:
        """Set to True, in place, the pixels that the object or its shadows can touch."""
        shadows = self.shadows.rectangles[:, self.shadows.pose_of_frame]
        for rectangles in (self.rectangles[self.view_of_frame], *shadows):
            for picture, (x0, x1, y0, y1) in zip(touched, rectangles.tolist(), strict=True):
                picture[y0:y1, x0:x1] = True

    def covered_blocks(self) -> Bool[np.ndarray, "F N"]:
        """The blocks that the object can cover."""
        return self.blocks.overlap_rectangles(self.rectangles)[self.view_of_frame]

    def window_lights(self) -> Iterator[WindowLight]:
        """Cast the object's rays, one batch of windows after the other."""
        for windows in batch_windows(self.rectangles, **self.size, device=self.device):
            rays = cast_rays(self.shape, windows, self.positions, self.rotations, **self.size, offsets=ANTIALIASING)
            depth = entry_depths(rays)
            share = torch.isfinite(depth).float()  # of each ray in its pixel's mean: 0 for a ray that misses
            share *= 1 / share.sum(0).clamp_min(1)
            finite_depth = depth.clamp_max(MAX_DEPTH)
            local = tuple(o + finite_depth * d for o, d in zip(rays.origin, rays.direction, strict=True))
            light = self._light(windows, finite_depth, local, share)
            frames, window_index, pixels = windows.pixel_indices(self.view_of_frame, width=self.size["width"])
            frames = torch.as_tensor(frames).to(self.device)
            yield WindowLight(frames, pixels, window_index, depth.flatten(2), light.flatten(2))

    def _light(self, windows: WindowBatch, depth: Tensor, local: Vector, share: Tensor) -> Tensor:
        """(3, U, h, w) linear light of each pixel. local: points of the rays in the object's frame, (S, U, h, w) each;
        depth, share: (S, U, h, w).
        """
        position, rotation = float_tensors(
            self.device, self.positions[windows.poses].T, self.rotations[windows.poses].transpose(1, 2, 0)
        )
        strength, to_lamps = lamp_light(position, self.appearance)  # (4, U), (4, 3, U)
        normal = surface_normal(self.shape, local, self.half_size, self.appearance)
        rotation = rotation[..., None, None]  # (3, 3, U, 1, 1)
        if self.material == "rubber":  # it is matt, so one colour a pixel is enough: that of its mean normal
            mean_normal = tuple((share * part).sum(0) for part in normal)
            mean_normal = unit([dot(row, mean_normal) for row in rotation])
            lamps = (to_lamps * strength[:, None])[..., None, None]
            return shade_rubber(mean_normal, lamps, self.colour, self.appearance)
        normal = unit([dot(row, normal) for row in rotation])
        to_world, camera = (array.tolist() for array in camera_rays(**self.size))
        x, y = sample_positions(windows, ANTIALIASING)
        direction = [row[0] * x + (row[1] * y + row[2]) for row in to_world]
        point = [c + depth * d for c, d in zip(camera, direction, strict=True)]
        direction = unit(direction)
        reflected = mirrored(direction, normal)
        light = shade_metal(
            point,
            reflected,
            lamps=to_lamps[..., None, None],
            centre=position[:2, :, None, None],
            colour=self.colour,
            ground_colour=self.ground.reflected_colour,
            shape=self.shape,
            appearance=self.appearance,
        )
        if self.shape == "cylinder":
            self._add_lid_highlights(light, point, direction, normal[2], lamps=to_lamps, centre=position[:2])
        if self.mirrored:
            add_mirror_images(
                light,
                point,
                reflected,
                others=self.mirrored,
                views=windows.poses,
                colour=self.colour,
                ground_colour=self.ground.reflected_colour,
                appearance=self.appearance,
            )
        return (light.clamp_(0, 1) * share).sum(1)

    def _add_lid_highlights(
        self, light: Tensor, point: Vector, direction: Vector, normal_z: Tensor, *, lamps: Tensor, centre: Tensor
    ) -> None:
        """Add the highlights of a standing cylinder's lid to light (3, S, U, h, w), in place.

        lamps: (4, 3, U); centre: (2, U); the rest as in `_light`
        """
        rays = (normal_z.reshape(-1) > LID_NORMAL_Z).nonzero()[:, 0]
        _, n_views, height, width = normal_z.shape
        view = rays // (height * width) % n_views
        point, direction = (
            [part.expand(normal_z.shape).reshape(-1).index_select(0, rays) for part in vector]
            for vector in (point, direction)
        )
        lamps, centre = lamps.index_select(2, view), centre.index_select(1, view)
        highlights = lid_highlights(point, direction, lamps=lamps, centre=centre, appearance=self.appearance)
        tint = (self.appearance.metal_gain * self.colour)[:, None]
        light.view(3, -1).index_add_(1, rays, tint * highlights)

    def bounced_colour(self) -> Float[Tensor, "3"]:
        """Linear light that the object would reflect onto the ground at a point where it hides the whole sky."""
        metal = self.material == "metal"
        gain = self.appearance.metal_gain if metal else self.appearance.rubber_gain
        return BOUNCE_SCALE * gain * self.appearance.ground_bounce[0 if metal else 1] * self.colour


def _is_new_pose(positions: np.ndarray, rotations: np.ndarray, tolerance: float = 1.0) -> np.ndarray:
    """(F,) whether each frame starts a new pose. A frame is compared with the start of the pose, so drift adds up."""
    is_new = np.ones(len(positions), dtype=bool)
    start = 0
    for frame in range(1, len(positions)):
        moved = np.abs(positions[frame] - positions[start]).max()
        turned = np.abs(rotations[frame] - rotations[start]).max()
        if moved < tolerance * SAME_POSITION and turned < tolerance * SAME_ROTATION:  # False for NaN
            is_new[frame] = False
        else:
            start = frame
    return is_new
