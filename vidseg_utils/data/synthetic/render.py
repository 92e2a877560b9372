"""Pictures and masks of a trajectory, ray cast through CLEVRER's camera.

A mask's pixel is the class in the ray through its centre, unblended. A frame is antialiased: four rays a pixel. Only
pixels that an object or its shadow can touch are worked on; the rest is the empty floor. What is left out: objects do
not mirror or shade each other.
"""

import numpy as np
import torch

from vidseg_utils.data.annotation import Trajectory
from vidseg_utils.data.synthetic.casting import (
    HALF_SIZE,
    Rays,
    camera_rays,
    cast_masks,
    cast_rays,
    check_objects,
    enter_depths,
    pixels_within,
)
from vidseg_utils.data.synthetic.floor import build_floor, lamp_places, shadow_rectangles
from vidseg_utils.data.synthetic.lighting import (
    SUN_DISTANCE,
    dot,
    hidden_sky,
    lamp_light,
    light_colours,
    local_normal,
    shade_metal,
    shade_rubber,
    shadow,
    to_picture,
    unit,
)
from vidseg_utils.data.synthetic.look import LOOK, Look, look_tensors, material_of

__all__ = ["cast_masks", "render_masks", "render_video"]

FRAMES_AT_ONCE = 32
OFFSETS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25), (0.0, 0.0))  # the last is for the mask
NOISE_LEVELS = 0.8  # standard deviation of the sensor's noise, of 255
NOISE_SHIFT = 16  # pixels by which its pattern may shift from frame to frame


def render_masks(
    trajectory: Trajectory, *, height: int = 160, width: int = 240, device: torch.device | str = "cpu"
) -> np.ndarray:
    """(T, H, W) uint8 class ids of every frame of the trajectory; the nearest object wins."""
    return cast_masks(
        trajectory.class_ids, trajectory.positions, trajectory.rotations, height=height, width=width, device=device
    )


def render_video(
    trajectory: Trajectory,
    *,
    height: int = 160,
    width: int = 240,
    noise_seed: int | None = None,
    device: torch.device | str = "cpu",
    look: Look = LOOK,
) -> tuple[np.ndarray, np.ndarray]:
    """(T, 3, H, W) uint8 frames and (T, H, W) uint8 masks; `noise_seed` adds mild sensor noise of that seed."""
    positions, rotations = np.asarray(trajectory.positions, float), np.asarray(trajectory.rotations, float)
    shapes = check_objects(trajectory.class_ids, positions, rotations)
    frames, masks = [], []
    for start in range(0, len(positions), FRAMES_AT_ONCE):
        some = slice(start, start + FRAMES_AT_ONCE)
        picture = _Pictures(
            trajectory.class_ids, shapes, positions[some], rotations[some], height, width, torch.device(device), look
        )
        frames.append(picture.frames())
        masks.append(picture.masks())
    if not frames:
        return np.zeros((0, 3, height, width), np.uint8), np.zeros((0, height, width), np.uint8)
    frames, masks = np.concatenate(frames), np.concatenate(masks)
    return frames if noise_seed is None else add_noise(frames, noise_seed), masks


def add_noise(frames: np.ndarray, seed: int) -> np.ndarray:
    """The same fixed pattern in every frame, a little shifted. frames: (T, 3, H, W) uint8; returns the same."""
    rng = np.random.default_rng(seed)
    height, width = frames.shape[-2:]
    size = (height + NOISE_SHIFT, width + NOISE_SHIFT)
    grain = NOISE_LEVELS * rng.standard_normal(size, dtype=np.float32)
    grain = np.round(grain + 0.4 * NOISE_LEVELS * rng.standard_normal((3, *size), dtype=np.float32)).astype(np.int16)
    shifts = rng.integers(0, NOISE_SHIFT + 1, (len(frames), 2))
    noisy = np.stack([grain[:, y : y + height, x : x + width] for y, x in shifts])
    noisy += frames
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


