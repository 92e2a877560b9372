"""What the report shows of the best systems on one data set: scores by class and kind of object, and clips."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from vidseg_utils.classes import COLOURS, MATERIALS, N_CLASSES, SHAPES, class_attributes
from vidseg_utils.evaluation import SavedForecasts, read_forecasts
from vidseg_utils.metrics import OBJECT_KINDS, confusion_matrix, iou_per_class
from vidseg_utils.visualisation.report.run_set import RunSet

MAX_SYSTEMS = 8  # whose forecasts are read
ATTRIBUTES = {"shape": SHAPES, "material": MATERIALS, "colour": COLOURS}
KINDS = (*OBJECT_KINDS, *SHAPES, *MATERIALS, *COLOURS)


@dataclass(frozen=True)
class SystemDetails:
    """Scores of one system by kind of object."""

    row: dict[str, Any]  # of the leaderboard
    forecasts: SavedForecasts
    confusion: Tensor  # (49, 49), rows are the truth

    @property
    def ious(self) -> np.ndarray:
        """(49,): IoU of each class, NaN where there is none."""
        return iou_per_class(self.confusion).numpy()

    @property
    def kinds(self) -> dict[str, float | None]:
        """Recall of still, moving and late objects, and the mean IoU of the classes of each shape, material, colour."""
        values: dict[str, float | None] = {kind: self.row.get(f"recall_{kind}") for kind in OBJECT_KINDS}
        ious = self.ious
        for position, names in enumerate(ATTRIBUTES.values()):
            for name in names:
                members = [i for i in range(1, N_CLASSES) if class_attributes(i)[position] == name]
                present = ious[members][np.isfinite(ious[members])]
                values[name] = float(present.mean()) if len(present) else None
        return values

    def ranked_videos(self) -> list[tuple[int, float]]:
        """Number and Jaccard index of each video, the best first."""
        scores = self.forecasts.scores()
        order = np.argsort(-scores, kind="stable")
        return [(int(self.forecasts.numbers[i]), float(scores[i])) for i in order]


@dataclass
class DataDetails:
    """The best systems on one data set, the best first; `missing` says why forecasts could not be read."""

    text: str
    systems: list[SystemDetails] = field(default_factory=list)
    missing: str = ""


def read_details(run_set: RunSet) -> list[DataDetails]:
    """The details of each data set, that with the most runs first. Data that are not on this disk are named."""
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in run_set.scores:
        groups.setdefault((row["scored_on"]["id"], row["split"], *row["size"]), []).append(row)
    found: list[DataDetails] = []
    for (_, split, height, width), rows in sorted(groups.items(), key=lambda item: -len(item[1])):
        details = DataDetails(f"{rows[0]['scored_on']['text']}; split {split}, {height}x{width} pixels")
        seen: set[tuple] = set()
        for row in rows:
            if (row["profile"], row["system"], row["input"]) in seen or len(details.systems) == MAX_SYSTEMS:
                continue
            seen.add((row["profile"], row["system"], row["input"]))
            try:
                forecasts = read_forecasts(run_set.folder / row["run"])
            except (ValueError, OSError) as error:
                details.missing = details.missing or str(error)
                if not details.systems and "are not in" in details.missing:
                    break  # nor are they for the other systems
                continue
            confusion = confusion_matrix(forecasts.masks, forecasts.targets())
            details.systems.append(SystemDetails(row, forecasts, confusion))
        found.append(details)
    return found
