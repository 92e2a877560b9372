"""Proves which videos a gallery shows in which order, what it packs of them, and how it answers requests."""

import json
import zlib

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.helpers import fill_cache, moving_square
from vidseg_utils.evaluation import Evaluation
from vidseg_utils.systems import CopyLast
from vidseg_utils.systems.object_dynamics import Outlook
from vidseg_utils.visualisation import browse, compare
from vidseg_utils.visualisation.viewer.plan import pack_plan
from vidseg_utils.world import Trajectory


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    videos = [moving_square(number) for number in (0, 1, 2)]
    videos[1][2][15:, :20, :20] = 30  # a late arrival
    return fill_cache(tmp_path_factory.mktemp("data"), "val", videos)


@pytest.fixture
def answers(split):
    """Right for the first video, empty for the second, shifted for the third."""
    truth = np.array(split.masks[:, -1])
    return np.stack([truth[0], np.zeros_like(truth[1]), np.roll(truth[2], 6, axis=1)])


def packed(widget):
    return json.loads(zlib.decompress(widget.clip))


def test_videos_are_selected_by_class_late_arrivals_and_worst_score(split, answers):
    gallery = browse(split, forecasts={"guess": answers})
    assert gallery.select("all videos") == [0, 1, 2]
    assert gallery.select("blue rubber cube") == []
    assert gallery.select("gray rubber cube") == [0, 1, 2]
    assert gallery.select("late arrivals") == [1]
    assert gallery.select("worst by guess") == [1, 2, 0]
    with pytest.raises(ValueError, match="unknown selection 'best'"):
        gallery.select("best")


def test_a_request_sends_another_video_and_only_it(split):
    widget = browse(split).widget()
    assert packed(widget)["title"] == "video 0 of val" and widget.gallery["count"] == 3
    widget.request = {"selection": "all videos", "position": -1}
    assert packed(widget)["title"] == "video 2 of val" and widget.gallery["position"] == 2
    widget.request = {"selection": "late arrivals", "position": 0}
    assert (widget.gallery["number"], widget.gallery["count"]) == (1, 1)
    widget.request = {"selection": "late arrivals", "number": 2}
    assert (widget.gallery["number"], widget.gallery["selection"]) == (2, "all videos")
    widget.request = {"selection": "blue rubber cube", "position": 0}
    assert widget.gallery["count"] == 0 and packed(widget)["title"] == "video 2 of val"


class Interrupted(CopyLast):
    """A system that is interrupted once."""

    scored, fails_at = 0, -1

    def forecast_masks(self, masks):
        if self.scored == self.fails_at:
            self.fails_at = -1
            raise KeyboardInterrupt
        self.scored += 1
        return super().forecast_masks(masks)


def test_scoring_goes_on_where_it_was_interrupted_or_stopped(split, monkeypatch):
    system = Interrupted()
    gallery = compare({"slow": system}, split)
    expected = compare({"slow": CopyLast()}, split).select("worst by slow")
    widget = gallery.widget()
    system.scored, system.fails_at = 0, 0  # the shown video is forecast already
    monkeypatch.setattr("vidseg_utils.visualisation.viewer.gallery.STEP_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        gallery.select("worst by slow")
    shown = widget.clip
    widget.request = {"selection": "worst by slow", "position": 0, "count": 1}
    assert (widget.gallery["count"], widget.gallery["missing"], widget.gallery["answers"]) == (2, 1, 1)
    assert widget.clip == shown and system.scored == 1
    widget.request = {"selection": "worst by slow", "position": 0, "count": 2, "stop": True}
    assert widget.gallery["missing"] == 1 and widget.gallery["number"] == next(n for n in expected if n < 2)
    assert gallery.select("worst by slow") == expected
    widget.request = {"selection": "worst by slow", "position": 0, "count": 3}
    assert (widget.gallery["count"], widget.gallery["missing"]) == (3, 0)
    assert packed(widget)["title"] == f"video {expected[0]} of val"


def test_a_comparison_shows_each_system_beside_the_truth_with_its_score(split, answers):
    evaluation = Evaluation({}, answers, np.array(split.numbers))
    gallery = compare({"copy_last": CopyLast(), "guess": evaluation}, split)
    clip = gallery.clip(0)
    assert [panel["title"] for panel in clip["panels"]] == ["truth", "copy_last", "guess"]
    assert clip["panels"][2]["note"] == "Jaccard 1.000" and clip["panels"][1]["note"].startswith("Jaccard 0.")
    assert gallery.select("worst by guess") == [1, 2, 0]
    sorted_by = compare({"guess": CopyLast()}, split, evaluations={"guess": evaluation})
    assert sorted_by.select("worst by guess") == [1, 2, 0]
    assert gallery.still(0).startswith(b"\x89PNG\r\n") and not plt.get_fignums()


def test_a_forecast_of_objects_is_shown_from_above_with_the_true_paths():
    positions = np.tile([1.0, 2.0], (12, 1, 1))  # x towards the viewer, y to the right
    outlook = Outlook(
        np.array([9], dtype=np.uint8),
        np.zeros((11, 4, 6), dtype=np.uint8),
        positions,
        np.repeat(positions[:, None], 3, axis=1),
        np.zeros((12, 1)),
        np.zeros((1, 2)),
        np.zeros(1),
    )
    still = np.zeros((128, 2, 3))
    rotations = np.broadcast_to(np.eye(3), (128, 2, 3, 3))
    in_view = np.repeat([[True, False]], 128, axis=0)
    video = Trajectory(np.array([9, 11]), still, rotations, still, still, in_view)
    plan = json.loads(json.dumps(pack_plan("object dynamics", outlook, video)))
    (shown,) = plan["objects"]  # the other object is never in view
    assert (plan["first"], plan["last"], shown["id"]) == (10, 21, 9)
    assert shown["forecast"] == [[2.0, 1.0]] * 12 and shown["cloud"] == [[2.0, 1.0]] * 3
    assert shown["truth"] == [[0.0, 0.0]] * 22
    assert "truth" not in pack_plan("", outlook, None)["objects"][0]


def test_wrong_input_is_refused(split, answers):
    with pytest.raises(ValueError, match=r"index 3 is not in 0\.\.2"):
        browse(split, index=3)
    with pytest.raises(ValueError, match="'guess' has 2 masks; the split has 3 videos"):
        compare({"guess": answers[:2]}, split)
    with pytest.raises(ValueError, match="evaluation of 'guess' is of other videos"):
        browse(split, forecasts={"guess": Evaluation({}, answers, np.array([7, 8, 9]))})
