"""Pseudo-labels: a segmenter's masks of a whole split, kept on disk with the identity of the segmenter beside them.

Another segmenter, or a split that was cached anew, makes them stale, and they are made again. An interrupted labelling
goes on after the last video that was written.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from vidseg_utils.classes import BACKGROUND, N_CLASSES
from vidseg_utils.data.cache import SplitCache, writable_folder
from vidseg_utils.data.cache_writer import locked, no_room_is_one_line
from vidseg_utils.data.datasets import ClipDataset, Item
from vidseg_utils.data.transforms import to_float
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.systems.suppression.rules import known_classes
from vidseg_utils.task import CLIP_FRAMES, PAST_FRAMES
from vidseg_utils.training.weights import weights_hash

MASKS_FILE, RECORD = "masks.npy", "made_by.json"
NOTE_EVERY = 16  # videos between two notes of how far the labelling has come


def label_split(
    segmenter: nn.Module,
    split: SplitCache,
    *,
    n_frames: int = CLIP_FRAMES,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> np.memmap:
    """The segmenter's masks of frames 0..n_frames-1 of every video of a split, from the disk if it made them before.

    segmenter: (B, 3, H, W) float in [0, 1] -> (B, K, H, W) logits, on `device`
    returns: (N, n_frames, H, W) uint8, read-only, in the split's order
    """
    n_videos, _, _, height, width = split.frames.shape
    shape = (n_videos, n_frames, height, width)
    folder = writable_folder(split.root) / f"pseudo_labels_{split.split}_{height}x{width}_{n_frames}"
    made_by = {"segmenter": weights_hash(segmenter), "split": split.meta["id"], "shape": list(shape)}
    with locked(folder), no_room_is_one_line(folder):
        done = _labelled(folder, made_by)
        if done is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            np.lib.format.open_memmap(folder / MASKS_FILE, mode="w+", dtype=np.uint8, shape=shape).flush()
            done = 0
        if done < n_videos:
            masks = np.load(folder / MASKS_FILE, mmap_mode="r+")
            bar = tqdm(range(done, n_videos), desc=f"labelling {split.split}", unit="video", disable=not progress)
            for video in bar:
                masks[video] = _label(segmenter, split.frames[video, :n_frames], device)
                if (video + 1) % NOTE_EVERY == 0 or video + 1 == n_videos:
                    masks.flush()
                    write_json(folder / RECORD, made_by | {"done": video + 1})
    return np.load(folder / MASKS_FILE, mmap_mode="r")


def _labelled(folder: Path, made_by: dict) -> int | None:
    """How many videos of these labels are there; None for those of another segmenter or split, and for damaged ones."""
    try:
        record = read_json(folder / RECORD)
        masks = np.load(folder / MASKS_FILE, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = made_by.items() <= record.items() and masks.shape == tuple(made_by["shape"]) and masks.dtype == np.uint8
    return record.get("done") if fits else None


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
        self.path = Path(labels.filename)  # the map itself would travel to a loader's process as a copy

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Item:
        labels = np.load(self.path, mmap_mode="r")[index]
        return self.clips[index] | {"masks": torch.from_numpy(np.array(labels))}


def without_late_objects(masks: np.ndarray, *, least_px: float) -> np.ndarray:
    """Data cleaning: whether each video is free of objects that first appear after frame 10.

    masks: (N, 22, H, W) uint8, true or pseudo; ids that are no class count as background
    least_px: an object is there in a frame that shows that many pixels of it
    returns: (N,) bool
    """
    clean = np.zeros(len(masks), dtype=bool)
    for video, clip in enumerate(masks):
        clip = np.where(clip < N_CLASSES, clip, BACKGROUND)
        before, after = (known_classes(part, least_px=least_px) for part in (clip[:PAST_FRAMES], clip[PAST_FRAMES:]))
        clean[video] = not (after & ~before).any()
    return clean
