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
SHOWN_ERRORS = ("object missed", "object invented", "wrong class", "object, right")


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
    pictures, still = draw_film(*forecasts.clip(number), system=forecasts.config["system"], scale=scale)
    for suffix in (".mp4", ".gif"):
        path = write_movie(path.with_suffix(suffix), pictures, frames_per_second=REAL_RATE, rest=REST_PICTURES)
    with atomic_write(path.with_suffix(".png")) as temporary:
        Image.fromarray(still).save(temporary, optimize=True)
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
) -> tuple[list[np.ndarray], np.ndarray]:
    """The pictures of the film, and the still one: eight frames of the video above the last picture.

    frames: (22, 3, H, W); masks: (22, H, W), the truth; forecast: (H, W) of frame 21
    """
    last, empty = CLIP_FRAMES - 1, np.full((*forecast.shape, 3), EMPTY_RGB, dtype=np.uint8)
    score = jaccard(forecast[None], masks[-1:])
    moments = []
    for number in range(CLIP_FRAMES):
        is_given = number < PAST_FRAMES
        given = min(number, PAST_FRAMES - 1)
        when = "" if is_given else ", the last one given"
        moments.append(
            {
                f"input: frame {given}{when}": frame_to_rgb(frames[given]),
                f"truth: frame {number}": overlay_mask(frames[number], masks[number]),
                f"{system}: frame {last}" + ("" if is_given else " (black: truth)"): (
                    empty if is_given else draw_forecast(forecast, masks[number])
                ),
                f"error: Jaccard {score:.2f}" if number == last else f"error: at frame {last}": (
                    draw_errors(forecast, masks[-1]) if number == last else empty
                ),
            }
        )
    legend = {name: ERROR_KINDS[name] for name in SHOWN_ERRORS}
    pictures = draw_side_by_side(moments, scale=scale, legend=legend)
    strip = {f"frame {number}": overlay_mask(frames[number], masks[number]) for number in STRIP_FRAMES}
    (above,) = draw_side_by_side([strip], scale=scale / 2)
    width = max(above.shape[1], pictures[-1].shape[1])
    rows = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in (above, pictures[-1])]
    return pictures, np.concatenate(rows)
