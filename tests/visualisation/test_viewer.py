"""Proves that a packed clip holds what was given, that wrong input is refused, and what a cell displays."""

import base64
import io
import json
import zlib

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from vidseg_utils.progress import WIDGET_VIEW
from vidseg_utils.visualisation import pack_clip, view
from vidseg_utils.visualisation.overlays import ERROR_KINDS
from vidseg_utils.visualisation.viewer import widget
from vidseg_utils.visualisation.viewer.packing import NO_MASK, compress_clip
from vidseg_utils.world import Trajectory


@pytest.fixture
def frames():
    return np.full((22, 3, 16, 24), 90, dtype=np.uint8)


@pytest.fixture
def masks():
    masks = np.zeros((22, 16, 24), dtype=np.uint8)
    masks[:, 2:8, 2:8], masks[:, 9:12, 9:12] = 11, 48
    return masks


def unpacked_mask(clip, name):
    return np.frombuffer(zlib.decompress(base64.b64decode(clip["masks"][name])), np.uint8).reshape(
        clip["frames"], clip["height"], clip["width"]
    )


def test_a_packed_clip_holds_frames_masks_classes_and_the_kinds_of_errors(frames, masks):
    clip = json.loads(json.dumps(pack_clip(frames, masks, title="video 3")))
    assert (clip["frames"], clip["height"], clip["width"], clip["past"], clip["title"]) == (22, 16, 24, 11, "video 3")
    picture = Image.open(io.BytesIO(base64.b64decode(clip["images"]["frames"][0])))
    assert picture.format == "WEBP" and np.abs(np.asarray(picture.convert("RGB")).astype(int) - 90).max() < 4
    assert (unpacked_mask(clip, "truth") == masks).all() and clip["truth"] == "truth"
    assert [entry["name"] for entry in clip["classes"]] == ["blue rubber cube", "yellow rubber cylinder"]
    assert [entry["name"] for entry in clip["errors"]] == list(ERROR_KINDS)
    assert clip["panels"] == [{"title": "", "note": "", "images": "frames", "mask": "truth"}]


def test_a_short_mask_is_that_of_the_last_frames(frames, masks):
    clip = pack_clip(frames, {"truth": masks, "forecast": masks[-1], "outlook": masks[11:]})
    for name, missing in (("forecast", 21), ("outlook", 11)):
        mask = unpacked_mask(clip, name)
        assert (mask[:missing] == NO_MASK).all() and (mask[missing:] == masks[missing:]).all()


def test_a_clip_of_another_length_is_all_given_and_needs_no_frames(masks):
    clip = pack_clip(None, {"network": masks[:5]})
    assert clip["past"] == 5 and clip["images"] == {} and clip["truth"] is None


def test_the_speed_of_an_object_is_the_length_of_its_velocity_in_the_frames_of_the_clip(frames, masks):
    still = np.zeros((128, 1, 3))
    moving = np.repeat(np.arange(128.0)[:, None, None], 3, axis=2) * [0.6, 0.8, 0]
    rotations = np.broadcast_to(np.eye(3), (128, 1, 3, 3))
    video = Trajectory(np.array([11]), still, rotations, moving, still, np.ones((128, 1), dtype=bool))
    assert pack_clip(frames, masks, trajectory=video)["speeds"] == {"11": [float(6 * t) for t in range(22)]}


def test_frames_and_masks_that_do_not_fit_are_refused(frames, masks):
    with pytest.raises(ValueError, match="one length and one size"):
        pack_clip(frames, masks[:, :8])
    with pytest.raises(ValueError, match="has 22 frames, the clip has 21"):
        pack_clip(frames[:21], masks)
    with pytest.raises(ValueError, match="names what is not there"):
        pack_clip(frames, masks, panels=[{"mask": "forecast"}])
    with pytest.raises(ValueError, match=r"frame 22 is not in 0\.\.21"):
        view(frames, masks, frame=22)
    with pytest.raises(ValueError, match="opacity 2 "):
        view(frames, masks, opacity=2)


def test_several_masks_or_versions_of_the_frames_stand_side_by_side(frames, masks):
    by_mask = view(frames, {"truth": masks, "U-Net": masks}, side_by_side=True).clip
    assert [(p["title"], p["images"], p["mask"]) for p in by_mask["panels"]] == [
        ("truth", "frames", "truth"),
        ("U-Net", "frames", "U-Net"),
    ]
    by_frames = view({"drawn": frames, "true": frames}, side_by_side=True).clip
    assert [(p["images"], p["mask"]) for p in by_frames["panels"]] == [("drawn", None), ("true", None)]


def test_a_cell_shows_the_picture_and_with_a_kernel_the_widget_after_it(frames, masks, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    viewed = view(frames, masks, title="video 3")
    viewed._ipython_display_()
    assert [set(bundle) for bundle in shown] == [{"text/plain", "image/png"}]
    assert shown[0]["image/png"].startswith(b"\x89PNG\r\n") and shown[0]["text/plain"] == repr(viewed)
    monkeypatch.setattr(widget, "has_kernel", lambda: True)
    viewed._ipython_display_()
    assert [set(bundle) for bundle in shown[1:]] == [
        {"text/plain", "image/png"},
        {"text/plain", WIDGET_VIEW},
    ]
    assert not plt.get_fignums()


def test_what_a_saved_viewer_adds_to_a_notebook_is_small(frames, masks):
    living = view(frames, masks).widget()
    state = living.get_state()
    assert json.loads(zlib.decompress(state["clip"])) == pack_clip(frames, masks)
    assert len(state["_esm"]) < 60_000 and len(compress_clip(pack_clip(frames, masks))) < 5_000
