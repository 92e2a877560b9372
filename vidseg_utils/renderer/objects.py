"""Objects of one shape and material in the frames of videos: the pixels they cover, and the light that comes from them.

An object at rest looks the same in many frames, unless it is metal and mirrors an object that moves. So its light is
computed once a view: a pose of its own together with the poses of the objects that it mirrors.
Shapes: F frames, each with one object; V views, U windows of h x w pixels, S rays a pixel, N blocks of P pixels
(`pixel_blocks`).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vidseg_utils.classes import class_attributes
from vidseg_utils.renderer.appearance import appearance_tensors, linear_colours
from vidseg_utils.renderer.ground import build_ground
from vidseg_utils.renderer.groups import ObjectGroup
from vidseg_utils.renderer.lights import Vector, dot, lamp_light, mirrored, unit
from vidseg_utils.renderer.pixel_blocks import build_pixel_blocks
from vidseg_utils.renderer.rays import camera_rays, cast_rays, entry_depths, float_tensors, sample_positions
from vidseg_utils.renderer.reflections import MirroredObjects, add_mirror_images
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

    frames: Int[Tensor, "G"]  # of the pictures
    pixels: Int[Tensor, "G hw"]  # indices into a flattened frame
    windows: Int[Tensor, "G"]  # which of the U windows each frame shows
    depth: Float[Tensor, "S U hw"]  # of the object along each ray; infinity where it misses
    light: Float[Tensor, "3 U hw"]  # linear, the mean over the rays that hit


class RenderedObjects:
    """A group's objects, all of one shape and material. `frames` are its F frames among those of the pictures.

    mirrored: the objects that they mirror if they are metal
    """

    def __init__(
        self,
        group: ObjectGroup,
        *,
        mirrored: Sequence[MirroredObjects] = (),
        height: int,
        width: int,
        device: torch.device | str,
    ) -> None:
        self.shape, self.material, _ = class_attributes(int(group.class_ids[0]))
        self.half_size, self.frames = visible_half_size(self.shape), group.frames
        colours = np.repeat(linear_colours(group.class_ids), group.positions.shape[1], axis=1)  # (3, F)
        self.size, self.device = {"height": height, "width": width}, device
        self.appearance = appearance_tensors(device)
        self.ground, self.blocks = build_ground(height, width, device), build_pixel_blocks(height, width, device)
        positions, rotations = group.positions, group.rotations
        is_new_pose = is_new_view = _is_new_pose(positions, rotations)
        poses = positions[is_new_pose], rotations[is_new_pose], np.cumsum(is_new_pose) - 1
        self.shadows = ObjectShadows(self.shape, *poses, self.frames, **self.size, device=device)
        self.pose_colours = torch.as_tensor(colours[:, is_new_pose.ravel()]).to(device)
        for other in mirrored:
            is_new_view = is_new_view | _is_new_pose(other.positions, other.rotations, tolerance=MIRRORED_TOLERANCE)
        self.view_of_frame = np.cumsum(is_new_view) - 1  # (F,) 0..V-1
        self.positions, self.rotations = positions[is_new_view], rotations[is_new_view]  # (V, 3), (V, 3, 3)
        self.colours = torch.as_tensor(colours[:, is_new_view.ravel()]).to(device)  # (3, V)
        self.mirrored = [other.select(is_new_view) for other in mirrored]
        margin_px = max(max(abs(x), abs(y)) for x, y in ANTIALIASING)
        pose = self.positions, self.rotations
        self.rectangles = bounding_rectangles(self.shape, *pose, **self.size, margin_px=margin_px)  # (V, 4)

    def mark_touched_pixels(self, touched: Bool[np.ndarray, "all_frames H W"]) -> None:
        """Set to True, in place, the pixels of the pictures that the objects or their shadows can touch."""
        shadows = self.shadows.rectangles[:, self.shadows.pose_of_frame]
        for rectangles in (self.rectangles[self.view_of_frame], *shadows):
            for frame, (x0, x1, y0, y1) in zip(self.frames.tolist(), rectangles.tolist(), strict=True):
                touched[frame, y0:y1, x0:x1] = True

    def covered_blocks(self) -> Bool[np.ndarray, "F N"]:
        """The blocks that the objects can cover."""
        return self.blocks.overlap_rectangles(self.rectangles)[self.view_of_frame]

    def window_lights(self) -> Iterator[WindowLight]:
        """Cast the objects' rays, one batch of windows after the other."""
        for windows in batch_windows(self.rectangles, **self.size, device=self.device):
            rays = cast_rays(self.shape, windows, self.positions, self.rotations, **self.size, offsets=ANTIALIASING)
            depth = entry_depths(rays)
            share = torch.isfinite(depth).float()  # of each ray in its pixel's mean: 0 for a ray that misses
            share *= 1 / share.sum(0).clamp_min(1)
            finite_depth = depth.clamp_max(MAX_DEPTH)
            local = tuple(o + finite_depth * d for o, d in zip(rays.origin, rays.direction, strict=True))
            light = self._light(windows, finite_depth, local, share)
            frames, window_index, pixels = windows.pixel_indices(self.view_of_frame, width=self.size["width"])
            frames = torch.as_tensor(self.frames[frames]).to(self.device)
            yield WindowLight(frames, pixels, window_index, depth.flatten(2), light.flatten(2))

    def _light(self, windows: WindowBatch, depth: Tensor, local: Vector, share: Tensor) -> Tensor:
        """(3, U, h, w) linear light of each pixel. local: points of the rays in the object's frame, (S, U, h, w) each;
        depth, share: (S, U, h, w).
        """
        position, rotation = float_tensors(
            self.device, self.positions[windows.poses].T, self.rotations[windows.poses].transpose(1, 2, 0)
        )
        strength, to_lamps = lamp_light(position, self.appearance)  # (4, U), (4, 3, U)
        colours = self.colours.index_select(1, torch.as_tensor(windows.poses).to(self.device))  # (3, U)
        normal = surface_normal(self.shape, local, self.half_size, self.appearance)
        rotation = rotation[..., None, None]  # (3, 3, U, 1, 1)
        if self.material == "rubber":  # it is matt, so one colour a pixel is enough: that of its mean normal
            mean_normal = tuple((share * part).sum(0) for part in normal)
            mean_normal = unit([dot(row, mean_normal) for row in rotation])
            lamps = (to_lamps * strength[:, None])[..., None, None]
            return shade_rubber(mean_normal, lamps, colours[..., None, None], self.appearance)
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
            colour=colours[..., None, None],
            ground_colour=self.ground.reflected_colour,
            shape=self.shape,
            appearance=self.appearance,
        )
        if self.shape == "cylinder":
            lid = {"lamps": to_lamps, "centre": position[:2], "colours": colours}
            self._add_lid_highlights(light, point, direction, normal[2], **lid)
        if self.mirrored:
            add_mirror_images(
                light,
                point,
                reflected,
                others=self.mirrored,
                views=windows.poses,
                colours=colours,
                ground_colour=self.ground.reflected_colour,
                appearance=self.appearance,
            )
        return (light.clamp_(0, 1) * share).sum(1)

    def _add_lid_highlights(
        self,
        light: Tensor,
        point: Vector,
        direction: Vector,
        normal_z: Tensor,
        *,
        lamps: Tensor,
        centre: Tensor,
        colours: Tensor,
    ) -> None:
        """Add the highlights of a standing cylinder's lid to light (3, S, U, h, w), in place.

        lamps: (4, 3, U); centre: (2, U); colours: (3, U); the rest as in `_light`
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
        tint = self.appearance.metal_gain * colours.index_select(1, view)
        light.view(3, -1).index_add_(1, rays, tint * highlights)

    def bounced_colours(self) -> Float[Tensor, "3 U"]:
        """Linear light that an object in each of the U poses of its shadows would reflect onto the ground at a point
        where it hides the whole sky.
        """
        metal = self.material == "metal"
        gain = self.appearance.metal_gain if metal else self.appearance.rubber_gain
        return BOUNCE_SCALE * gain * self.appearance.ground_bounce[0 if metal else 1] * self.pose_colours


def _is_new_pose(positions: np.ndarray, rotations: np.ndarray, tolerance: float = 1.0) -> np.ndarray:
    """Whether each frame starts a new pose. A frame is compared with the start of the pose, so drift adds up.

    positions: (videos, frames, 3); rotations: (videos, frames, 3, 3) -> (videos, frames)
    """
    is_new = np.ones(positions.shape[:2], dtype=bool)
    start_position, start_rotation = positions[:, :1].copy(), rotations[:, :1].copy()
    for frame in range(1, positions.shape[1]):
        now = slice(frame, frame + 1)
        moved = np.abs(positions[:, now] - start_position).max(axis=(1, 2))
        turned = np.abs(rotations[:, now] - start_rotation).max(axis=(1, 2, 3))
        is_new[:, frame] = new = ~((moved < tolerance * SAME_POSITION) & (turned < tolerance * SAME_ROTATION))  # or NaN
        start_position[new], start_rotation[new] = positions[new, now], rotations[new, now]
    return is_new
