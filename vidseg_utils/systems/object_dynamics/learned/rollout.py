"""Roll the interaction network out: find who touches whom within each frame, let the network say what comes of it."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vidseg_utils.classes import material_code
from vidseg_utils.models.interaction_network import Contacts, InteractionNetwork, Objects
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.contact import contact_geometry
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, may_touch
from vidseg_utils.world.solids import OBJECT_RADIUS, VERTICAL_INERTIA

TOUCH = 0.02  # world units: a pair that keeps a wider gap during a frame is no contact
WATCHED = 8  # video frames for which a list of the pairs that may meet is good
_SIZES = PhysicsConstants(half_side=OBJECT_RADIUS, radius=OBJECT_RADIUS)
_WIDEST = np.array([np.sqrt(2), 1.0, 1.0]) * OBJECT_RADIUS


def objects_from_worlds(worlds: Worlds, class_ids: np.ndarray) -> Objects:
    """Worlds as the network takes them. class_ids: (M, N), 0 in empty slots."""
    shape = np.broadcast_to(worlds.shape, worlds.active.shape)
    material = material_code(np.maximum(class_ids, 1))

    def floats(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).float()

    return Objects(
        torch.from_numpy(shape.astype(np.int64)),
        torch.from_numpy(material),
        floats(VERTICAL_INERTIA[shape]),
        torch.from_numpy(worlds.active.copy()),
        *(floats(values) for values in (worlds.position, worlds.velocity, worlds.yaw, worlds.spin)),
    )


@torch.inference_mode()
def advance_with_network(worlds: Worlds, frames: int, network: InteractionNetwork, class_ids: np.ndarray) -> None:
    """Let `frames` video frames pass as the network has learned it; what `planar.advance` is to fitted physics."""
    objects = objects_from_worlds(worlds, class_ids)
    for moved in roll_out_objects(network, objects, frames):
        objects = moved
    for name in ("position", "velocity", "yaw", "spin"):
        getattr(worlds, name)[:] = getattr(objects, name).numpy()


def roll_out_objects(network: InteractionNetwork, objects: Objects, frames: int) -> Iterator[Objects]:
    """Yields the objects after each of `frames` video frames."""
    for frame in range(frames):
        if frame % WATCHED == 0:
            pairs = nearby_pairs(objects, min(WATCHED, frames - frame))
        objects = network(objects, find_contacts(objects, pairs))
        yield objects


def nearby_pairs(objects: Objects, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of active objects that may touch within so many frames: two (P,) indices through (M, N)."""
    slots = objects.active.shape[1]
    first, second = np.triu_indices(slots, 1)
    active = objects.active.cpu().numpy()
    world, pair = np.nonzero(active[:, first] & active[:, second])
    a, b = world * slots + first[pair], world * slots + second[pair]
    return _near(objects, a, b, frames)


def _near(objects: Objects, a: np.ndarray, b: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    position, velocity = (_flat(values) for values in (objects.position, objects.velocity))
    reach = _WIDEST[_flat(objects.shape)]
    near = np.flatnonzero(may_touch(position, velocity, a, b, reach[a] + reach[b], frames=frames))
    return a[near], b[near]


def find_contacts(objects: Objects, pairs: tuple[np.ndarray, np.ndarray]) -> Contacts:
    """Which of the pairs touch in the coming frame, when, and where (conservative advancement: Mirtich, 1996)."""
    shape = _flat(objects.shape)
    position, velocity, yaw, spin = (
        _flat(values).astype(float) for values in (objects.position, objects.velocity, objects.yaw, objects.spin)
    )
    a, b = _near(objects, *pairs, frames=1)
    count, both = len(a), np.concatenate([a, b])
    time = np.zeros(count)
    if not count:
        none = torch.zeros(0, dtype=torch.long)
        return Contacts(none, none, torch.zeros(0), torch.zeros(0), *(torch.zeros(0, 2) for _ in range(3)))
    for closer in (True, True, False):
        # each pair is measured at its own moment, so it is given places of its own
        moment = np.tile(time, 2)
        places, turns = position[both] + moment[:, None] * velocity[both], yaw[both] + moment * spin[both]
        mine = np.arange(count)
        parts = contact_geometry(shape[both], places, turns, mine, mine + count, _SIZES)
        i, j, overlap, normal, point = (np.concatenate(column) for column in zip(*parts, strict=True))
        arms, pair = (point - places[i], point - places[j]), i % count
        if closer:
            ends = [
                velocity[both[end]] + spin[both[end]][:, None] * np.stack([-arm[:, 1], arm[:, 0]], axis=1)
                for end, arm in zip((i, j), arms, strict=True)
            ]
            approach = np.maximum(-((ends[1] - ends[0]) * normal).sum(1), 1e-6)
            time[pair] = np.clip(time[pair] - overlap / approach, 0, 1)
    hit = np.flatnonzero(overlap > -TOUCH)
    device = objects.position.device

    def floats(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values[hit]).float().to(device)

    return Contacts(
        torch.from_numpy(both[i][hit]).to(device),
        torch.from_numpy(both[j][hit]).to(device),
        floats(time[pair]),
        floats(-overlap),
        *(floats(values) for values in (normal, *arms)),
    )


def _flat(values: Tensor) -> np.ndarray:
    """(M, N, ...) -> (M * N, ...) without its gradient."""
    return values.detach().flatten(0, 1).cpu().numpy()
