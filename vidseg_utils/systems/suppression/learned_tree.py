"""New-object suppression learned: a decision tree over regions, fitted to forecasts on training videos.

It sees what the published rules see, and may keep, rename or remove any region; read it with `text()`.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.tree import DecisionTreeClassifier, export_text

from vidseg_utils.classes import BACKGROUND
from vidseg_utils.paths import atomic_write
from vidseg_utils.systems.suppression.regions import Regions, find_regions
from vidseg_utils.systems.suppression.rules import (
    CLASS_DISTANCE,
    SMALL_PX,
    checked_known,
    default_small_px,
    known_neighbours,
    nearest_known,
)

FEATURES = ("class was seen", "area (px at 160x240)", "touches a seen class", "distance to the nearest seen class")
ACTIONS = ("keep", "rename", "remove")  # renamed to the seen class that it touches, else to the nearest seen one
FAR = 8  # the distance where no class was seen; the largest between two classes is 7


@dataclass(frozen=True)
class Examples:
    """Regions of forecasts, and what should have become of them; R of them."""

    features: np.ndarray  # (R, 4) float, see FEATURES
    actions: np.ndarray  # (R,) places in ACTIONS: the one that makes most pixels right
    stakes_px: np.ndarray  # (R,) pixels between the best and the worst action: how much the region matters

    @classmethod
    def from_forecasts(cls, masks: np.ndarray, known: np.ndarray, truth: np.ndarray) -> "Examples":
        """masks: (B, H, W) forecasts; known: (B, 49) bool; truth: (B, H, W) true masks of the last frame."""
        regions, known = find_regions(masks), checked_known(known, masks.shape[:1])
        pixels, of_pixel = regions.pixels(np.ones(len(regions), dtype=bool))
        true = np.asarray(truth).reshape(-1)[pixels]
        right = np.stack(
            [
                np.bincount(of_pixel[true == answer[of_pixel]], minlength=len(regions))
                for answer in _answers(regions, known)
            ],
            axis=1,
        )  # (R, 3) pixels that each action gets right
        return cls(_features(regions, known), right.argmax(axis=1), np.ptp(right, axis=1))

    def save(self, path: Path, *, made_by: str) -> None:
        """Keep them on disk; made_by: the identity of the networks whose forecasts they come from."""
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, made_by=made_by, **vars(self))

    @classmethod
    def load(cls, path: Path, *, made_by: str) -> "Examples | None":
        """What `save` kept; None where there is nothing, or where other networks made it."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                return cls(*(kept[name] for name in cls.__annotations__)) if kept["made_by"] == made_by else None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None


class LearnedSuppression:
    """A decision tree (CART, scikit-learn's) over regions; used in place of `suppress_new_objects`."""

    def __init__(self, examples: Examples, *, max_depth: int = 3, min_samples_leaf: int = 10):
        """Fit it. Raises ValueError where no region matters, so that there is nothing to learn."""
        matters = examples.stakes_px > 0
        if not matters.any():
            raise ValueError("none of the forecast regions covers an object's pixels; train the forecaster first")
        self.tree = DecisionTreeClassifier(max_depth=max_depth, min_samples_leaf=min_samples_leaf, random_state=0)
        self.tree.fit(examples.features[matters], examples.actions[matters], examples.stakes_px[matters])

    def __call__(self, masks: np.ndarray, known: np.ndarray) -> np.ndarray:
        """masks: (B, H, W) class ids; known: (B, 49) bool -> (B, H, W) uint8."""
        regions, known = find_regions(masks), checked_known(known, masks.shape[:1])
        if not len(regions):
            return regions.masks.copy()
        actions = self.tree.predict(_features(regions, known))
        return regions.painted(np.choose(actions, _answers(regions, known)))

    def text(self) -> str:
        """The tree as indented questions, with the action at each leaf."""
        names = [ACTIONS[action] for action in self.tree.classes_]
        return export_text(self.tree, feature_names=list(FEATURES), class_names=names, decimals=1)


def _features(regions: Regions, known: np.ndarray) -> np.ndarray:
    """(R, 4) float, in the order of FEATURES."""
    nearest = nearest_known(regions.class_id, known[regions.place])
    distance = np.where(nearest == BACKGROUND, FAR, CLASS_DISTANCE[regions.class_id, np.maximum(nearest, 1)])
    scale = SMALL_PX / default_small_px(*regions.masks.shape[1:])
    return np.stack(
        [
            known[regions.place, regions.class_id],
            regions.area_px * scale,
            known_neighbours(regions, known) != BACKGROUND,
            distance,
        ],
        axis=1,
    ).astype(float)


def _answers(regions: Regions, known: np.ndarray) -> list[np.ndarray]:
    """What each of ACTIONS makes of every region: three arrays (R,) of class ids."""
    joined = known_neighbours(regions, known)
    renamed = np.where(joined != BACKGROUND, joined, nearest_known(regions.class_id, known[regions.place]))
    return [regions.class_id, renamed, np.full(len(regions), BACKGROUND)]
