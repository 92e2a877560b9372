"""The 49 classes: background, and every combination of shape, material and colour in the CLEVRER world.

No two objects of a video have the same class, so a class id also identifies an object through the frames.
"""

import colorsys

import numpy as np

SHAPES = ("cube", "sphere", "cylinder")
MATERIALS = ("metal", "rubber")
COLOURS = ("gray", "red", "blue", "green", "brown", "cyan", "purple", "yellow")
COLOUR_RGB = (  # of COLOURS, from the CLEVR generator (properties.json)
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
IGNORE_INDEX = 255  # losses and scores leave out pixels with this label
CLASSES_PER_SHAPE = len(MATERIALS) * len(COLOURS)  # ids count colours first, then materials, then shapes


def class_id(shape: str, material: str, colour: str) -> int:
    """The id (1..48) of an object class. Raises ValueError with the choices for an unknown name."""
    for value, choices, kind in (
        (shape, SHAPES, "shape"),
        (material, MATERIALS, "material"),
        (colour, COLOURS, "colour"),
    ):
        if value not in choices:
            raise ValueError(f"unknown {kind} {value!r}; choose from {list(choices)}")
    return (
        1 + SHAPES.index(shape) * CLASSES_PER_SHAPE + MATERIALS.index(material) * len(COLOURS) + COLOURS.index(colour)
    )


def shape_code(class_ids: np.ndarray | int) -> np.ndarray:
    """Index in SHAPES (0..2) of each class id (1..48), in an array of any shape."""
    return (np.asarray(class_ids).astype(int) - 1) // CLASSES_PER_SHAPE


def material_code(class_ids: np.ndarray | int) -> np.ndarray:
    """Index in MATERIALS (0..1) of each class id (1..48), in an array of any shape."""
    return (np.asarray(class_ids).astype(int) - 1) // len(COLOURS) % len(MATERIALS)


def class_attributes(class_id: int) -> tuple[str, str, str]:
    """(shape, material, colour) of a class id (1..48); the inverse of `class_id`. Raises ValueError for another id."""
    if not 1 <= class_id < N_CLASSES:
        raise ValueError(f"class id {class_id} is not an object; object ids run from 1 to {N_CLASSES - 1}")
    shape, rest = divmod(int(class_id) - 1, CLASSES_PER_SHAPE)
    material, colour = divmod(rest, len(COLOURS))
    return SHAPES[shape], MATERIALS[material], COLOURS[colour]


def class_name(class_id: int) -> str:
    """The name of a class id (0..48), such as "red metal cube"; 0 is "background"."""
    if class_id == BACKGROUND:
        return "background"
    shape, material, colour = class_attributes(class_id)
    return f"{colour} {material} {shape}"


CLASS_NAMES = tuple(class_name(class_id) for class_id in range(N_CLASSES))


def _palette() -> np.ndarray:
    """The real object colours, with a lightness that depends on shape and material: metal is lighter than rubber."""
    palette: list[tuple[int, ...]] = [(0, 0, 0)]
    for object_id in range(1, N_CLASSES):
        shape, material, colour = class_attributes(object_id)
        hue, lightness, saturation = colorsys.rgb_to_hls(*(v / 255 for v in COLOUR_RGB[COLOURS.index(colour)]))
        lightness += 0.07 * (SHAPES.index(shape) - 1) + (0.12 if material == "metal" else 0.0)
        rgb = colorsys.hls_to_rgb(hue, min(max(lightness, 0.12), 0.88), saturation)
        palette.append(tuple(round(255 * v) for v in rgb))
    return np.array(palette, dtype=np.uint8)


PALETTE = _palette()  # (49, 3) uint8 RGB, all different; background is black
PALETTE.setflags(write=False)
