"""Proves in a real browser that a scene is laid out with mouse and keys, and forecast by Python, without network."""

import base64
import json
import os

import pytest

from vidseg_utils.classes import class_id
from vidseg_utils.simulator import PlacedObject
from vidseg_utils.systems import ObjectDynamics
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.visualisation import play_with
from vidseg_utils.visualisation.play.widget import plan_module
from vidseg_utils.world import COURSE_LABELS

BALL, BOX = class_id("sphere", "metal", "blue"), class_id("cube", "rubber", "red")
OBJECTS = (PlacedObject(BALL, 0.0, -1.8, vy=1.6), PlacedObject(BOX, -0.6, 0.5, yaw=0.4))
SHIFTS = {"label_shift_x": COURSE_LABELS.x, "label_shift_y": COURSE_LABELS.y, "label_fatness": COURSE_LABELS.fatness}
# The page has a model as anywidget's, whose messages a real playground in Python answers.
PAGE = """<!doctype html><meta charset="utf-8"><title>play</title>
<body style="margin: 12px; background: Canvas"><div id="plan"></div>
<script type="module">{module}
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const traits = {{ scene: {scene}, result: bytes("{result}") }}, listeners = [];
window.asked = [];
const model = {{
  get: (name) => traits[name], on: (name, listener) => listeners.push(listener), off: () => {{}},
  send: async (message) => {{
    asked.push(message.kind);
    const {{ messages, result }} = await askPython(message);
    if (result) traits.result = bytes(result);
    for (const answer of messages) for (const listener of listeners) listener(answer);
  }},
}};
window.remove = await renderPlan({{ model, el: document.getElementById("plan") }});
window.isReady = true;
</script>"""


class Answers:
    """Keeps what a playground sends and sets, as a widget does."""

    def __init__(self):
        self.messages, self.result = [], b""

    def send(self, message):
        self.messages.append(message)


@pytest.fixture(scope="module")
def playground():
    return play_with(ObjectDynamics(PhysicsConstants(**SHIFTS)), OBJECTS)


@pytest.fixture(scope="module")
def address(tmp_path_factory, playground):
    path = tmp_path_factory.mktemp("page") / "play.html"
    scene, result = json.dumps(playground.scene()), base64.b64encode(playground.result()).decode()
    path.write_text(PAGE.format(module=plan_module(), scene=scene, result=result))
    return path.as_uri()


@pytest.fixture(params=["light"])
def page(request, browser, address, playground):
    def answer(message):
        answers = Answers()
        playground.answer(answers, message)
        return {"messages": answers.messages, "result": base64.b64encode(answers.result).decode()}

    context = browser.new_context(viewport={"width": 1280, "height": 960}, color_scheme=request.param)
    page, faults = context.new_page(), []
    page.set_default_timeout(30_000)
    page.expose_function("askPython", answer)
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if request.url.startswith(("http", "ws")) else None)
    page.goto(address)
    page.wait_for_function("window.isReady")
    page.locator("canvas").nth(1).wait_for()
    yield page
    assert not faults
    context.close()


def middle(locator):
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, locator, dx, dy):
    x, y = middle(locator)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx / 2, y + dy / 2)
    page.mouse.move(x + dx, y + dy)
    page.mouse.up()


def thing(page, number):
    return page.locator(f".vidseg-object[data-index='{number}']")


def settled(page, count):
    """Wait until Python has been asked for paths `count` times, and has answered."""
    page.wait_for_function(f"asked.filter((kind) => kind === 'paths').length >= {count}")
    page.wait_for_timeout(300)


def test_it_opens_with_a_forecast_and_names_everything_for_screen_readers(page):
    assert page.locator("canvas").count() == 2
    label = thing(page, 0).get_attribute("aria-label")
    assert label == "blue metal sphere, -1.80 to the right, 0.00 to the viewer, 1.6 units a second at 0 degrees"
    nameless = """nodes => nodes.filter((node) => !(node.getAttribute("aria-label") || node.textContent
        || node.labels?.[0]?.textContent).trim()).map((node) => node.outerHTML)"""
    assert page.locator("button, input, select, [tabindex='0']").evaluate_all(nameless) == []
    assert page.locator(".vidseg-cloud").count() == 2 * 24  # at frame 21, the one that is shown
    page.locator(".vidseg-scene .vidseg").first.focus()
    page.keyboard.press("Home")
    assert page.locator(".vidseg-cloud").count() == 0 and page.locator(".vidseg-now").count() == 2 + 1  # and the key's


