"""A gallery: many videos in one viewer, in the order of a selection. Only the video that is looked at is sent."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from vidseg_utils.progress import ProgressBar
from vidseg_utils.visualisation.viewer.packing import compress_clip
from vidseg_utils.visualisation.viewer.selections import WorstFirst
from vidseg_utils.visualisation.viewer.widget import display_widget, gallery_widget_class

ALL = "all videos"
STEP_SECONDS = 1.0  # after which a kernel that scores videos answers


class Gallery:
    """Videos of a split, one at a time; it displays itself as the last value of a cell."""

    def __init__(
        self,
        numbers: np.ndarray,
        clip: Callable[[int], dict[str, Any]],
        *,
        selections: Mapping[str, Callable[[], list[int]]],
        still: Callable[[int], bytes],
        index: int,
        options: Mapping[str, Any],
    ):
        """numbers: of the videos; clip, still: the packed clip and the picture of the video at an index

        selections: by name, functions that return the indices of the videos in the order in which they are shown
        index: of the video that is shown first
        """
        self.numbers, self.clip, self.still, self.options = numbers, clip, still, dict(options)
        self.selections = {ALL: lambda: list(range(len(numbers))), **selections}
        self.index = index

    def __repr__(self) -> str:
        return f"viewer of {len(self.numbers)} videos, at video {self.numbers[self.index]}"

    def select(self, selection: str) -> list[int]:
        """The indices of the videos of a selection, in order. Raises ValueError for an unknown one.

        If videos have to be scored first, a bar shows the progress. Interrupted and called again, it goes on.
        """
        videos = self._videos_of(selection)
        if isinstance(videos, WorstFirst):
            for _ in ProgressBar(range(videos.missing), desc=selection, unit="video", delay=STEP_SECONDS):
                videos.score_next()
        return videos()

    def _videos_of(self, selection: str) -> Callable[[], list[int]]:
        if selection not in self.selections:
            raise ValueError(f"unknown selection {selection!r}; choose from {list(self.selections)}")
        return self.selections[selection]

    def widget(self):
        """The living viewer, an anywidget. It answers requests for a selection, a position in it, or a number.

        Where videos have to be scored first, an answer comes every second, until all are scored or the request says
        `stop`; so the kernel stays free for other cells.
        """
        widget = gallery_widget_class()(
            clip=compress_clip(self.clip(self.index)),
            options=self.options,
            gallery=self._describe({"selection": ALL}, self.select(ALL), self.index),
        )
        widget.observe(partial(self._answer, widget), "request")
        return widget

    def _answer(self, widget: Any, change: Mapping[str, Any]) -> None:
        request = dict(change["new"])
        videos = self._videos_of(request["selection"])
        if isinstance(videos, WorstFirst) and videos.missing and not request.get("stop"):
            videos.score_for(STEP_SECONDS)
            if videos.missing:
                widget.gallery = self._describe(request, videos(), 0)
                return
        indices = videos()
        if (number := request.get("number")) is not None:
            wanted = int(np.abs(self.numbers - number).argmin())  # the nearest video that there is
            if wanted not in indices:
                request["selection"], indices = ALL, self.select(ALL)
            position = indices.index(wanted)
        else:
            position = request["position"] % max(1, len(indices))
        with widget.hold_sync():
            if indices:
                self.index = indices[position]
                widget.clip = compress_clip(self.clip(self.index))
            widget.gallery = self._describe(request, indices, position if indices else 0)

    def _describe(self, request: Mapping[str, Any], indices: list[int], position: int) -> dict[str, Any]:
        """What the bar above the viewer shows; the number is that of the video in the viewer.

        missing: how many videos are not scored yet; answers: the count of the request
        """
        videos = self.selections[request["selection"]]
        return {
            "selections": list(self.selections),
            "selection": request["selection"],
            "position": position,
            "count": len(indices),
            "missing": videos.missing if isinstance(videos, WorstFirst) else 0,
            "number": int(self.numbers[self.index]),
            "answers": request.get("count", 0),
        }

    def _ipython_display_(self) -> None:
        display_widget(self.widget, still=self.still(self.index), text=repr(self))
