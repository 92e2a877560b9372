"""numba's types of what kernels are called with: the one signature that each is compiled for."""

from numba import types

from vidseg_utils.renderer.ground import Ground
from vidseg_utils.renderer.scene import Scene


def _arrays(entries: types.Type, *dimensions: int) -> list[types.Array]:
    return [types.Array(entries, n, "C") for n in dimensions]


INTEGERS, MASKS, FRAMES = *_arrays(types.int64, 1), *_arrays(types.uint8, 3, 4)
MATRIX, POSITIONS, ROTATIONS = _arrays(types.float64, 2, 3, 4)
(RECTANGLES,) = _arrays(types.int64, 3)
SCENE = types.NamedTuple(
    [
        INTEGERS,
        *_arrays(types.boolean, 1),
        *_arrays(types.float64, 2, 2, 3, 4, 3, 4, 4, 4),
        *_arrays(types.int64, 4),
        *_arrays(types.float64, 2, 1),
    ],
    Scene,
)
GROUND = types.NamedTuple(
    [
        *_arrays(types.float64, 1, 2, 3),
        MASKS,
        *_arrays(types.float64, 3),
        *_arrays(types.uint8, 1),
    ],
    Ground,
)
