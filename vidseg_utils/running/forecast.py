"""Forecast one video, and write what comes out as pictures and as data: the command `vidseg forecast`."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from vidseg_utils.classes import BACKGROUND, class_name
from vidseg_utils.data import load_clip
from vidseg_utils.metrics import jaccard
from vidseg_utils.paths import atomic_write, write_json
from vidseg_utils.systems import ClipForecast, Forecaster, Workspace, forecast_clip, segment_frames
from vidseg_utils.systems.object_dynamics import ObjectDynamics, Outlook
from vidseg_utils.task import FUTURE_FRAMES, PAST_FRAMES, VIDEO_RATE
from vidseg_utils.visualisation import draw_forecast_movie, plot_forecast, save_figure, use_style, write_movie
from vidseg_utils.visualisation.filmstrip import REAL_RATE, REST_PICTURES
from vidseg_utils.world import OBJECT_RADIUS, project

MAX_HORIZON = 20  # frames ahead
SECONDS_PER_FRAME = 1 / REAL_RATE
RESTING_SPEED = 0.02  # world units a second: slower objects are said to rest
UNITS = (
    "positions on the ground in world units (an object is 0.4 wide; x towards the viewer, y to the right); pixels x, y "
    "of an object's centre in a frame of 160x240; speeds in world units a second; an uncertainty is the root mean "
    "square distance of the possible values from their mean"
)


def forecast_video(
    video: Path, system: Forecaster, workspace: Workspace, *, out: Path, start: int = 0, horizon: int = FUTURE_FRAMES
) -> list[str]:
    """Forecast a video and write forecast.png, forecast.gif, forecast.mp4, mask.npy and objects.json into `out`.

    returns: lines for the user. Raises what `load_clip` raises, and ValueError where no object is found; then nothing
    is written.
    """
    size = (workspace.profile.height, workspace.profile.width)
    _check(system, horizon)
    clip = load_clip(video, start=start, horizon=horizon)
    forecast = forecast_clip(system, clip, horizon=horizon, size=size)
    if not forecast.found_objects:
        raise ValueError(f"{clip.name}: no object is found in the eleven given frames, so there is nothing to forecast")
    masks, mask_name = clip.masks, "true mask"
    if masks is None and len(clip.frames) > PAST_FRAMES:
        masks, mask_name = segment_frames(system, clip.frames, size=size), "mask by the segmenter"
    objects, number = describe_objects(forecast), forecast.last_number
    lines = [f"{clip.name}: eleven frames given, frame {number} forecast by {system.name}", *map(_object_line, objects)]
    later = None
    if masks is not None and len(masks) > number:
        later = (clip.frames[number], masks[number])
        candidates = (forecast.last_mask, forecast.past_masks[-1])
        score, copied = (jaccard(mask[None], masks[number : number + 1]) for mask in candidates)
        against = f"Jaccard against the video's frame {number} ({mask_name})"
        lines.append(f"{against}: {score:.2f}; copying frame 10: {copied:.2f}")
    plt.switch_backend("agg")
    use_style()
    paths = {} if forecast.outlook is None else object_pixels(forecast.outlook)
    figure = plot_forecast(
        clip.frames[PAST_FRAMES - 1],
        forecast.past_masks[-1],
        forecast.last_mask,
        ahead=horizon,
        paths=paths,
        later=later,
        later_name=mask_name,
    )
    save_figure(figure, "forecast", folder=out)
    plt.close(figure)
    shown = forecast.past_masks if masks is None else np.concatenate([forecast.past_masks, masks[PAST_FRAMES:]])
    pictures = draw_forecast_movie(clip.frames, shown, forecast.masks)
    for suffix in (".gif", ".mp4"):
        write_movie(out / f"forecast{suffix}", pictures, frames_per_second=REAL_RATE, rest=REST_PICTURES)
    with atomic_write(out / "mask.npy") as temporary:
        np.save(temporary, forecast.last_mask)
    summary = {"video": clip.name, "system": system.name, "first_frame": start, "horizon": horizon, "units": UNITS}
    write_json(out / "objects.json", {**summary, "objects": objects})
    return lines


def _check(system: Forecaster, horizon: int) -> None:
    if system.needs_masks:
        raise ValueError(f"{system.name} reads true masks; choose a system that reads frames, such as object_dynamics")
    if not 1 <= horizon <= MAX_HORIZON:
        raise ValueError(f"the horizon is {horizon}; choose 1 to {MAX_HORIZON} frames ahead")
    if horizon != FUTURE_FRAMES and not isinstance(system, ObjectDynamics):
        raise ValueError(f"{system.name} forecasts {FUTURE_FRAMES} frames ahead, not {horizon}; use object_dynamics")


def object_pixels(outlook: Outlook) -> dict[int, np.ndarray]:
    """Class id -> (T + 1, 2) pixels x, y of the object's centre, from the last given frame on."""
    height = np.full((*outlook.positions.shape[:-1], 1), OBJECT_RADIUS)
    pixels = project(np.concatenate([outlook.positions, height], axis=-1))[..., :2]
    return {class_id: pixels[:, n] for n, class_id in enumerate(outlook.class_id.tolist())}


