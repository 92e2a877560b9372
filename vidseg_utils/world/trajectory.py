"""The truth behind a video: every object's pose in every video frame, and every collision, in CLEVRER's JSON format.

Generated and imported videos carry the same file, so both kinds of truth have this one reader.
Format: Yi et al., CLEVRER (ICLR 2020), `annotation_*.json`.
"""

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from vidseg_utils.classes import class_attributes, class_id
from vidseg_utils.paths import read_json, write_json


@dataclass(frozen=True)
class Collision:
    """Two objects meet: the video frame, their two places in the trajectory, and where (x, y, z) in world units."""

    frame: int
    objects: tuple[int, int]
    location: tuple[float, float, float]


@dataclass(frozen=True)
class Trajectory:
    """Poses of N objects in T video frames. World units; +x towards the viewer, +y to the right, the floor is z = 0."""

    class_ids: np.ndarray  # (N,) uint8, 1..48, all different
    positions: np.ndarray  # (T, N, 3) centres
    rotations: np.ndarray  # (T, N, 3, 3) object -> world; a cylinder's axis is its own y, as in CLEVRER
    velocities: np.ndarray  # (T, N, 3) units a second
    angular_velocities: np.ndarray  # (T, N, 3) radians a second
    in_view: np.ndarray  # (T, N) bool
    collisions: tuple[Collision, ...] = ()

    def at(self, frames: tuple[int, ...]) -> "Trajectory":
        """The same objects in those video frames only, such as CLIP_VIDEO_FRAMES; collisions keep their frame numbers.

        Raises ValueError for a frame that the trajectory does not have.
        """
        index = list(frames)
        if index and not 0 <= min(index) <= max(index) < len(self.positions):
            raise ValueError(f"the trajectory has {len(self.positions)} frames; frame {max(index)} is not among them")
        per_frame = ("positions", "rotations", "velocities", "angular_velocities", "in_view")
        return Trajectory(self.class_ids, *(getattr(self, name)[index] for name in per_frame), self.collisions)


def read_annotation(path: Path | str) -> Trajectory:
    """Read one annotation file. Raises ValueError that names the file and what is wrong with it."""
    value = read_json(path)
    try:
        return _from_json(value)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
        reason = f"missing {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is not a CLEVRER annotation: {reason[:200]}") from None


def _from_json(value: dict) -> Trajectory:
    properties = value["object_property"]
    order = {int(entry["object_id"]): place for place, entry in enumerate(properties)}
    class_ids = np.array([class_id(e["shape"], e["material"], e["color"]) for e in properties], dtype=np.uint8)
    if len(order) != len(properties):
        raise ValueError("two objects have the same object_id")
    if not 0 < len(properties) < 49:
        raise ValueError(f"{len(properties)} objects; expected 1 to 48")

    trajectory = value["motion_trajectory"]
    if not trajectory:
        raise ValueError("motion_trajectory is empty")
    poses = np.full((len(trajectory), len(properties), 4, 3), np.nan)
    in_view = np.zeros((len(trajectory), len(properties)), dtype=bool)
    for t, frame in enumerate(trajectory):
        if frame.get("frame_id", t) != t:
            raise ValueError(f"frame {t} of motion_trajectory says that it is frame {frame['frame_id']}")
        for entry in frame["objects"]:
            n = order[int(entry["object_id"])]
            pose = [entry[key] for key in ("location", "orientation", "velocity", "angular_velocity")]
            if any(len(vector) != 3 for vector in pose):
                raise ValueError(f"object {n} has a vector without three numbers in frame {t}")
            poses[t, n] = pose
            in_view[t, n] = bool(entry["inside_camera_view"])
    if not np.isfinite(poses).all():
        t, n = np.argwhere(~np.isfinite(poses).all(axis=(2, 3)))[0]
        raise ValueError(f"object {n} has no finite pose in frame {t}")
    collisions = tuple(_collision(entry, order, frames=len(trajectory)) for entry in value["collision"])
    rotations = Rotation.from_euler("xyz", poses[:, :, 1].reshape(-1, 3)).as_matrix()
    return Trajectory(
        class_ids,
        positions=poses[:, :, 0],
        rotations=rotations.reshape(*in_view.shape, 3, 3),
        velocities=poses[:, :, 2],
        angular_velocities=poses[:, :, 3],
        in_view=in_view,
        collisions=collisions,
    )


def _collision(entry: dict, order: dict[int, int], *, frames: int) -> Collision:
    frame, first, second = int(entry["frame_id"]), *(order[int(i)] for i in entry["object_ids"])
    location = np.array(entry["location"], dtype=float)
    if not 0 <= frame < frames or first == second:
        raise ValueError("a collision is of two objects in one of the frames")
    if location.shape != (3,) or not np.isfinite(location).all():
        raise ValueError("a collision's location is not three finite numbers")
    return Collision(frame, (first, second), tuple(location.tolist()))


def write_annotation(path: Path | str, annotation: Trajectory | Path, *, number: int) -> None:
    """Write the annotation of video `number`: a trajectory, rounded to 4 decimals as in CLEVRER's own files, or a copy
    of such a file.
    """
    if isinstance(annotation, Trajectory):
        write_json(path, _to_json(annotation, number), indent=None)
    else:
        shutil.copyfile(annotation, path)


def _to_json(trajectory: Trajectory, number: int) -> dict:
    frames, objects = trajectory.in_view.shape
    with warnings.catch_warnings():  # an object on its side has many angles; any of them will do
        warnings.filterwarnings("ignore", message="Gimbal lock")
        eulers = Rotation.from_matrix(trajectory.rotations.reshape(-1, 3, 3)).as_euler("xyz")
    eulers = eulers.reshape(frames, objects, 3)
    columns = {
        "location": trajectory.positions,
        "orientation": eulers,
        "velocity": trajectory.velocities,
        "angular_velocity": trajectory.angular_velocities,
    }
    columns = {key: np.round(array, 4).tolist() for key, array in columns.items()}
    properties = []
    for n, id_ in enumerate(trajectory.class_ids.tolist()):
        shape, material, colour = class_attributes(id_)
        properties.append({"object_id": n, "color": colour, "material": material, "shape": shape})
    motion = [
        {
            "frame_id": t,
            "objects": [
                {"object_id": n}
                | {key: column[t][n] for key, column in columns.items()}
                | {"inside_camera_view": bool(trajectory.in_view[t, n])}
                for n in range(objects)
            ],
        }
        for t in range(frames)
    ]
    collisions = [
        {"object_ids": list(c.objects), "frame_id": c.frame, "location": [round(float(v), 4) for v in c.location]}
        for c in trajectory.collisions
    ]
    return {
        "scene_index": number,
        "video_filename": f"video_{number:05d}.mp4",
        "object_property": properties,
        "motion_trajectory": motion,
        "collision": collisions,
    }
