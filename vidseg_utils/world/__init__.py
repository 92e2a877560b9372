"""The world behind the pictures: the camera, the three solids and their silhouettes, and how objects move in time."""

from vidseg_utils.world.camera import CAMERA_POSITION, FOCAL_LENGTH, camera_matrix, project, unproject
from vidseg_utils.world.label_offset import COURSE_LABELS, DEFAULT_LABELS, EXACT_LABELS, LABELS, LabelOffset
from vidseg_utils.world.mask_drawing import draw_masks
from vidseg_utils.world.solids import CUBE, CYLINDER, OBJECT_RADIUS, SPHERE, VISIBLE_HALF_SIZE
from vidseg_utils.world.trajectory import Collision, Trajectory, read_annotation, write_annotation

__all__ = [
    "CAMERA_POSITION",
    "COURSE_LABELS",
    "CUBE",
    "CYLINDER",
    "DEFAULT_LABELS",
    "EXACT_LABELS",
    "FOCAL_LENGTH",
    "LABELS",
    "OBJECT_RADIUS",
    "SPHERE",
    "VISIBLE_HALF_SIZE",
    "Collision",
    "LabelOffset",
    "Trajectory",
    "camera_matrix",
    "draw_masks",
    "project",
    "read_annotation",
    "unproject",
    "write_annotation",
]