def test_dragging_an_object_asks_for_its_path_and_forecast_follows(page, playground):
    before = thing(page, 1).get_attribute("aria-label")
    assert page.locator(".vidseg-ground .vidseg-hit").count() == 0
    drag(page, thing(page, 1), 0, 60)
    assert thing(page, 1).get_attribute("aria-label") != before
    page.get_by_text("one collision in the simulation; press forecast").wait_for()
    assert page.locator(".vidseg-ground .vidseg-hit").count() == 1
    assert page.locator(".vidseg-result").get_attribute("data-stale") == "true"
    page.get_by_role("button", name="forecast", exact=True).click()
    page.get_by_text("largest error").wait_for()
    assert page.locator(".vidseg-result").get_attribute("data-stale") == "false"
    assert playground.objects[1].x > OBJECTS[1].x + 0.5


def test_the_arrow_gives_a_speed_and_undo_takes_it_back(page):
    thing(page, 1).focus()
    drag(page, page.locator(".vidseg-handle[data-index='1']"), -90, 40)
    settled(page, 1)
    assert "at rest" not in thing(page, 1).get_attribute("aria-label")
    page.get_by_role("button", name="undo").click()
    assert "at rest" in thing(page, 1).get_attribute("aria-label")


def test_keys_move_turn_and_remove_an_object(page):
    thing(page, 0).focus()
    for key in ("Shift+ArrowDown", "ArrowRight", "+", "["):
        page.keyboard.press(key)
    label = thing(page, 0).get_attribute("aria-label")
    assert label == "blue metal sphere, -1.75 to the right, 0.25 to the viewer, 1.8 units a second at 5 degrees"
    page.keyboard.press("Delete")
    assert page.locator(".vidseg-object").count() == 1
    page.keyboard.press("Control+z")
    assert thing(page, 0).get_attribute("aria-label") == label


def test_the_form_changes_class_and_position_and_takes_no_class_twice(page):
    thing(page, 1).focus()
    page.get_by_role("button", name="yellow", exact=True).click()
    page.get_by_role("button", name="cylinder", exact=True).click()
    page.get_by_label("y, to the right").fill("1.25")
    page.get_by_label("y, to the right").press("Enter")
    assert thing(page, 1).get_attribute("aria-label").startswith("yellow rubber cylinder, 1.25 to the right")
    page.get_by_role("button", name="sphere", exact=True).click()
    page.get_by_role("button", name="metal", exact=True).click()
    assert page.get_by_role("button", name="blue", exact=True).is_disabled()


def test_objects_are_added_and_a_mistake_is_shown_with_its_cure(page):
    page.get_by_role("button", name="add object").click()
    assert page.locator(".vidseg-object").count() == 3
    x, y = middle(thing(page, 2))
    box_x, box_y = middle(thing(page, 1))
    drag(page, thing(page, 2), box_x - x + 6, box_y - y)
    page.get_by_role("alert").filter(has_text="overlap: move one of them away").wait_for()
    assert page.locator(".vidseg-object[data-bad='true']").count() == 2
    page.get_by_role("button", name="forecast", exact=True).click()
    page.wait_for_function("document.querySelector('.vidseg-scene').dataset.busy === 'false'")
    assert page.get_by_role("alert").is_visible()
    drag(page, thing(page, 2), -80, -80)
    page.get_by_role("alert").wait_for(state="hidden")


def test_a_scene_is_chosen_and_forecast_at_once(page, playground):
    page.get_by_label("scenes").select_option("three in a row")
    page.wait_for_function("asked.includes('forecast')")
    page.get_by_text("3 collisions; largest error").wait_for()
    assert page.locator(".vidseg-object").count() == 3 and len(playground.objects) == 3


def test_removing_the_widget_leaves_nothing_behind(page):
    page.evaluate("remove()")
    assert page.locator("#plan > *").count() == 0


@pytest.mark.skipif("VIDSEG_SCREENSHOTS" not in os.environ, reason="only to look at")
@pytest.mark.parametrize("page", ["light", "dark"], indirect=True)
def test_it_can_be_looked_at(page, request):
    folder = os.environ["VIDSEG_SCREENSHOTS"]
    page.wait_for_timeout(300)
    page.screenshot(path=f"{folder}/play-{request.node.callspec.params['page']}.png", full_page=True)
