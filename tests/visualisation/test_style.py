"""Proves that a saved figure is small, complete, and in the folder from which the README shows it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from vidseg_utils.visualisation import style
from vidseg_utils.visualisation.style import MAX_FIGURE_BYTES, class_colour, figure_png, save_figure, use_style


@pytest.fixture(autouse=True)
def styled(home):
    use_style()
    yield
    plt.close("all")


def noise(size):
    figure, ax = plt.subplots(figsize=(size, size))
    ax.imshow(np.random.default_rng(0).random((size * 100, size * 100, 3)))
    return figure


def test_save_figure_writes_a_png_at_100_dpi(home):
    figure, ax = plt.subplots(figsize=(4, 3))
    ax.plot([0, 1], [0, 1])
    path = save_figure(figure, "00_line")
    assert path == home / "figures" / "00_line.png"
    with Image.open(path) as picture:
        assert abs(picture.width - 400) < 20 and abs(picture.height - 300) < 20
    assert [entry.name for entry in path.parent.iterdir()] == ["00_line.png"]


def test_a_figure_with_much_detail_gets_fewer_colours_until_it_fits(home):
    figure = noise(4)
    assert len(figure_png(figure)) > MAX_FIGURE_BYTES / 1.5
    assert save_figure(figure, "busy").stat().st_size <= MAX_FIGURE_BYTES


def test_a_figure_that_is_too_large_is_refused_and_not_written(home, monkeypatch):
    monkeypatch.setattr(style, "MAX_FIGURE_BYTES", 10_000)
    with pytest.raises(ValueError, match=r"figure 'huge' takes \d+ kB, more than 10 kB"):
        save_figure(noise(2), "huge")
    assert not (home / "figures").exists() or not list((home / "figures").iterdir())


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a.png"])
def test_a_name_that_is_not_a_plain_file_name_is_refused(name):
    with pytest.raises(ValueError, match="is not a plain file name"):
        save_figure(plt.figure(), name)


def test_each_class_has_its_own_colour():
    assert class_colour(0) == (0, 0, 0)
    assert len({class_colour(i) for i in range(49)}) == 49
    with pytest.raises(ValueError, match="class id 49 has no colour"):
        class_colour(49)
