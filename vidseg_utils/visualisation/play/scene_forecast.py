"""A placed scene is simulated and filmed, and a system forecasts it from the first eleven frames."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch

from vidseg_utils.data import Clip
from vidseg_utils.metrics import jaccard, reference_masks
from vidseg_utils.renderer import render_video
from vidseg_utils.simulator import PhysicsSettings, PlacedObject, simulate_objects
from vidseg_utils.systems import ClipForecast, Forecaster, forecast_clip
from vidseg_utils.task import CLIP_VIDEO_FRAMES, FUTURE_FRAMES, HEIGHT, PAST_FRAMES, WIDTH
from vidseg_utils.world import COURSE_LABELS, Trajectory

NOISE_SEED = 0  # of the sensor noise in the frames, so that the same scene is filmed the same


@dataclass(frozen=True)
class SceneForecast:
    """What happened in a scene, what was filmed, and what a system forecast from the first eleven frames."""

    trajectory: Trajectory  # 128 video frames
    clip: Clip  # 22 frames and their masks, with the course's labels
    forecast: ClipForecast
    scores: dict[str, float]  # Jaccard index of frame 21 by answer: "forecast", "copy of frame 10" and "upper bound"
    distances: dict[int, float]  # class id -> world units between the forecast and the true position at frame 21
    seconds: dict[str, float] = field(compare=False)  # of each step


def forecast_scene(
    system: Forecaster,
    objects: Sequence[PlacedObject],
    *,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    settings: PhysicsSettings | None = None,
    say: Callable[[str], None] = lambda step: None,
) -> SceneForecast:
    """Simulate and film placed objects, and forecast them.

    size: height and width of the frames that the system reads; settings: of the world, by default `clevrer`
    say: is told what is being done
    Raises ValueError for a scene that cannot be (see `place_objects`).
    """
    seconds: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        say(name)
        start = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - start

    with step("simulate"):
        trajectory = simulate_objects(objects, settings=settings)
    with step("render"):
        clip = film(trajectory)
    with step("forecast"):
        forecast = forecast_clip(system, clip, horizon=FUTURE_FRAMES, size=size)
    assert clip.masks is not None
    scores = score_forecast(forecast.last_mask, clip.masks)
    return SceneForecast(trajectory, clip, forecast, scores, _distances(trajectory, forecast), seconds)


def film(trajectory: Trajectory) -> Clip:
    """The clip of a trajectory of 128 video frames, as the generator makes it: 22 frames and their masks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the operations are small: several threads would mostly wait for each other
    try:
        clip = trajectory.select_frames(CLIP_VIDEO_FRAMES)
        frames, masks = render_video(clip, noise_seed=NOISE_SEED, label_offset=COURSE_LABELS)
    finally:
        torch.set_num_threads(threads)
    return Clip("the scene", frames, masks)


@cache
def empty_stage() -> np.ndarray:
    """The frame (3, 160, 240) uint8 of the world without objects."""
    none = np.zeros((1, 0, 3))
    in_view, rotations = np.zeros((1, 0), dtype=bool), np.zeros((1, 0, 3, 3))
    frames, _ = render_video(Trajectory(np.zeros(0, dtype=np.uint8), none, rotations, none, none, in_view))
    return frames[0]


def score_forecast(mask: np.ndarray, true_masks: np.ndarray) -> dict[str, float]:
    """The Jaccard index of a forecast of the last frame, beside the baseline and the upper bound.

    mask: (H, W); true_masks: (22, H, W); NaN where neither answer nor truth has a class
    """
    copied, seen = (answer.numpy() for answer in reference_masks(torch.from_numpy(true_masks[None])))
    answers = {"forecast": mask[None], "copy of frame 10": copied, "upper bound": seen}
    return {name: jaccard(answer, true_masks[-1:]) for name, answer in answers.items()}


def _distances(trajectory: Trajectory, forecast: ClipForecast) -> dict[int, float]:
    outlook = forecast.outlook
    if outlook is None:
        return {}
    last = trajectory.positions[CLIP_VIDEO_FRAMES[PAST_FRAMES + FUTURE_FRAMES - 1]]
    truth = dict(zip(trajectory.class_ids.tolist(), last[:, :2], strict=True))
    found = zip(outlook.class_id.tolist(), outlook.positions[-1], strict=True)
    return {id_: float(np.linalg.norm(position - truth[id_])) for id_, position in found if id_ in truth}