def describe_objects(forecast: ClipForecast) -> list[dict[str, Any]]:
    """One dict an object, in JSON types; see UNITS. A system that forecasts only a mask knows pixels, no positions."""
    if forecast.outlook is None:
        return _describe_masks(forecast)
    outlook, objects = forecast.outlook, []
    pixels, speed = object_pixels(outlook), np.linalg.norm(outlook.velocity, axis=-1) * VIDEO_RATE
    for n, class_id in enumerate(outlook.class_id.tolist()):
        moments = [
            {
                "frame": PAST_FRAMES - 1 + ahead,
                "seconds": round(ahead * SECONDS_PER_FRAME, 2),
                "position": outlook.positions[ahead, n].round(3).tolist(),
                "pixel": pixels[class_id][ahead].round(1).tolist(),
                "uncertainty": round(float(outlook.spread[ahead, n]), 3),
                "in_mask": mask is not None and bool((mask == class_id).any()),
            }
            for ahead, mask in enumerate([forecast.past_masks[-1], *forecast.masks])
        ]
        state = {name: moments[0][name] for name in ("position", "pixel", "uncertainty")}
        state["speed"] = round(float(speed[n]), 3)
        state["speed_uncertainty"] = round(float(outlook.velocity_spread[n]) * VIDEO_RATE, 3)
        objects.append({"class_id": class_id, "class": class_name(class_id), **state, "path": moments[1:]})
    return objects


def _describe_masks(forecast: ClipForecast) -> list[dict[str, Any]]:
    objects = []
    for class_id in np.unique(forecast.past_masks[-1]).tolist():
        if class_id != BACKGROUND:
            moment = {"frame": forecast.last_number, "seconds": round(len(forecast.masks) * SECONDS_PER_FRAME, 2)}
            moment |= {"pixel": _middle(forecast.last_mask, class_id)}
            moment |= {"in_mask": moment["pixel"] is not None}
            pixel = _middle(forecast.past_masks[-1], class_id)
            objects.append({"class_id": class_id, "class": class_name(class_id), "pixel": pixel, "path": [moment]})
    return objects


def _middle(mask: np.ndarray, class_id: int) -> list[float] | None:
    """Pixel x, y in the middle of a class; None if the mask lacks it."""
    rows, columns = np.nonzero(mask == class_id)
    return [round(float(columns.mean()), 1), round(float(rows.mean()), 1)] if len(rows) else None


def _object_line(entry: dict[str, Any]) -> str:
    """What is forecast of one object, for people."""
    end = entry["path"][-1]
    fate = "" if end["in_mask"] else ", not in the mask"
    if "position" not in entry:
        return f"  {entry['class']:22} at pixel {entry['pixel']} -> {end['pixel'] or 'nowhere'}{fate}"
    now, then = ("({:5.2f}, {:5.2f})".format(*moment["position"]) for moment in (entry, end))
    motion = f"{entry['speed']:.2f} units/s" if entry["speed"] >= RESTING_SPEED else "rests"
    then += f" ± {end['uncertainty']:.2f} in {end['seconds']} s{fate}"
    return f"  {entry['class']:22} at {now}, {motion:12} -> {then}"
