"""The CLEVRER camera, exact and the same for every video: world <-> pixel.

Pixel = M [x y z 1], divided by its third row. M holds for 480x320 pictures; other sizes scale its first two rows.
Pixel coordinates have (0, 0) at the outer corner of the first pixel, whose centre is (0.5, 0.5).
"""

import numpy as np
from jaxtyping import Float

from vidseg_utils.task import HEIGHT, WIDTH

CAMERA_POSITION = np.array([4.3301, 0.0, 2.5])
FOCAL_LENGTH = 525 / 320  # in heights of the picture
MIN_DEPTH = 0.5  # world units: points nearer to the camera, or behind it, count as out of view
_MATRIX_480x320 = np.array(
    [
        [-207.8461, FOCAL_LENGTH * 320, -120.0, 1200.0],
        [123.9359, 0.0, -534.6633, 800.0],
        [-0.8660254, 0.0, -0.5, 5.0],
    ]
)


def camera_matrix(height: int = HEIGHT, width: int = WIDTH) -> Float[np.ndarray, "3 4"]:
    """Projection from world units to pixels of a picture of that size."""
    return _MATRIX_480x320 * np.array([[width / 480], [height / 320], [1.0]])


def project(
    points: Float[np.ndarray, "*points 3"], *, height: int = HEIGHT, width: int = WIDTH
) -> Float[np.ndarray, "*points 3"]:
    """World points to pixel x, pixel y, and depth along the view axis in world units."""
    matrix = camera_matrix(height, width)
    pixels = np.asarray(points, dtype=float) @ matrix[:, :3].T + matrix[:, 3]
    return np.concatenate([pixels[..., :2] / pixels[..., 2:], pixels[..., 2:]], axis=-1)


def unproject(
    pixels: Float[np.ndarray, "*points 2"], *, z: float = 0.0, height: int = HEIGHT, width: int = WIDTH
) -> Float[np.ndarray, "*points 2"]:
    """The world (x, y) where the ray through each pixel position meets the horizontal plane at height z."""
    matrix = camera_matrix(height, width)
    homography = np.column_stack([matrix[:, 0], matrix[:, 1], matrix[:, 2] * z + matrix[:, 3]])
    pixels = np.asarray(pixels, dtype=float)
    world = np.concatenate([pixels, np.ones_like(pixels[..., :1])], axis=-1) @ np.linalg.inv(homography).T
    return world[..., :2] / world[..., 2:]
