"""A film of one forecast of a run: input, truth, forecast and error side by side, as GIF, MP4 and a still picture."""

from pathlib import Path

import numpy as np
from PIL import Image

from vidseg_utils.evaluation import SavedForecasts, read_forecasts
from vidseg_utils.metrics import jaccard
from vidseg_utils.paths import atomic_write
from vidseg_utils.task import CLIP_FRAMES, PAST_FRAMES
from vidseg_utils.visualisation.filmstrip import REAL_RATE, REST_PICTURES, MovieView, draw_side_by_side, write_movie
from vidseg_utils.visualisation.forecast import EMPTY_RGB, draw_forecast
from vidseg_utils.visualisation.overlays import ERROR_KINDS, draw_errors, frame_to_rgb, overlay_mask

SCALES = (2, 3, 4)  # sizes of a panel, in units of 160x240 pixels
STRIP_FRAMES = (0, 4, 7, 10, 13, 16, 19, 21)  # of the row above the four panels in the still picture
_LEGEND = {name: ERROR_KINDS[name] for name in ("object missed", "object invented", "wrong class", "object, right")}


def film(
    run: Path | str,
    *,
    video: int | str = "best",
    scale: int = 2,
    root: Path | str | None = None,
    out: Path | None = None,
) -> MovieView:
    """Write film-VIDEO.gif, .mp4 and .png of one forecast in the run folder of an evaluation; a cell shows the GIF.

    video: its number, or "best" or "worst" by the Jaccard index of single videos
    scale: 2 to 4 times 160x240 pixels for each of the four panels; out: folder to write, by default the run folder
    Raises what `read_forecasts` raises, and ValueError for another scale or a video that the run does not have.
    """
    if scale not in SCALES:
        raise ValueError(f"the scale is {scale}; choose from {list(SCALES)}")
    forecasts = read_forecasts(run, root=root)
    number = find_video(forecasts, video)
    path = Path(out or run) / f"film-{number}"
    clip, system = forecasts.clip(number), str(forecasts.config["system"])
    pictures = draw_film(*clip, system=system, scale=scale)
    for suffix in (".mp4", ".gif"):
        path = write_movie(path.with_suffix(suffix), pictures, frames_per_second=REAL_RATE, rest=REST_PICTURES)
    with atomic_write(path.with_suffix(".png")) as temporary:
        Image.fromarray(draw_still(*clip, system=system, scale=scale)).save(temporary, optimize=True)
    return MovieView(path)


def find_video(forecasts: SavedForecasts, video: int | str) -> int:
    """The number of a video, given as a number, as its digits, or as "best" or "worst"."""
    if video in ("best", "worst"):
        scores = forecasts.scores()
        return int(forecasts.numbers[scores.argmax() if video == "best" else scores.argmin()])
    if not str(video).isdecimal():
        raise ValueError(f"video {video!r} is no number; give one, or best, or worst")
    return int(video)


def draw_film(
    frames: np.ndarray, masks: np.ndarray, forecast: np.ndarray, *, system: str, scale: int = 2
) -> list[np.ndarray]:
    """The pictures of the film: input, truth, forecast and error of each frame.

    frames: (22, 3, H, W); masks: (22, H, W), the truth; forecast: (H, W) of frame 21
    """
    moments = [_panels(frames, masks, forecast, number, system=system) for number in range(CLIP_FRAMES)]
    return draw_side_by_side(moments, scale=scale, legend=_LEGEND)


def draw_still(
    frames: np.ndarray, masks: np.ndarray, forecast: np.ndarray, *, system: str, scale: int = 2
) -> np.ndarray:
    """The still picture of the film: eight frames of the video above the film's last picture. See `draw_film`."""
    last = _panels(frames, masks, forecast, CLIP_FRAMES - 1, system=system)
    strip = {f"frame {number}": overlay_mask(frames[number], masks[number]) for number in STRIP_FRAMES}
    rows = [*draw_side_by_side([strip], scale=scale / 2), *draw_side_by_side([last], scale=scale, legend=_LEGEND)]
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows])


def _panels(
    frames: np.ndarray, masks: np.ndarray, forecast: np.ndarray, number: int, *, system: str
) -> dict[str, np.ndarray]:
    """Title and picture of each panel at one frame."""
    last, given = CLIP_FRAMES - 1, min(number, PAST_FRAMES - 1)
    panels = {
        f"input: frame {given}" + (", the last one given" if number > given else ""): frame_to_rgb(frames[given]),
        f"truth: frame {number}": overlay_mask(frames[number], masks[number]),
    }
    empty = np.full((*forecast.shape, 3), EMPTY_RGB, dtype=np.uint8)
    if number < PAST_FRAMES:
        panels[f"{system}: frame {last}"] = empty
    else:
        panels[f"{system}: frame {last} (black: truth)"] = draw_forecast(forecast, masks[number])
    if number < last:
        panels[f"error: at frame {last}"] = empty
    else:
        score = jaccard(forecast[None], masks[-1:])
        panels[f"error: Jaccard {score:.2f}"] = draw_errors(forecast, masks[-1])
    return panels
