"""The class table is the course's: ids, names and colours, each unique, each way and back."""

import numpy as np
import pytest

from vidseg_utils.classes import (
    COLOURS,
    MATERIALS,
    N_CLASSES,
    PALETTE,
    SHAPES,
    class_attributes,
    class_id,
    class_name,
)


def test_ids_follow_the_course_formula():
    assert class_id("cube", "metal", "gray") == 1
    assert class_id("sphere", "rubber", "blue") == 1 + 16 + 8 + 2
    assert class_id("cylinder", "rubber", "yellow") == 48


def test_every_id_names_one_class_and_comes_back():
    ids = [class_id(s, m, c) for s in SHAPES for m in MATERIALS for c in COLOURS]
    assert ids == list(range(1, N_CLASSES))
    assert [class_id(*class_attributes(i)) for i in ids] == ids
    assert len({class_name(i) for i in range(N_CLASSES)}) == N_CLASSES


def test_palette_has_a_colour_of_its_own_for_each_class():
    assert PALETTE.shape == (49, 3)
    assert PALETTE.dtype == np.uint8
    assert len({tuple(rgb) for rgb in PALETTE.tolist()}) == N_CLASSES


def test_unknown_names_and_ids_are_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"unknown shape 'cone'; choose from \['cube', 'sphere', 'cylinder'\]"):
        class_id("cone", "metal", "gray")
    with pytest.raises(ValueError, match="class id 49"):
        class_attributes(49)
    with pytest.raises(ValueError, match="class id 0"):
        class_attributes(0)
