"""Cityscapes sequences: street scenes of 30 frames, of which one, the 20th, has a label.

Cordts et al., The Cityscapes Dataset (CVPR 2016). Label ids are mapped to its 19 training classes and a 20th for all
other ids.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

from vidseg_utils.classes import IGNORE_INDEX
from vidseg_utils.data.faults import Fault
from vidseg_utils.data.png import png_size, read_png
from vidseg_utils.data.resize import area_scale, nearest_scale

if TYPE_CHECKING:
    from vidseg_utils.data.transforms import Transform

logger = logging.getLogger(__name__)
CLASS_NAMES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle", "everything else",
)  # fmt: skip
TRAIN_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)  # label ids of classes 0..18
N_CITYSCAPES_CLASSES = len(CLASS_NAMES)  # 20
CLASS_OF_ID = np.full(256, N_CITYSCAPES_CLASSES - 1, dtype=np.uint8)
CLASS_OF_ID[list(TRAIN_IDS)] = np.arange(len(TRAIN_IDS))

_LABEL = re.compile(r"(.+_[0-9]+)_([0-9]+)_gtFine_labelIds\.png")


@dataclass(frozen=True)
class _Snippet:
    label: Path
    frames: dict[int, Path]  # by distance from the labelled frame: -19..10 in the full set


class CityscapesSequences(Dataset):
    """Sequences around the labelled frames: dict(frames: (T, 3, H, W) uint8, masks: (T, H, W) uint8 0..19).

    One frame is labelled; the masks of the others are 255. Snippets with too few frames are left out and counted in one
    logged line.

    step: take every step-th frame
    random_position: the labelled frame has a random position in the sequence; otherwise it is the last
    size: (height, width) to scale down to
    transform: changes all frames and masks alike
    """

    def __init__(
        self,
        root: Path | str,
        split: str,
        length: int = 5,
        *,
        step: int = 1,
        random_position: bool = False,
        size: tuple[int, int] | None = None,
        transform: "Transform | None" = None,
    ):
        if length < 1 or step < 1:
            raise ValueError(f"length {length} and step {step} must be at least 1")
        self.length, self.step, self.random_position = length, step, random_position
        self.size, self.transform = size, transform
        root = Path(root).expanduser()
        snippets = _list_snippets(root, split)
        self.items = [(snippet, positions) for snippet in snippets if (positions := self._label_positions(snippet))]
        if not self.items:
            raise ValueError(f"no labelled frame of {root / 'gtFine' / split} has a sequence of {length} frames")
        if len(self.items) < len(snippets):
            left_out = len(snippets) - len(self.items)
            logger.warning(f"{root}/{split}: left out {left_out} of {len(snippets)} snippets with too few frames")

    def _label_positions(self, snippet: _Snippet) -> list[int]:
        """Positions of the labelled frame in the sequence for which all frames of the sequence exist."""
        candidates = range(self.length) if self.random_position else [self.length - 1]
        return [p for p in candidates if all((t - p) * self.step in snippet.frames for t in range(self.length))]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        snippet, positions = self.items[index]
        labelled = positions[int(torch.randint(len(positions), ()))] if len(positions) > 1 else positions[0]
        height, width = png_size(snippet.label)
        label_ids = read_png(snippet.label, height=height, width=width, greyscale=True)
        paths = [snippet.frames[(t - labelled) * self.step] for t in range(self.length)]
        frames = np.stack([read_png(path, height=height, width=width).transpose(2, 0, 1) for path in paths])
        mask = CLASS_OF_ID[label_ids]
        if self.size is not None:
            frames = area_scale(frames, height=self.size[0], width=self.size[1])
            mask = nearest_scale(mask[None], height=self.size[0], width=self.size[1])[0]
        masks = np.full((self.length, *mask.shape), IGNORE_INDEX, dtype=np.uint8)
        masks[labelled] = mask
        item = {"frames": torch.from_numpy(frames), "masks": torch.from_numpy(masks)}
        if self.transform is None:
            return item
        from vidseg_utils.data.transforms import augment_item  # here, because torchvision takes two seconds to import

        return augment_item(self.transform, item)


def _list_snippets(root: Path, split: str) -> list[_Snippet]:
    labels, pictures = root / "gtFine" / split, root / "leftImg8bit_sequence" / split
    for folder in (labels, pictures):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is missing; gtFine and leftImg8bit_sequence stand side by side")
    if not any(labels.glob("*/*_gtFine_labelIds.png")):
        found = "labels of another kind, such as labelTrainIds" if any(labels.glob("*/*.png")) else "no labels"
        raise ValueError(
            f"{labels} holds {found}; it needs CITY/CITY_SEQ_FRAME_gtFine_labelIds.png, see gtFine_trainvaltest.zip"
        )
    snippets = []
    for label in sorted(labels.glob("*/*_gtFine_labelIds.png")):
        match = _LABEL.fullmatch(label.name)
        if match is None:
            raise Fault("unreadable image", label, "expected CITY_SEQ_FRAME_gtFine_labelIds.png")
        sequence, digits = match[1], match[2]
        frames = {}
        for distance in range(-19, 11):
            number = int(digits) + distance
            path = pictures / label.parent.name / f"{sequence}_{number:0{len(digits)}d}_leftImg8bit.png"
            if number >= 0 and path.is_file():
                frames[distance] = path
        snippets.append(_Snippet(label, frames))
    return snippets
