"""Proves that the still picture is shown with and without a kernel, and that moving a slider redraws it."""

import base64

import matplotlib.pyplot as plt
import numpy as np
import pytest

from vidseg_utils.visualisation import sliders
from vidseg_utils.visualisation.sliders import WIDGET_VIEW, PlotSliders, show_clip_sliders

PNG = b"\x89PNG\r\n"


@pytest.fixture
def clip():
    frames = np.full((4, 3, 16, 24), 90, dtype=np.uint8)
    masks = np.zeros((4, 16, 24), dtype=np.uint8)
    for t in range(4):
        masks[t, 2:8, 2 + 4 * t : 8 + 4 * t] = 11
    return frames, masks


def test_without_a_kernel_only_the_still_picture_is_shown(clip):
    bundle = show_clip_sliders(*clip, frame=2)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png"}
    assert base64.b64decode(bundle["image/png"]).startswith(PNG)
    assert bundle["text/plain"] == "frame 2 of 4, overlay opacity 0.5"


def test_with_a_kernel_the_sliders_are_shown_as_well(clip, monkeypatch):
    monkeypatch.setattr(sliders, "_has_kernel", lambda: True)
    bundle = show_clip_sliders(*clip)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png", WIDGET_VIEW} and bundle[WIDGET_VIEW]["model_id"]


def test_moving_a_slider_redraws_the_picture(clip):
    frame, opacity, image = show_clip_sliders(*clip).widget().children
    first = bytes(image.value)
    frame.value = 3
    second = bytes(image.value)
    opacity.value = 1.0
    assert first.startswith(PNG) and len({first, second, bytes(image.value)}) == 3
    frame.value, opacity.value = 0, 0.5
    assert image.value == first


def test_any_plot_function_can_have_sliders_and_pyplot_keeps_no_figure():
    calls = []
    plotted = PlotSliders(lambda ax, frame, opacity: calls.append((frame, opacity)), frames=3, frame=1, opacity=0.2)
    assert plotted.png(2, 0.75).startswith(PNG) and calls == [(2, 0.75)]
    assert not plt.get_fignums()


def test_a_clip_without_masks_shows_its_frames(clip):
    assert show_clip_sliders(clip[0]).png(0, 0.5).startswith(PNG)


def test_a_first_frame_outside_the_clip_is_refused(clip):
    with pytest.raises(ValueError, match=r"frame 4 is not in 0\.\.3"):
        show_clip_sliders(*clip, frame=4)
