"""Learned new-object suppression: a decision tree over regions, fitted to forecasts on training videos.

It sees the same features as the published rules and may keep, rename or remove any region. `text()` prints it.
"""

import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidseg_utils.classes import BACKGROUND
from vidseg_utils.paths import atomic_write
from vidseg_utils.systems.suppression.regions import Regions, find_regions
from vidseg_utils.systems.suppression.rules import (
    CLASS_DISTANCE,
    SMALL_PX,
    check_known,
    longest_known_neighbour,
    nearest_known,
    scaled_small_px,
)

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeClassifier

logger = logging.getLogger(__name__)
FEATURES = ("class was seen", "area (px at 160x240)", "touches a seen class", "distance to the nearest seen class")
ACTIONS = ("keep", "rename", "remove")  # rename: to the seen class that it touches, else to the nearest seen class
NOTHING_LEARNED = "nothing was learned, so every region stays: the forecasts hold no region that an action would change"
NOTHING_SEEN_DISTANCE = 8  # the distance feature if no class was seen; two classes differ by at most 7


@dataclass(frozen=True)
class Examples:
    """The R regions of forecast masks, with the best action for each."""

    features: np.ndarray  # (R, 4) float, see FEATURES
    actions: np.ndarray  # (R,) indices of ACTIONS: the action that makes most pixels correct
    importance_px: np.ndarray  # (R,) correct pixels of the best action minus those of the worst

    @classmethod
    def from_forecasts(cls, masks: np.ndarray, known: np.ndarray, truth: np.ndarray) -> "Examples":
        """masks: (B, H, W) forecasts; known: (B, 49) bool; truth: (B, H, W) true masks of the last frame."""
        regions, known = find_regions(masks), check_known(known, masks.shape[:1])
        pixel, region = regions.pixels(np.ones(len(regions), dtype=bool))
        true_class = np.asarray(truth).reshape(-1)[pixel]
        correct_px = np.stack(
            [
                np.bincount(region[true_class == class_ids[region]], minlength=len(regions))
                for class_ids in _classes_after_actions(regions, known)
            ],
            axis=1,
        )  # (R, 3)
        return cls(_features(regions, known), correct_px.argmax(axis=1), np.ptp(correct_px, axis=1))

    def save(self, path: Path, *, made_by: str) -> None:
        """Save the examples. made_by: hash of the weights of the networks that made the forecasts."""
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, made_by=made_by, **vars(self))

    @classmethod
    def load(cls, path: Path, *, made_by: str) -> "Examples | None":
        """Load saved examples; None if there are none, or if other networks made the forecasts."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                return cls(*(saved[name] for name in cls.__annotations__)) if saved["made_by"] == made_by else None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None


class LearnedSuppression:
    """A decision tree (CART, of scikit-learn) over regions, an alternative to `suppress_new_objects`."""

    tree: "DecisionTreeClassifier | None"

    def __init__(self, examples: Examples, *, max_depth: int = 3, min_samples_leaf: int = 10):
        """Fit the tree. If no action makes a difference there is nothing to learn, as with the empty forecasts of a
        network that was hardly trained: `tree` is then None, and every region stays.
        """
        self.tree = None
        matters = examples.importance_px > 0
        if not matters.any():
            logger.warning(NOTHING_LEARNED)
            return
        from sklearn.tree import DecisionTreeClassifier  # here, because the import takes half a second

        self.tree = DecisionTreeClassifier(max_depth=max_depth, min_samples_leaf=min_samples_leaf, random_state=0)
        self.tree.fit(examples.features[matters], examples.actions[matters], examples.importance_px[matters])

    def __call__(self, masks: np.ndarray, known: np.ndarray) -> np.ndarray:
        """masks: (B, H, W) class ids; known: (B, 49) bool -> (B, H, W) uint8."""
        regions, known = find_regions(masks), check_known(known, masks.shape[:1])
        if self.tree is None or not len(regions):
            return regions.masks.copy()
        actions = np.asarray(self.tree.predict(_features(regions, known)), dtype=np.int64)
        return regions.replace_classes(np.choose(actions, _classes_after_actions(regions, known)))

    def text(self) -> str:
        """The tree as indented questions, with the action at each leaf; without a tree, why there is none."""
        if self.tree is None:
            return f"{NOTHING_LEARNED}\n"
        from sklearn.tree import export_text

        names = [ACTIONS[action] for action in self.tree.classes_]
        return export_text(self.tree, feature_names=list(FEATURES), class_names=names, decimals=1)


def _features(regions: Regions, known: np.ndarray) -> np.ndarray:
    """(R, 4) float, in the order of FEATURES."""
    nearest = nearest_known(regions.class_id, known[regions.mask_index])
    distance = CLASS_DISTANCE[regions.class_id, np.maximum(nearest, 1)]
    scale = SMALL_PX / scaled_small_px(*regions.masks.shape[1:])
    return np.stack(
        [
            known[regions.mask_index, regions.class_id],
            regions.area_px * scale,
            longest_known_neighbour(regions, known) != BACKGROUND,
            np.where(nearest == BACKGROUND, NOTHING_SEEN_DISTANCE, distance),
        ],
        axis=1,
    ).astype(float)


def _classes_after_actions(regions: Regions, known: np.ndarray) -> list[np.ndarray]:
    """The class (R,) of every region after each of ACTIONS."""
    touching = longest_known_neighbour(regions, known)
    nearest = nearest_known(regions.class_id, known[regions.mask_index])
    renamed = np.where(touching != BACKGROUND, touching, nearest)
    return [regions.class_id, renamed, np.full(len(regions), BACKGROUND)]
