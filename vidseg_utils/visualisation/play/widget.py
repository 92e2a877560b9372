"""The ground plan in a notebook: objects are laid out in the browser, and Python simulates, films and forecasts.

The browser asks by messages {kind, number, objects}, and gets back the number of its question:
    "paths": where the objects go, as in `pack_paths`. It is asked while an object is dragged, so it only simulates
    "random": the objects of a scene as the generator draws them
    "forecast": on the way {number, step}; at the end the trait `result` holds what `pack_result` returns
An answer holds `value`, or `error` for people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vidseg_utils.classes import CLASS_NAMES, COLOURS, MATERIALS, SHAPES, class_id
from vidseg_utils.simulator import PhysicsSettings, PlacedObject, objects_at_start, sample_scene, simulate_objects
from vidseg_utils.simulator.placed_scene import MAX_OBJECTS
from vidseg_utils.simulator.settings import MAX_SPEED
from vidseg_utils.systems import Forecaster
from vidseg_utils.task import CLIP_VIDEO_FRAMES, HEIGHT, PAST_FRAMES, WIDTH
from vidseg_utils.visualisation.plan_view import visible_ground
from vidseg_utils.visualisation.play.figure import describe_errors, describe_scores, plot_scene_forecast
from vidseg_utils.visualisation.play.packing import PATH_STEP, pack_paths, pack_result
from vidseg_utils.visualisation.play.scene_forecast import SceneForecast, forecast_scene
from vidseg_utils.visualisation.style import closed_figure_png, hex_colour
from vidseg_utils.visualisation.viewer.packing import compress_clip
from vidseg_utils.visualisation.viewer.widget import VIEWER_JS, display_widget
from vidseg_utils.world import CAMERA_POSITION, Trajectory

PLAN_JS = Path(__file__).with_name("ground_plan.js")
_BLUE, _RED, _GREEN, _YELLOW = (
    class_id(*names)
    for names in (
        ("sphere", "metal", "blue"),
        ("cube", "rubber", "red"),
        ("cylinder", "rubber", "green"),
        ("cylinder", "metal", "yellow"),
    )
)
EXAMPLES = {  # each stays in view, so that there is something to forecast
    "two that meet": (
        PlacedObject(_BLUE, 0.9, -2.6, vx=-0.9, vy=1.9),
        PlacedObject(_RED, -1.9, 2.6, vx=0.75, vy=-1.5, yaw=0.5),
        PlacedObject(_GREEN, -0.9, -0.9),
    ),
    "head-on": (PlacedObject(_BLUE, 0.0, -2.2, vy=2.0), PlacedObject(_RED, 0.03, 0.9, yaw=0.3)),
    "glancing blow": (PlacedObject(_BLUE, 0.3, -2.2, vy=1.5), PlacedObject(_GREEN, 0.02, -0.3)),
    "three in a row": (
        PlacedObject(_BLUE, -0.2, -2.6, vy=2.6),
        PlacedObject(_RED, -0.18, -0.4),
        PlacedObject(_YELLOW, -0.25, 0.25),
    ),
    "after frame 10": (
        PlacedObject(_BLUE, -1.4, -3.0, vy=1.5),
        PlacedObject(_RED, -1.3, 0.7, yaw=0.6),
        PlacedObject(_YELLOW, -0.3, -0.8),
    ),
    "a late arrival": (
        PlacedObject(_RED, -0.5, -0.4, yaw=0.3),
        PlacedObject(_YELLOW, -0.8, 1.0),
        PlacedObject(_BLUE, -0.75, 7.4, vy=-2.7),
    ),
}
FIRST_EXAMPLE = "two that meet"


def play_with(
    system: Forecaster,
    start: Trajectory | Sequence[PlacedObject] | None = None,
    *,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    physics: PhysicsSettings | None = None,
    title: str | None = None,
) -> "Playground":
    """A ground plan on which objects are laid out, simulated, and forecast by the system.

    start: the objects at first; the annotation of a video asks "what if": take an object out, or push it elsewhere.
        The simulator then replays the video from its first frame. Masses and bounces are not annotated, so the replay
        may differ from the video after a collision.
    size: height and width of the frames that the system reads
    physics: of the simulated world, by default `clevrer`
    Raises ValueError for objects that cannot be placed so, with the cure.
    """
    replayed = start if isinstance(start, Trajectory) else None
    title = title or f"{system.name}: {'what if …' if replayed else 'lay out a scene'}"
    first = EXAMPLES[FIRST_EXAMPLE] if start is None else start
    objects = objects_at_start(first) if isinstance(first, Trajectory) else list(first)
    return Playground(system, objects, size, physics, title, replayed)


@dataclass(eq=False, repr=False)
class Playground:
    """What `play_with` returns: a scene and its forecast, which display themselves as the last value of a cell."""

    system: Forecaster
    objects: list[PlacedObject]
    size: tuple[int, int]
    physics: PhysicsSettings | None
    title: str
    replayed: Trajectory | None  # the video that "what if" is asked of

    def __post_init__(self):
        self.played = self.forecast(self.objects)
        self.random = np.random.default_rng()

    def __repr__(self) -> str:
        return f"{self.title}: {describe_scores(self.played)}; {describe_errors(self.played)}"

    def forecast(self, objects: Sequence[PlacedObject], say: Any = lambda step: None) -> SceneForecast:
        """Simulate, film and forecast these objects; keep and return the result.

        Raises what `forecast_scene` raises.
        """
        self.played = forecast_scene(self.system, objects, size=self.size, settings=self.physics, say=say)
        self.objects = list(objects)
        return self.played

    def still(self) -> bytes:
        """The last forecast as PNG."""
        return closed_figure_png(plot_scene_forecast(self.objects, self.played, name=self.system.name))

    def scene(self) -> dict[str, Any]:
        """What the plan needs at first, in JSON types: the objects, the examples, and the facts of the world."""
        starts = {"as in the video": objects_at_start(self.replayed)} if self.replayed else {}
        before = None if self.replayed is None else pack_paths(self.replayed)["paths"]
        return {
            "title": self.title,
            "note": "a replay of the video from its first frame" if self.replayed else "",
            "objects": [asdict(placed) for placed in self.objects],
            "examples": {name: [asdict(o) for o in objects] for name, objects in (starts | EXAMPLES).items()},
            "before": before,
            "names": list(CLASS_NAMES),
            "colours": [hex_colour(id_) for id_ in range(len(CLASS_NAMES))],
            "shapes": list(SHAPES),
            "materials": list(MATERIALS),
            "tints": list(COLOURS),
            "view": visible_ground().round(3).tolist(),
            "camera": CAMERA_POSITION[[1, 0]].tolist(),
            "max_speed": MAX_SPEED,
            "max_objects": MAX_OBJECTS,
            "past": PAST_FRAMES,
            "given_points": CLIP_VIDEO_FRAMES[PAST_FRAMES - 1] // PATH_STEP + 1,
        }

    def result(self) -> bytes:
        """The last forecast as the browser reads it."""
        return compress_clip(pack_result(self.played, self.system.name))

    def widget(self):
        """The living plan, an anywidget."""
        widget = widget_class()(scene=self.scene(), result=self.result())
        widget.on_msg(lambda widget, message, buffers: self.answer(widget, message))
        return widget

    def answer(self, widget: Any, message: Mapping[str, Any]) -> None:
        """Answer a question of the browser."""
        number = message.get("number")
        try:
            value = self._value(widget, message)
        except Exception as error:  # also of somebody's own system: the browser waits for an answer
            text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            widget.send({"number": number, "error": text})
        else:
            widget.send({"number": number, "kind": message["kind"], "value": value})

    def _value(self, widget: Any, message: Mapping[str, Any]) -> Any:
        kind = message.get("kind")
        if kind == "random":
            scene = sample_scene(self.random, self.physics)
            rows = zip(scene.class_ids, scene.positions, scene.velocities, scene.yaws, strict=True)
            placed = [PlacedObject(int(id_), *map(float, (*xy, *v, yaw))) for id_, xy, v, yaw in rows]
            return [asdict(one) for one in placed]
        objects = [_read_object(entry) for entry in message["objects"]]
        if kind == "paths":
            return pack_paths(simulate_objects(objects, settings=self.physics))
        if kind != "forecast":
            raise ValueError(f"unknown question {kind!r}; ask for paths, random or forecast")
        self.forecast(objects, say=lambda step: widget.send({"number": message["number"], "step": step}))
        widget.result = self.result()
        return None

    def _ipython_display_(self) -> None:
        display_widget(self.widget, still=self.still(), text=repr(self))


@cache
def widget_class() -> type:
    """The anywidget class of the plan. It is made on first use, because importing anywidget takes a while."""
    import anywidget
    import traitlets

    class GroundPlanWidget(anywidget.AnyWidget):
        """The scene at first, and the last forecast."""

        _esm = plan_module()
        scene = traitlets.Dict().tag(sync=True)
        result = traitlets.Bytes().tag(sync=True)

    return GroundPlanWidget


def plan_module() -> str:
    """viewer.js and ground_plan.js as one ES module without imports; its default export is that of the plan."""
    viewer, plan = (path.read_text(encoding="utf-8") for path in (VIEWER_JS, PLAN_JS))
    return viewer.replace("export default ", "const viewerWidget = ") + plan


def _read_object(entry: Mapping[str, Any]) -> PlacedObject:
    numbers = {name: float(entry[name]) for name in ("x", "y", "vx", "vy", "yaw")}
    return PlacedObject(int(entry["class_id"]), **numbers)
