"""Proves that the class table is that of the course: ids, names and colours are unique and convert both ways."""

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


def test_ids_follow_the_formula_of_the_course():
    assert class_id("cube", "metal", "gray") == 1
    assert class_id("sphere", "rubber", "blue") == 1 + 16 + 8 + 2
    assert class_id("cylinder", "rubber", "yellow") == 48


def test_ids_and_attributes_convert_both_ways():
    ids = [class_id(s, m, c) for s in SHAPES for m in MATERIALS for c in COLOURS]
    assert ids == list(range(1, N_CLASSES))
    assert [class_id(*class_attributes(i)) for i in ids] == ids
    assert len({class_name(i) for i in range(N_CLASSES)}) == N_CLASSES


def test_each_class_has_its_own_colour_in_the_palette():
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
