"""Pseudo-labels: a segmenter's masks of a whole split, kept on disk with the segmenter's identity.

They are made again for another segmenter and after the split was cached anew. An interrupted labelling resumes.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from vidseg_utils.classes import BACKGROUND, N_CLASSES
from vidseg_utils.data import ClipDataset, Item, SplitCache, to_float, writable_folder
from vidseg_utils.data.locks import lock_folder
from vidseg_utils.data.resumable_arrays import ResumableArrays
from vidseg_utils.progress import ProgressBar
from vidseg_utils.systems.suppression.rules import known_classes
from vidseg_utils.task import CLIP_FRAMES, PAST_FRAMES
from vidseg_utils.training.weights import weights_hash

_LABELS_FILE = "masks.npy"


def label_split(
    segmenter: nn.Module,
    split: SplitCache,
    *,
    n_frames: int = CLIP_FRAMES,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> np.memmap:
    """The segmenter's masks of frames 0..n_frames-1 of every video of a split; read from disk if it made them before.

    segmenter: (B, 3, H, W) float in [0, 1] -> (B, K, H, W) logits, on `device`
    returns: (N, n_frames, H, W) uint8, read-only, in the split's order
    """
    n_videos, _, _, height, width = split.frames.shape
    folder = writable_folder(split.root) / f"pseudo_labels_{split.split}_{height}x{width}_{n_frames}"
    source = {"segmenter": weights_hash(segmenter), "split": split.meta["id"], "videos": n_videos}
    with lock_folder(folder):
        labels = ResumableArrays(folder, {_LABELS_FILE: (n_frames, height, width)}, source=source)
        if labels.n_done < n_videos:
            labels.reserve(n_videos)
            todo = range(labels.n_done, n_videos)
            try:
                for video in ProgressBar(todo, desc=f"labelling {split.split}", unit="video", disable=not progress):
                    labels.append(_label(segmenter, split.frames[video, :n_frames], device)[None])
            finally:
                labels.save()
    return np.load(folder / _LABELS_FILE, mmap_mode="r")


@torch.inference_mode()
def _label(segmenter: nn.Module, frames: np.ndarray, device: torch.device | str) -> np.ndarray:
    """frames: (T, 3, H, W) uint8 -> (T, H, W) uint8 class ids."""
    logits = segmenter(to_float(torch.from_numpy(np.array(frames)).to(device)))
    return logits.argmax(dim=1).to(torch.uint8).cpu().numpy()


class PseudoLabelledClips(Dataset):
    """The clips of a split with pseudo-labels in place of masks; items are those of `ClipDataset`.

    labels: what `label_split` returned for all 22 frames of the split
    """

    def __init__(self, split: SplitCache, labels: np.memmap):
        if labels.shape != (len(split), split.frames.shape[1], *split.frames.shape[3:]):
            raise ValueError(f"labels of shape {labels.shape} don't fit the split's frames {split.frames.shape}")
        self.clips = ClipDataset(split, masks=False)
        self.path = Path(str(labels.filename))  # a pickled memory map would carry a copy of its content

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Item:
        labels = np.load(self.path, mmap_mode="r")[index]
        return self.clips[index] | {"masks": torch.from_numpy(np.array(labels))}


def without_late_objects(masks: np.ndarray, *, least_px: float) -> np.ndarray:
    """Data cleaning: True for each video in which no object first appears after frame 10.

    masks: (N, 22, H, W) uint8, true or pseudo; ids that are no class count as background
    least_px: pixels that an object must show in a frame to count as visible
    returns: (N,) bool
    """
    clean = np.zeros(len(masks), dtype=bool)
    for video, clip in enumerate(masks):
        clip = np.where(clip < N_CLASSES, clip, BACKGROUND)
        before, after = (known_classes(part, least_px=least_px) for part in (clip[:PAST_FRAMES], clip[PAST_FRAMES:]))
        clean[video] = not (after & ~before).any()
    return clean
