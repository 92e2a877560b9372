"""Proves that a placed scene is simulated, filmed and forecast, that questions of the browser are answered, and that
a still picture is shown where no browser can ask."""

import json
import zlib

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from vidseg_utils.classes import class_id
from vidseg_utils.simulator import PlacedObject, simulate_video
from vidseg_utils.systems import CopyLast, ObjectDynamics
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.visualisation import play_with
from vidseg_utils.visualisation.play import forecast_scene
from vidseg_utils.visualisation.play.widget import EXAMPLES, plan_module
from vidseg_utils.world import COURSE_LABELS

pytestmark = pytest.mark.slow
BALL, BOX = class_id("sphere", "metal", "blue"), class_id("cube", "rubber", "red")
OBJECTS = (PlacedObject(BALL, 0.0, -1.8, vy=1.5), PlacedObject(BOX, -0.8, 0.5, yaw=0.4))
SHIFTS = {"label_shift_x": COURSE_LABELS.x, "label_shift_y": COURSE_LABELS.y, "label_fatness": COURSE_LABELS.fatness}


class Browser:
    """The side of a widget that answers go to."""

    def __init__(self):
        self.messages = []

    def send(self, message):
        self.messages.append(json.loads(json.dumps(message)))


def system():
    """Object dynamics without weights: it reads true masks."""
    return ObjectDynamics(PhysicsConstants(**SHIFTS))


@pytest.fixture(scope="module")
def playground():
    return play_with(system(), OBJECTS)


def ask(playground, kind, objects=()):
    browser = Browser()
    entries = [vars(placed) for placed in objects]
    playground.answer(browser, {"kind": kind, "number": 5, "objects": entries})
    return browser


def unpacked(result):
    return json.loads(zlib.decompress(result))


def test_a_scene_is_simulated_filmed_and_forecast_step_by_step(playground):
    played, steps, threads = playground.played, [], torch.get_num_threads()
    again = forecast_scene(system(), OBJECTS, say=steps.append)
    assert steps == ["simulate", "render", "forecast"] == list(again.seconds)
    assert torch.get_num_threads() == threads
    assert again.clip.frames.shape == (22, 3, 160, 240) and (again.clip.frames == played.clip.frames).all()
    assert (again.forecast.last_mask == played.forecast.last_mask).all()
    assert played.scores["copy of frame 10"] < played.scores["forecast"] <= played.scores["upper bound"] == 1
    assert set(played.distances) == {BALL, BOX} and max(played.distances.values()) < 0.3


def test_a_system_without_weights_or_objects_plays_too():
    copied = play_with(CopyLast(), OBJECTS)
    assert copied.played.scores["forecast"] == copied.played.scores["copy of frame 10"]
    result = unpacked(copied.result())
    assert result["forecast"] == {} and set(result["clip"]["masks"]) == {"truth", "forecast"}
    assert copied.still().startswith(b"\x89PNG")


def test_a_result_holds_the_clip_the_paths_and_the_possible_worlds_in_little_space(playground):
    packed = playground.result()
    result = unpacked(packed)
    assert len(packed) < 60_000
    assert [panel["mask"] for panel in result["clip"]["panels"]] == ["truth", "forecast"]
    assert result["clip"]["frames"] == 22 and result["clip"]["truth"] == "truth"
    worlds = result["forecast"][str(BALL)]
    assert np.shape(worlds["chosen"]) == (12, 2) and np.shape(worlds["possible"]) == (12, 24, 2)
    assert np.shape(result["moments"][str(BALL)]) == (22, 3) and np.shape(result["paths"][str(BALL)]) == (64, 2)
    assert result["paths"][str(BALL)][30] == result["moments"][str(BALL)][10][:2]
    assert result["summary"].startswith("no collisions; largest error 0.")


def test_paths_are_answered_by_the_simulator_alone(playground):
    before = playground.played
    (answer,) = ask(playground, "paths", [OBJECTS[0], PlacedObject(BOX, 0.0, 0.3)]).messages
    assert answer["number"] == 5 and set(answer["value"]["paths"]) == {str(BALL), str(BOX)}
    (hit,) = answer["value"]["hits"]
    assert 0 < hit[0] < 21 and abs(hit[1]) < 0.3
    assert playground.played is before


