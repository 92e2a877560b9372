"""The mirror images of near objects in metal: one bounce, without mirror images in the mirror images.

Light that a metal surface mirrors comes from the ground, the sky and other objects. Only rays that may hit another
object are followed to it. Shapes: S rays a pixel, U windows of h x w pixels.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vidseg_utils.classes import class_attributes
from vidseg_utils.renderer.appearance import linear_colours
from vidseg_utils.renderer.groups import ObjectGroup, PosedObjects
from vidseg_utils.renderer.lights import Vector, dot, lamp_light, mirrored, unit
from vidseg_utils.renderer.rays import Rays, entry_depths, float_tensors
from vidseg_utils.renderer.shading import shade_metal, shade_rubber, surface_normal
from vidseg_utils.world.solids import OBJECT_RADIUS, visible_half_size

MIRROR_REACH = 1.0  # world units between two objects' centres; mirror images of objects farther away are left out
# Radius of a ball around an object, world units: a little more than half a diagonal.
BALL_RADIUS = {"cube": 3**0.5 * OBJECT_RADIUS, "sphere": OBJECT_RADIUS, "cylinder": 2**0.5 * OBJECT_RADIUS}


@dataclass(frozen=True)
class MirroredObjects:
    """Objects of one shape and material that metal objects may mirror: at most one in each frame, or in each view."""

    shape: str
    material: str
    colours: Float[np.ndarray, "*frames 3"]  # see `linear_colours`
    is_near: Bool[np.ndarray, "*frames"]
    positions: Float[np.ndarray, "*frames 3"]  # 0 where none is near
    rotations: Float[np.ndarray, "*frames 3 3"]  # object -> world; 0 where none is near

    def select(self, views: Bool[np.ndarray, "*frames"]) -> "MirroredObjects":
        """The same objects in some of the frames."""
        arrays = self.colours, self.is_near, self.positions, self.rotations
        return MirroredObjects(self.shape, self.material, *(array[views] for array in arrays))


def near_objects(group: ObjectGroup, videos: Sequence[PosedObjects]) -> list[MirroredObjects]:
    """The objects that come near to the group's objects, each in the video of that object."""
    n_videos, n_frames = group.positions.shape[:2]
    found: dict[tuple, MirroredObjects] = {}  # shape, material and how many of them came before in the video
    for row, (video, index) in enumerate(zip(group.videos, group.indices, strict=True)):
        objects, n_seen = videos[video], Counter()
        distance = np.linalg.norm(objects.positions - objects.positions[:, index, None], axis=2)  # NaN if absent
        with np.errstate(invalid="ignore"):
            is_near = distance < MIRROR_REACH
        is_near[:, index] = False
        for n in is_near.any(axis=0).nonzero()[0]:
            kind = class_attributes(int(objects.class_ids[n]))[:2]
            key = *kind, n_seen[kind]
            n_seen[kind] += 1
            if key not in found:
                shape = n_videos, n_frames
                zeros = (np.zeros((*shape, *size)) for size in ((3,), (3, 3)))
                found[key] = MirroredObjects(*kind, np.zeros((*shape, 3), np.float32), np.zeros(shape, bool), *zeros)
            near = is_near[:, n]
            found[key].colours[row] = linear_colours(objects.class_ids[n : n + 1])[:, 0]
            found[key].is_near[row] = near
            found[key].positions[row, near] = objects.positions[near, n]
            found[key].rotations[row, near] = objects.rotations[near, n]
    return [found[key] for key in sorted(found)]


