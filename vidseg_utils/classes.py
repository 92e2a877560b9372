"""The 49 classes: background, and every (shape, material, colour) of the CLEVRER world.

No two objects of one video share a class, so a class id is also an object's identity through time.
"""

import colorsys

import numpy as np

SHAPES = ("cube", "sphere", "cylinder")
MATERIALS = ("metal", "rubber")
COLOURS = ("gray", "red", "blue", "green", "brown", "cyan", "purple", "yellow")
COLOUR_RGB = (
    (87, 87, 87),
    (173, 35, 35),
    (42, 75, 215),
    (29, 105, 20),
    (129, 74, 25),
    (41, 208, 208),
    (129, 38, 192),
    (255, 238, 51),
)
BACKGROUND = 0
N_CLASSES = 1 + len(SHAPES) * len(MATERIALS) * len(COLOURS)  # 49
IGNORE_INDEX = 255  # pixels with this label count neither in a loss nor in a score


def class_id(shape: str, material: str, colour: str) -> int:
    """The id (1..48) of an object's class. Raises ValueError for a name that is not in the world."""
    for value, choices, kind in (
        (shape, SHAPES, "shape"),
        (material, MATERIALS, "material"),
        (colour, COLOURS, "colour"),
    ):
        if value not in choices:
            raise ValueError(f"unknown {kind} {value!r}; choose from {list(choices)}")
    return 1 + SHAPES.index(shape) * 16 + MATERIALS.index(material) * 8 + COLOURS.index(colour)


def shape_code(class_ids: np.ndarray) -> np.ndarray:
    """Position in SHAPES of each object's shape: ids 1..48 of any array shape -> ints 0..2."""
    return (np.asarray(class_ids).astype(int) - 1) // (len(MATERIALS) * len(COLOURS))


def material_code(class_ids: np.ndarray) -> np.ndarray:
    """Position in MATERIALS of each object's material: ids 1..48 of any array shape -> ints 0..1."""
    return (np.asarray(class_ids).astype(int) - 1) // len(COLOURS) % len(MATERIALS)


def class_attributes(class_id: int) -> tuple[str, str, str]:
    """(shape, material, colour) of an object's class id (1..48); the inverse of `class_id`."""
    if not 1 <= class_id < N_CLASSES:
        raise ValueError(f"class id {class_id} is no object; ids run from 1 to {N_CLASSES - 1}")
    shape, rest = divmod(int(class_id) - 1, 16)
    material, colour = divmod(rest, 8)
    return SHAPES[shape], MATERIALS[material], COLOURS[colour]


def class_name(class_id: int) -> str:
    """Such as "red metal cube", or "background" for 0."""
    if class_id == BACKGROUND:
        return "background"
    shape, material, colour = class_attributes(class_id)
    return f"{colour} {material} {shape}"


def _palette() -> np.ndarray:
    """The real object colours; metal lighter than rubber, and each shape a step of lightness apart."""
    palette = [(0, 0, 0)]
    for id_ in range(1, N_CLASSES):
        shape, material, colour = class_attributes(id_)
        hue, lightness, saturation = colorsys.rgb_to_hls(*(v / 255 for v in COLOUR_RGB[COLOURS.index(colour)]))
        lightness += 0.07 * (SHAPES.index(shape) - 1) + (0.12 if material == "metal" else 0.0)
        rgb = colorsys.hls_to_rgb(hue, min(max(lightness, 0.12), 0.88), saturation)
        palette.append(tuple(round(255 * v) for v in rgb))
    return np.array(palette, dtype=np.uint8)


PALETTE = _palette()  # (49, 3) uint8 RGB, all different; background is black
PALETTE.setflags(write=False)