class _Pictures:
    """F pictures of the same N objects. Touched pixels are numbered: `slot` maps a picture's pixel to its number."""

    def __init__(self, class_ids, shapes, positions, rotations, height, width, device, look) -> None:
        self.class_ids, self.shapes, self.positions, self.rotations = class_ids, shapes, positions, rotations
        self.size, self.device, self.look = {"height": height, "width": width}, device, look_tensors(device, look)
        self.floor = build_floor(height, width, device, look)
        self.shape = (len(positions), height, width)
        self.shadows = [shadow_rectangles(s, positions[:, n], **self.size, look=look) for n, s in enumerate(shapes)]
        self.lamps = [lamp_places(positions[:, n], look) for n in range(len(shapes))]
        self.rays = [
            cast_rays(s, positions[:, n], rotations[:, n], **self.size, device=device, offsets=OFFSETS)
            for n, s in enumerate(shapes)
        ]
        self._find_touched()
        self._find_owners()

    def _find_touched(self) -> None:
        touched = np.zeros(self.shape, dtype=bool)
        for rectangles in self.shadows:
            for row in rectangles.tolist():
                for t, (x0, x1, y0, y1) in enumerate(row):
                    touched[t, y0:y1, x0:x1] = True
        touched = torch.as_tensor(touched).to(self.device).view(-1)
        for rays in self.rays:
            touched[rays.pixels.place] = True
        self.touched = touched.nonzero()[:, 0]  # (K,) places
        self.slot = touched.cumsum(0) - 1  # (F * H * W,)

    def _find_owners(self) -> None:
        """(K, 5) which object each ray hits first, -1 for the floor; and the depths there."""
        nearest = torch.full((len(self.touched), len(OFFSETS)), torch.inf, device=self.device)
        self.owner = torch.full(nearest.shape, -1, dtype=torch.int8, device=self.device)
        self.slots, self.depths = [], []
        for n, rays in enumerate(self.rays):
            slot, depth = self.slot.index_select(0, rays.pixels.place), enter_depths(rays)
            before = nearest.index_select(0, slot)
            closer = depth < before
            nearest[slot] = torch.where(closer, depth, before)
            self.owner[slot] = self.owner.index_select(0, slot).masked_fill_(closer, n)
            self.slots.append(slot)
            self.depths.append(depth)

    def masks(self) -> np.ndarray:
        """(F, H, W) uint8."""
        ids = torch.as_tensor([0, *np.asarray(self.class_ids).tolist()], dtype=torch.uint8, device=self.device)
        masks = torch.zeros(self.shape, dtype=torch.uint8, device=self.device)
        masks.view(-1)[self.touched] = ids[self.owner[:, -1].long() + 1]
        return masks.cpu().numpy()

    def frames(self) -> np.ndarray:
        """(F, 3, H, W) uint8."""
        count, height, width = self.shape
        light, covered = self._shaded_floor(), torch.zeros(len(self.touched), device=self.device)
        objects = torch.zeros_like(light)
        for n, rays in enumerate(self.rays):
            if len(rays.pixels.place):
                self._add_object(n, rays, objects, covered)
        light = to_picture(light * (1 - covered) + objects).round().to(torch.uint8)
        frames = self.floor.picture.expand(count, 3, height * width).clone()
        frame, pixel = self.touched // (height * width), self.touched % (height * width)
        for k in range(3):
            frames.view(-1)[(3 * frame + k) * (height * width) + pixel] = light[k]
        return frames.view(count, 3, height, width).cpu().numpy()

    def _shaded_floor(self) -> torch.Tensor:
        """(3, K) linear light of the floor with the objects' shadows on it."""
        look, height, width = self.look, self.size["height"], self.size["width"]
        seen = torch.ones((5, len(self.touched)), device=self.device)  # share of each light
        bounced = torch.zeros((3, len(self.touched)), device=self.device)
        radii = torch.cat([look.lamp_radii[:3], look.lamp_radii[3:] * SUN_DISTANCE])
        for n, shape in enumerate(self.shapes):
            material, colour = material_of(int(self.class_ids[n]))
            bounce = 0.25 * look.floor_bounce[0 if material == "metal" else 1]
            gain = look.metal_gain if material == "metal" else look.rubber_gain
            colour = gain * bounce * torch.as_tensor(colour, device=self.device)
            positions, rotations = np.nan_to_num(self.positions[:, n]), np.nan_to_num(self.rotations[:, n])
            for lamp, rectangles in enumerate(self.shadows[n]):
                pixels = pixels_within(rectangles, **self.size, device=self.device)
                if not len(pixels.place):
                    continue
                slot = self.slot.index_select(0, pixels.place)
                x, y = self.floor.place.index_select(1, pixels.y * width + pixels.x)
                if lamp < 4:
                    inverse = np.swapaxes(rotations, 1, 2)
                    centre = (inverse @ -positions[:, :, None])[..., 0]  # the world's origin in the object's frame
                    place = (inverse @ (np.nan_to_num(self.lamps[n][lamp]) - positions)[:, :, None])[..., 0]
                    table = np.concatenate([inverse[:, :, :2].reshape(-1, 6), centre, place], axis=1)
                    t = torch.as_tensor(table.T, dtype=torch.float32).to(self.device).index_select(1, pixels.frame)
                    point = tuple(t[2 * k] * x + t[2 * k + 1] * y + t[6 + k] for k in range(3))
                    step = tuple(t[9 + k] - point[k] for k in range(3))
                    hidden = shadow(shape, HALF_SIZE[shape], point, step, radii[lamp])
                else:
                    centre = torch.as_tensor(positions.T, dtype=torch.float32).to(self.device)
                    cx, cy, cz = centre.index_select(1, pixels.frame)
                    sky = hidden_sky((x - cx, y - cy, -cz), 0.2)
                    bounced[:, slot] += colour[:, None] * sky
                    hidden = (look.ambient_occlusion * sky).clamp_max(1)
                seen[lamp][slot] *= 1 - hidden
        seen *= self.floor.light.index_select(1, self.touched % (height * width))
        return light_colours(look) @ seen + bounced

    def _add_object(self, n: int, rays: Rays, objects: torch.Tensor, covered: torch.Tensor) -> None:
        """Add an object's visible part to `objects` (3, K) linear light, and its share of pixels to `covered` (K,)."""
        slot = self.slots[n]
        visible = self.owner.index_select(0, slot)[:, :4] == n
        keep = visible.any(1).nonzero()[:, 0]
        visible, slot, frame = visible[keep].float(), slot[keep], rays.pixels.frame[keep]
        depth = self.depths[n][keep][:, :4].nan_to_num(posinf=5.0)
        local = tuple(o[keep] + depth * d[keep][:, :4] for o, d in zip(rays.origin, rays.direction, strict=True))
        normal = local_normal(rays.shape, local, HALF_SIZE[rays.shape], self.look)

        turn = torch.as_tensor(self.rotations[:, n].reshape(-1, 9).T, dtype=torch.float32).to(self.device)
        turn = turn.nan_to_num().index_select(1, frame)  # (9, P)
        position = torch.as_tensor(self.positions[:, n].T, dtype=torch.float32).to(self.device).nan_to_num()
        strength, towards = lamp_light(position, self.look)
        share = 0.25 * visible
        material, colour = material_of(int(self.class_ids[n]))
        colour = torch.as_tensor(colour, device=self.device)
        if material == "rubber":  # matt, so one colour a pixel will do, that of its mean normal
            mean = torch.stack([(share * part).sum(1) for part in normal])
            mean = unit(torch.stack([dot(turn[3 * k : 3 * k + 3], mean) for k in range(3)]))
            lamps = (towards * strength[:, None]).reshape(12, -1).index_select(1, frame).view(4, 3, -1)
            light = shade_rubber(mean, lamps, colour, self.look) * share.sum(1)
        else:
            turn = turn[:, :, None]
            normal = torch.stack([dot(turn[3 * k : 3 * k + 3], normal) for k in range(3)])
            normal = unit(normal)
            to_world, camera = (torch.as_tensor(a, dtype=torch.float32) for a in camera_rays(**self.size))
            offsets = torch.tensor(OFFSETS[:4], device=self.device) + 0.5
            x = rays.pixels.x[keep][:, None] + offsets[:, 0]
            y = rays.pixels.y[keep][:, None] + offsets[:, 1]
            view = torch.stack([to_world[k, 0] * x + to_world[k, 1] * y + to_world[k, 2] for k in range(3)])
            point = tuple(camera[k] + depth * view[k] for k in range(3))
            view = unit(view)
            reflected = view - 2 * dot(view, normal) * normal
            lamps = towards.reshape(12, -1).index_select(1, frame).view(4, 3, -1, 1)
            centre = position[:2].index_select(1, frame)[:, :, None]
            light = shade_metal(point, reflected, lamps, centre, colour, self.floor.reflection, rays.shape, self.look)
            light = (light.clamp(0, 1) * share).sum(2)
        objects[:, slot] += light
        covered[slot] += share.sum(1)
