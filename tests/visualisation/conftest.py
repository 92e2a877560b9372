"""Axes to draw into."""

import matplotlib.pyplot as plt
import pytest


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    figure.canvas.draw()  # must draw without a warning
    plt.close(figure)
