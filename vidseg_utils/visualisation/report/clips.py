"""Clips of the report: each in the viewer, and as a still picture for print."""

import base64
import io
from typing import Any

from PIL import Image

from vidseg_utils.visualisation.films import draw_still
from vidseg_utils.visualisation.report.details import SystemDetails
from vidseg_utils.visualisation.viewer import pack_clip
from vidseg_utils.visualisation.viewer.packing import WEBP_QUALITIES

CLIPS_ON_PAGE = 2  # best ones, and as many worst ones
CLIPS_LINKED = 8  # the same on the linked page


def pack_clips(system: SystemDetails, *, each: int = CLIPS_LINKED) -> list[dict[str, Any]]:
    """The best and the worst videos of a system, no video twice: title, the viewer's data and a still picture.

    each: best videos, and as many worst ones; "is_shown": whether the clip is also on the report's own page
    """
    ranked = system.ranked_videos()
    best = ranked[: min(each, (len(ranked) + 1) // 2)]
    worst = ranked[len(best) :][::-1][:each]
    chosen = [("best", place, *video) for place, video in enumerate(best, start=1)]
    chosen += [("worst", place, *video) for place, video in enumerate(worst, start=1)]
    return [_pack(system, *video) for video in chosen]


def _pack(system: SystemDetails, rank: str, place: int, number: int, score: float) -> dict[str, Any]:
    name = f"forecast by {system.row['system']}"
    frames, masks, forecast = system.forecasts.clip(number)
    title = f"{rank} {place}: video {number}"
    panels = [
        {"title": "truth", "note": "", "images": "frames", "mask": "truth"},
        {"title": name, "note": f"Jaccard {score:.2f}", "images": "frames", "mask": name},
    ]
    still, file = Image.fromarray(draw_still(frames, masks, forecast, system=str(system.row["system"]))), io.BytesIO()
    still.save(file, format="webp", quality=WEBP_QUALITIES[0])
    return {
        "is_shown": place <= CLIPS_ON_PAGE,
        "title": f"{title}, Jaccard {score:.2f}",
        "data": pack_clip(frames, {"truth": masks, name: forecast}, panels=panels, title=title),
        "still": f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}",
    }
