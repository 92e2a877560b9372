"""Ground truth of a video: every object's pose in every video frame, and every collision, in CLEVRER's JSON format.

Generated and imported videos carry the same kind of file, so one reader serves both.
Format: Yi et al., CLEVRER (ICLR 2020), `annotation_*.json`.
"""

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.spatial.transform import Rotation

from vidseg_utils.classes import N_CLASSES, class_attributes, class_id
from vidseg_utils.paths import read_json, write_json

MAX_FRAMES = 10_000  # of an annotation that is read; CLEVRER's have 128
MAX_VALUE = 1e6  # of a coordinate, an angle or a speed; CLEVRER's scenes are 20 units wide
DECIMALS = 4  # of every number in an annotation, as in CLEVRER's own files


@dataclass(frozen=True)
class Collision:
    """Two objects meet."""

    frame: int  # video frame
    objects: tuple[int, int]  # indices into the trajectory's objects
    location: tuple[float, float, float]  # x, y, z in world units


@dataclass(frozen=True)
class Trajectory:
    """Poses of N objects in T video frames.

    World units; +x points towards the viewer, +y to the right, +z up, and the ground is z = 0.
    """

    class_ids: Integer[np.ndarray, "N"]  # 1..48, all different; uint8 where read or simulated
    positions: Float[np.ndarray, "T N 3"]  # centres
    rotations: Float[np.ndarray, "T N 3 3"]  # object -> world; a cylinder's axis is its own y, as in CLEVRER
    velocities: Float[np.ndarray, "T N 3"]  # units a second
    angular_velocities: Float[np.ndarray, "T N 3"]  # radians a second
    in_view: Bool[np.ndarray, "T N"]  # whether a part of the object is inside the picture, even if it is hidden
    collisions: tuple[Collision, ...] = ()

    def select_frames(self, frames: tuple[int, ...]) -> "Trajectory":
        """The same objects in those video frames only, such as CLIP_VIDEO_FRAMES.

        Collisions are all kept, with their original frame numbers.
        Raises ValueError for a frame that the trajectory does not have.
        """
        index = list(frames)
        if index and not 0 <= min(index) <= max(index) < len(self.positions):
            wrong = next(frame for frame in index if not 0 <= frame < len(self.positions))
            raise ValueError(f"the trajectory has {len(self.positions)} frames; frame {wrong} is not among them")
        return Trajectory(
            self.class_ids,
            positions=self.positions[index],
            rotations=self.rotations[index],
            velocities=self.velocities[index],
            angular_velocities=self.angular_velocities[index],
            in_view=self.in_view[index],
            collisions=self.collisions,
        )


def read_annotation(path: Path | str) -> Trajectory:
    """Read one annotation file. Raises ValueError that names the file and what is wrong with it."""
    value = read_json(path)
    try:
        return _from_json(value)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
        reason = f"missing {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is not a CLEVRER annotation: {reason[:200]}") from None


def write_annotation(path: Path | str, annotation: Trajectory | Path, *, number: int) -> None:
    """Write the annotation of video `number`: from a trajectory, or as a copy of an existing annotation file."""
    if isinstance(annotation, Trajectory):
        write_json(path, _to_json(annotation, number), indent=None)
    else:
        shutil.copyfile(annotation, path)


def _from_json(value: dict) -> Trajectory:
    properties = value["object_property"]
    index_of_id = {int(entry["object_id"]): index for index, entry in enumerate(properties)}
    class_ids = np.array([class_id(e["shape"], e["material"], e["color"]) for e in properties], dtype=np.uint8)
    if len(index_of_id) != len(properties):
        raise ValueError("two objects have the same object_id")
    if not 0 < len(properties) < N_CLASSES:
        raise ValueError(f"{len(properties)} objects; expected 1 to {N_CLASSES - 1}")

    motion = value["motion_trajectory"]
    if not motion:
        raise ValueError("motion_trajectory is empty")
    if len(motion) > MAX_FRAMES:
        raise ValueError(f"{len(motion)} frames; at most {MAX_FRAMES} are read")
    poses = np.full((len(motion), len(properties), 4, 3), np.nan)
    in_view = np.zeros((len(motion), len(properties)), dtype=bool)
    for t, frame in enumerate(motion):
        if frame.get("frame_id", t) != t:
            raise ValueError(f"frame {t} of motion_trajectory says that it is frame {frame['frame_id']}")
        for entry in frame["objects"]:
            n = index_of_id[int(entry["object_id"])]
            pose = [entry[key] for key in ("location", "orientation", "velocity", "angular_velocity")]
            if any(len(vector) != 3 for vector in pose):
                raise ValueError(f"object {n} has a vector without three numbers in frame {t}")
            poses[t, n] = pose
            in_view[t, n] = bool(entry["inside_camera_view"])
    if not np.isfinite(poses).all():
        t, n = np.argwhere(~np.isfinite(poses).all(axis=(2, 3)))[0]
        raise ValueError(f"object {n} has no finite pose in frame {t}")
    if (too_large := np.abs(poses) > MAX_VALUE).any():
        t, n = np.argwhere(too_large.any(axis=(2, 3)))[0]
        raise ValueError(f"object {n} has a value beyond {MAX_VALUE:g} in frame {t}: {np.abs(poses[t, n]).max():g}")
    collisions = tuple(_collision_from_json(entry, index_of_id, frames=len(motion)) for entry in value["collision"])
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


def _collision_from_json(entry: dict, index_of_id: dict[int, int], *, frames: int) -> Collision:
    frame, first, second = int(entry["frame_id"]), *(index_of_id[int(id_)] for id_ in entry["object_ids"])
    location = np.array(entry["location"], dtype=float)
    if not 0 <= frame < frames or first == second:
        raise ValueError("a collision is not of two objects in one of the frames")
    if location.shape != (3,) or not (np.abs(location) <= MAX_VALUE).all():
        raise ValueError(f"a collision's location is not three numbers within {MAX_VALUE:g}")
    return Collision(frame, (first, second), tuple(location.tolist()))


def _to_json(trajectory: Trajectory, number: int) -> dict:
    n_frames, n_objects = trajectory.in_view.shape
    with warnings.catch_warnings():  # an object on its side has many Euler angles; any of them is right
        warnings.filterwarnings("ignore", message="Gimbal lock")
        eulers = Rotation.from_matrix(np.array(trajectory.rotations.reshape(-1, 3, 3))).as_euler("xyz")
    columns = {
        "location": trajectory.positions,
        "orientation": eulers.reshape(n_frames, n_objects, 3),
        "velocity": trajectory.velocities,
        "angular_velocity": trajectory.angular_velocities,
    }
    columns = {key: np.round(array, DECIMALS).tolist() for key, array in columns.items()}
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
                for n in range(n_objects)
            ],
        }
        for t in range(n_frames)
    ]
    collisions = [
        {
            "object_ids": list(collision.objects),
            "frame_id": collision.frame,
            "location": [round(float(x), DECIMALS) for x in collision.location],
        }
        for collision in trajectory.collisions
    ]
    return {
        "scene_index": number,
        "video_filename": f"video_{number:05d}.mp4",
        "object_property": properties,
        "motion_trajectory": motion,
        "collision": collisions,
    }