def add_mirror_images(
    light: Float[Tensor, "3 S U h w"],
    point: Vector,
    reflected: Vector,
    *,
    others: list[MirroredObjects],
    views: Int[np.ndarray, "U"],
    colours: Float[Tensor, "3 U"],
    ground_colour: Callable[[Tensor, Tensor], Tensor],
    appearance: SimpleNamespace,
) -> None:
    """Replace the light of mirrored rays that hit another object.

    light: it is changed in place
    point: world positions on the metal surface, and reflected: unit directions of the mirrored rays, (S, U, h, w) each
    views: the view that each window shows; colours: of the metal in it; ground_colour: as for `shade_metal`
    """
    n_views, height, width = light.shape[2:]
    view_of_pixel = torch.arange(n_views, device=light.device).repeat_interleave(height * width)
    flat_light = light.view(3, -1)
    nearest = torch.full((flat_light.shape[1],), torch.inf, device=light.device)
    strength = appearance.metal_gain * appearance.object_reflection * colours
    for other in others:
        if not other.is_near[views].any():
            continue
        rays = _rays_towards(other, views, point, reflected)
        if not len(rays):
            continue
        view = view_of_pixel.index_select(0, rays % len(view_of_pixel))
        start, direction = (
            [part.reshape(-1).index_select(0, rays) for part in vector] for vector in (point, reflected)
        )
        depth, other_light = _cast(other, views, view, start, direction, ground_colour, appearance)
        hit = ((depth > 0) & (depth < nearest.index_select(0, rays))).nonzero()[:, 0]
        rays, view = rays.index_select(0, hit), view.index_select(0, hit)
        nearest.index_copy_(0, rays, depth.index_select(0, hit))
        flat_light.index_copy_(1, rays, strength.index_select(1, view) * other_light.index_select(1, hit))


def _rays_towards(other: MirroredObjects, views: np.ndarray, point: Vector, reflected: Vector) -> Tensor:
    """Flat indices of the rays that pass the other object's centre within the radius of a ball around it.

    The first ray of each pixel is tested, and decides for all of them.
    """
    radius = BALL_RADIUS[other.shape]
    device = reflected[0].device
    centre = torch.as_tensor(other.positions[views].T).to(device, torch.float32)[:, :, None, None]
    is_near = torch.as_tensor(other.is_near[views]).to(device)[:, None, None]
    to_centre = [c - p[0] for c, p in zip(centre, point, strict=True)]
    along = dot(to_centre, [part[0] for part in reflected])
    passes = (dot(to_centre, to_centre) - along * along < radius**2) & (along > 0) & is_near
    pixels, n_rays = passes.view(-1).nonzero()[:, 0], len(reflected[0])
    return (torch.arange(n_rays, device=device)[:, None] * passes.numel() + pixels).view(-1)


def _cast(
    other: MirroredObjects,
    views: np.ndarray,
    view: Tensor,
    start: Sequence[Tensor],
    direction: Sequence[Tensor],
    ground_colour: Callable[[Tensor, Tensor], Tensor],
    appearance: SimpleNamespace,
) -> tuple[Tensor, Tensor]:
    """Depth at which each of K rays enters the other object, infinity where it misses, and its linear light there.

    view: (K,) index into `views`
    """
    half_size = visible_half_size(other.shape)
    positions, rotations, colours = float_tensors(
        view.device, other.positions[views].T, other.rotations[views].transpose(1, 2, 0), other.colours[views].T
    )
    colour = colours.index_select(1, view)  # (3, K)
    centre, rotation = positions.index_select(1, view), rotations.index_select(2, view)  # (3, K), (3, 3, K)
    from_centre = [p - c for p, c in zip(start, centre, strict=True)]
    columns = rotation.transpose(0, 1)  # of the matrix object -> world
    origin, local_direction = (tuple(dot(column, v) for column in columns) for v in (from_centre, direction))
    depth = entry_depths(Rays(other.shape, origin, local_direction))
    finite_depth = depth.nan_to_num(posinf=0.0)
    local = tuple(o + finite_depth * d for o, d in zip(origin, local_direction, strict=True))
    normal = surface_normal(other.shape, local, half_size, appearance)
    normal = unit([dot(row, normal) for row in rotation])
    strength, to_lamps = lamp_light(positions, appearance)  # (4, U), (4, 3, U)
    if other.material == "rubber":
        lamps = (to_lamps * strength[:, None]).index_select(2, view)
        return depth, shade_rubber(normal, lamps, colour, appearance)
    light = shade_metal(
        [p + finite_depth * d for p, d in zip(start, direction, strict=True)],
        mirrored(direction, normal),
        lamps=to_lamps.index_select(2, view),
        centre=centre[:2],
        colour=colour,
        ground_colour=ground_colour,
        shape=other.shape,
        appearance=appearance,
    )
    return depth, light.clamp(0, 1)
