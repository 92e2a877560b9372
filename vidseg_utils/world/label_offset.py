"""How labels lie against the exact masks: the course's own are shifted and a little too fat."""

import math
from dataclasses import dataclass

from vidseg_utils.task import WIDTH

_CORNERS = 6  # of the polygon that stands for a disc of radius `fatness`


@dataclass(frozen=True)
class LabelOffset:
    """The offset of labels against exact masks, in pixels of a 240 x 160 mask."""

    x: float = 0.0  # to the right
    y: float = 0.0  # down
    fatness: float = 0.0  # by which a label's outline lies outside the exact one

    def scaled_to(self, width: int) -> "LabelOffset":
        """The same offset in pixels of a mask of that width."""
        scale = width / WIDTH
        return LabelOffset(self.x * scale, self.y * scale, self.fatness * scale)

    def sample_points(self) -> tuple[tuple[float, float], ...]:
        """Points, as (x, y) pixels from a pixel's centre: an object has the pixel if it covers one of them.

        They are the corners of a regular hexagon around the shifted centre, which moves a straight outline by `fatness`
        to within 10 %. Raises ValueError for a fatness below 0.
        """
        if self.fatness < 0:
            raise ValueError(f"label fatness {self.fatness} px is below 0; labels can only be drawn fatter than exact")
        if not self.fatness:
            return ((-self.x, -self.y),)
        angles = [2 * math.pi * (corner + 0.5) / _CORNERS for corner in range(_CORNERS)]
        # The hexagon reaches between cos(pi / 6) and 1 times its radius in a direction; the mean is this.
        radius = self.fatness / (_CORNERS / math.pi * math.sin(math.pi / _CORNERS))
        return tuple((radius * math.cos(a) - self.x, radius * math.sin(a) - self.y) for a in angles)


EXACT_LABELS = LabelOffset()
# Measured on six labelled course videos, against masks cast from poses.
COURSE_LABELS = LabelOffset(x=-0.42, y=-0.45, fatness=0.25)
LABELS = {"exact": EXACT_LABELS, "course": COURSE_LABELS}  # by the names that the command line uses
DEFAULT_LABELS = "course"  # of generated and imported videos
