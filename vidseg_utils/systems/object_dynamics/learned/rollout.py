"""Roll the interaction network out: find the contacts within each frame, and let the network compute their impulses."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Integer
from torch import Tensor, nn

from vidseg_utils.classes import material_code
from vidseg_utils.models.interaction_network import Contacts, Objects
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.contact import pair_geometry, pairs_by_kind
from vidseg_utils.systems.object_dynamics.physics.rigid_body import WATCH_FRAMES, Worlds, may_touch
from vidseg_utils.world.solids import OBJECT_RADIUS, VERTICAL_INERTIA, WIDEST_RADIUS

CONTACT_GAP = 0.02  # world units: a pair whose gap stays wider during a frame is no contact
CONTACT_SEARCH_STEPS = 2  # steps of conservative advancement towards the moment of contact
_CONTACT_SIZES = PhysicsConstants(half_side=OBJECT_RADIUS, radius=OBJECT_RADIUS)


def objects_from_worlds(worlds: Worlds, class_ids: Integer[np.ndarray, "M N"]) -> Objects:
    """Worlds as the network takes them. class_ids: 0 in empty slots."""

    def floats(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).float()

    return Objects(
        torch.from_numpy(worlds.shape.astype(np.int64)),
        torch.from_numpy(material_code(np.maximum(class_ids, 1))),
        floats(VERTICAL_INERTIA[worlds.shape]),
        torch.from_numpy(worlds.active.copy()),
        *(floats(values) for values in (worlds.position, worlds.velocity, worlds.yaw, worlds.spin)),
    )


@torch.inference_mode()
def advance_with_network(
    worlds: Worlds, frames: int, network: nn.Module, class_ids: Integer[np.ndarray, "M N"]
) -> None:
    """Move the worlds on by `frames` video frames, as `rigid_body.advance` does with fitted physics."""
    objects = objects_from_worlds(worlds, class_ids)
    for moved in roll_out_objects(network, objects, frames):
        objects = moved
    copy_state(objects, worlds)


def copy_state(objects: Objects, worlds: Worlds) -> None:
    """Give the worlds the objects' state, in place."""
    for name in ("position", "velocity", "yaw", "spin"):
        getattr(worlds, name)[:] = getattr(objects, name).numpy()


def roll_out_objects(network: nn.Module, objects: Objects, frames: int) -> Iterator[Objects]:
    """Yields the objects after each of `frames` video frames."""
    pairs = np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    for frame in range(frames):
        if frame % WATCH_FRAMES == 0:
            pairs = nearby_pairs(objects, min(WATCH_FRAMES, frames - frame))
        objects = network(objects, find_contacts(objects, pairs))
        yield objects


def nearby_pairs(objects: Objects, frames: int) -> tuple[Integer[np.ndarray, " P"], Integer[np.ndarray, " P"]]:
    """The pairs of active objects that may touch within that many frames, as two indices into the M * N objects."""
    slots = objects.active.shape[1]
    first, second = np.triu_indices(slots, 1)
    active = objects.active.cpu().numpy()
    world, pair = np.nonzero(active[:, first] & active[:, second])
    a, b = world * slots + first[pair], world * slots + second[pair]
    return _only_near(objects, a, b, frames)


def _only_near(objects: Objects, a: np.ndarray, b: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (a, b) that may touch within that many frames."""
    position, velocity = (_complex(values) for values in (objects.position, objects.velocity))
    reach = WIDEST_RADIUS[_flat(objects.shape)]
    near = np.flatnonzero(may_touch(position, velocity, a, b, reach[a] + reach[b], frames=frames))
    return a[near], b[near]


def find_contacts(objects: Objects, pairs: tuple[Integer[np.ndarray, " P"], Integer[np.ndarray, " P"]]) -> Contacts:
    """Which of the pairs touch in the coming frame, when and where (conservative advancement: Mirtich, 1996)."""
    shape = _flat(objects.shape)
    position, velocity = (_complex(values) for values in (objects.position, objects.velocity))
    yaw, spin = (_flat(values).astype(float) for values in (objects.yaw, objects.spin))
    a, b = _only_near(objects, *pairs, frames=1)
    count, both = len(a), np.concatenate([a, b])
    if not count:
        none = torch.zeros(0, dtype=torch.long)
        return Contacts(none, none, torch.zeros(0), torch.zeros(0), *(torch.zeros(0, 2) for _ in range(3)))
    pairs_of_kinds = pairs_by_kind(shape[both], np.arange(count), np.arange(count) + count)

    def geometry_at(time: np.ndarray) -> tuple[np.ndarray, ...]:
        """`PairGeometry` of each pair at its own time (count,), and the positions of the two bodies of each pair."""
        body_time = np.tile(time, 2)
        moved = position[both] + body_time * velocity[both]
        turned = yaw[both] + body_time * spin[both]
        parts = pair_geometry(moved, turned, pairs_of_kinds, _CONTACT_SIZES)
        return *(np.concatenate(column) for column in zip(*parts, strict=True)), moved

    time = np.zeros(count)  # of each pair's contact, in frames
    for _ in range(CONTACT_SEARCH_STEPS):
        i, j, overlap, normal, point, moved = geometry_at(time)
        ends = [velocity[both[end]] + 1j * spin[both[end]] * (point - moved[end]) for end in (i, j)]
        approach = np.maximum(-((ends[1] - ends[0]) * normal.conj()).real, 1e-6)
        time[i % count] = np.clip(time[i % count] - overlap / approach, 0, 1)
    i, j, overlap, normal, point, moved = geometry_at(time)
    hit = np.flatnonzero(overlap > -CONTACT_GAP)
    device = objects.position.device

    def floats(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values[hit]).float().to(device)

    return Contacts(
        torch.from_numpy(both[i][hit]).to(device),
        torch.from_numpy(both[j][hit]).to(device),
        floats(time[i % count]),
        floats(-overlap),
        *(floats(vectors.view(float).reshape(-1, 2)) for vectors in (normal, point - moved[i], point - moved[j])),
    )


def _flat(values: Tensor) -> np.ndarray:
    """(M, N, ...) -> (M * N, ...) without its gradient."""
    return values.detach().flatten(0, 1).cpu().numpy()


def _complex(vectors: Tensor) -> np.ndarray:
    """(M, N, 2) -> (M * N,) complex numbers x + iy, as `contact` takes them."""
    return _flat(vectors).astype(float).view(complex)[:, 0]
