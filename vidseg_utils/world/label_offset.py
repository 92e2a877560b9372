"""How labels lie against the exact masks: the course's own are shifted and a little too fat."""

from dataclasses import dataclass

from vidseg_utils.task import WIDTH


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


EXACT_LABELS = LabelOffset()
