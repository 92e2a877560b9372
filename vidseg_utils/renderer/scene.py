"""What drawing needs to know of the objects of a video, computed for all frames at once."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from vidseg_utils.classes import MATERIALS, N_CLASSES, material_code, shape_code
from vidseg_utils.renderer.appearance import bounced_colours, linear_colours
from vidseg_utils.renderer.lights import lamp_light, lamp_positions
from vidseg_utils.renderer.rectangles import object_rectangles, shadow_rectangles
from vidseg_utils.world.camera import camera_matrix

# The rays of a pixel: (x, y) from its centre, in pixels. No two share a row or a column, so the pictures of upright and
# level edges have steps of a quarter. A fifth ray gains 0.2 dB on the pixels of objects and takes 10 % longer.
ANTIALIASING = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))
SKY, OBJECT = 4, 5  # indices of rectangles of a `Scene`: those of the sky's shadow and of the object itself


class Objects(NamedTuple):
    """The N objects of a video of T frames. Lengths are world units."""

    class_ids: Int[np.ndarray, "N"]  # 1..48
    shapes: Int[np.ndarray, "N"]  # codes of `solids`
    positions: Float[np.ndarray, "T N 3"]  # NaN where absent
    rotations: Float[np.ndarray, "T N 3 3"]  # object -> world


class Scene(NamedTuple):
    """All that the pictures of N objects in T frames depend on. Lengths are world units."""

    shapes: Int[np.ndarray, "N"]  # codes of `solids`
    is_metal: Bool[np.ndarray, "N"]
    colours: Float[np.ndarray, "N 3"]  # see `linear_colours`
    bounced_colours: Float[np.ndarray, "N 3"]
    positions: Float[np.ndarray, "T N 3"]
    rotations: Float[np.ndarray, "T N 3 3"]  # object -> world
    origins: Float[np.ndarray, "T N 3"]  # the camera's position in the object's frame
    slopes: Float[np.ndarray, "T N 3 3"]  # from a pixel's [x, y, 1] to its ray's direction in the object's frame
    lamps: Float[np.ndarray, "T N 4 4"]  # see `lamp_light`
    lamp_positions: Float[np.ndarray, "T N 4 3"]
    rectangles: Int[np.ndarray, "T N 6 4"]  # of the shadows that key, fill, back, sun and sky make, and of the object
    camera_rays: Float[np.ndarray, "3 3"]  # from a pixel's [x, y, 1] to its ray's direction, one unit of depth long
    camera: Float[np.ndarray, "3"]  # its position


def check_objects(class_ids: np.ndarray, positions: np.ndarray, rotations: np.ndarray) -> Objects:
    """The objects; those without a finite pose are absent.

    Raises ValueError for class ids that are no objects and for arrays that do not fit together.
    """
    ids = np.asarray(class_ids)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"class_ids are {ids.dtype} of shape {ids.shape}; expected integers of shape (objects,)")
    if ids.size and not (ids.min() >= 1 and ids.max() < N_CLASSES):
        raise ValueError(f"class_ids range from {ids.min()} to {ids.max()}; objects have 1 to {N_CLASSES - 1}")
    positions, rotations = (np.array(array, dtype=float, order="C") for array in (positions, rotations))
    expected = (len(positions), len(ids), 3)
    if positions.shape != expected or rotations.shape != (*expected, 3):
        raise ValueError(
            f"positions {positions.shape} and rotations {rotations.shape} do not fit {len(ids)} objects; "
            f"expected (T, {len(ids)}, 3) and (T, {len(ids)}, 3, 3)"
        )
    finite = np.isfinite(positions).all(axis=-1) & np.isfinite(rotations).all(axis=(-2, -1))
    positions[~finite] = rotations[~finite] = np.nan
    return Objects(ids.astype(np.int64), shape_code(ids).astype(np.int64), positions, rotations)


def build_scene(objects: Objects, *, height: int, width: int) -> Scene:
    """The scene of those objects, for frames of that size."""
    shapes, positions, rotations = objects.shapes, objects.positions, objects.rotations
    size = {"height": height, "width": width}
    colours, is_metal = linear_colours(objects.class_ids), material_code(objects.class_ids) == MATERIALS.index("metal")
    margin_px = max(max(abs(x), abs(y)) for x, y in ANTIALIASING)
    own = object_rectangles(shapes, positions, rotations, **size, margin_px=margin_px)
    rectangles = np.concatenate([shadow_rectangles(shapes, positions, **size), own[:, :, None]], axis=2)
    origins, slopes = own_rays(positions, rotations, **size)
    rays, camera = camera_rays(height, width)
    return Scene(
        shapes=shapes,
        is_metal=is_metal,
        colours=colours,
        bounced_colours=bounced_colours(colours, is_metal),
        positions=positions,
        rotations=rotations,
        origins=origins,
        slopes=slopes,
        lamps=lamp_light(positions),
        lamp_positions=lamp_positions(positions),
        rectangles=rectangles,
        camera_rays=rays,
        camera=camera,
    )


def camera_rays(height: int, width: int) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """Matrix from a pixel's [x, y, 1] to its ray's direction (one unit of depth long), and the camera's position."""
    matrix = camera_matrix(height, width)
    to_world = np.linalg.inv(matrix[:, :3])
    return to_world, -to_world @ matrix[:, 3]


def own_rays(
    positions: Float[np.ndarray, "T N 3"], rotations: Float[np.ndarray, "T N 3 3"], *, height: int, width: int
) -> tuple[Float[np.ndarray, "T N 3"], Float[np.ndarray, "T N 3 3"]]:
    """The camera's rays in each object's frame: `origins` and `slopes` of a `Scene`."""
    to_world, camera = camera_rays(height, width)
    to_own = np.swapaxes(rotations, -1, -2)
    origins = (to_own @ (camera - positions)[..., None])[..., 0]
    return np.ascontiguousarray(origins), np.ascontiguousarray(to_own @ to_world)