def test_a_forecast_is_announced_step_by_step_and_kept_as_the_result():
    playground = play_with(system(), OBJECTS)
    browser = ask(playground, "forecast", OBJECTS[:1])
    assert [message.get("step") for message in browser.messages] == ["simulate", "render", "forecast", None]
    assert browser.messages[-1] == {"number": 5, "kind": "forecast", "value": None}
    assert set(unpacked(browser.result)["paths"]) == {str(BALL)}
    assert playground.objects == [OBJECTS[0]] and browser.result == playground.result()


def test_random_scenes_can_be_played_and_differ(playground):
    first, second = (ask(playground, "random").messages[0]["value"] for _ in range(2))
    assert first != second
    for entries in (first, second):
        assert ask(playground, "paths", [PlacedObject(**entry) for entry in entries]).messages[0]["value"]["paths"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_collides_in_view(playground, name):
    answer = ask(playground, "paths", EXAMPLES[name]).messages[0]["value"]
    assert answer["hits"] and all(frame < 21 for frame, _, _ in answer["hits"])
    ends = np.array([path[-1] for path in answer["paths"].values()])
    assert (np.abs(ends) < 3).all()


def test_mistakes_are_answered_with_the_cure_and_other_failures_by_their_name(playground):
    overlap = [OBJECTS[0], PlacedObject(BOX, 0.0, -1.7)]
    assert "overlap: move one of them away" in ask(playground, "paths", overlap).messages[0]["error"]
    assert ask(playground, "dance", OBJECTS).messages[0]["error"].startswith("unknown question 'dance'; ask for paths")
    browser = Browser()
    playground.answer(browser, {"kind": "paths", "number": 1, "objects": [{"class_id": 3}]})
    assert browser.messages[0]["error"] == "KeyError: 'x'"


def test_what_if_starts_from_a_video_and_compares_with_it():
    video = simulate_video(11, 0)
    playground = play_with(CopyLast(), video)
    scene = playground.scene()
    assert {placed["class_id"] for placed in scene["objects"]} == set(video.class_ids.tolist())
    assert scene["before"][str(video.class_ids[0])][0] == video.positions[0, 0, :2].round(3).tolist()
    assert next(iter(scene["examples"])) == "as in the video"
    hit = next(collision for collision in video.collisions)
    without = [placed for n, placed in enumerate(playground.objects) if n != hit.objects[0]]
    answer = ask(playground, "paths", without).messages[0]["value"]
    assert str(video.class_ids[hit.objects[0]]) not in answer["paths"]
    other = str(video.class_ids[hit.objects[1]])
    assert np.abs(np.subtract(answer["paths"][other], scene["before"][other])).max() > 0.01


def test_without_a_kernel_only_the_still_picture_is_shown(playground, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    playground._ipython_display_()
    (bundle,) = shown
    assert set(bundle) == {"text/plain", "image/png"} and not plt.get_fignums()
    assert bundle["text/plain"].startswith("object_dynamics: lay out a scene: Jaccard index of frame 21: forecast ")


def test_the_living_widget_carries_scene_and_result(playground):
    widget = playground.widget()
    assert widget.result == playground.result() and widget.scene == playground.scene()
    assert len(json.dumps(widget.scene)) + len(plan_module()) < 110_000  # with the result under 150 kB
    widget.close()


def test_one_module_holds_the_viewer_and_the_plan():
    module = plan_module()
    assert module.count("export default") == 1 and "import " not in module.split("function")[0]


def test_a_system_that_sees_nothing_is_shown_as_such():
    blind = system()
    blind.segment = lambda frames: torch.zeros(1, frames.shape[1], 160, 240, dtype=torch.uint8)
    blind.segmenter = torch.nn.Identity()
    playground = play_with(blind, OBJECTS)
    assert playground.played.scores["forecast"] < 0.5 and "the system finds no object" in repr(playground)
    assert unpacked(playground.result())["forecast"] == {} and playground.still()


def test_a_scene_that_cannot_be_is_refused_at_once():
    with pytest.raises(ValueError, match="the scene has 0 objects"):
        play_with(CopyLast(), [])
