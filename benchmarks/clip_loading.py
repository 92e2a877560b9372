"""How fast clips load from the cache, from PNG files by Pillow and by torchvision, and how fast memory is copied.

    python benchmarks/clip_loading.py                     # 64 synthetic clips of 22 frames, 160x240
    python benchmarks/clip_loading.py --root data/gpu     # a data set of yours

One table, all rows in one run on the same clips: milliseconds a clip, and GB/s of frames.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision.io import decode_image

from vidseg_utils.data import ClipDataset, SplitCache, collate, list_videos, open_split, read_frames, write_video
from vidseg_utils.task import CLIP_FRAMES, HEIGHT, PAST_FRAMES, WIDTH

BATCH_SIZE = 8


def make_data(root: Path, n_videos: int) -> None:
    """Write noise on a gradient: the PNG files are about as large as real ones, which decides the cost of decoding."""
    rng = np.random.default_rng(0)
    ground = np.linspace(90, 150, HEIGHT)[:, None] * np.ones((3, 1, WIDTH))
    for number in range(n_videos):
        still = ground + rng.normal(0, 0.7, (3, HEIGHT, WIDTH))
        frames = np.clip(still + rng.normal(0, 0.3, (CLIP_FRAMES, 3, HEIGHT, WIDTH)), 0, 255).astype(np.uint8)
        write_video(root / "unlabeled" / f"video_{number}", frames)


def copy_epoch(source: np.ndarray, target: np.ndarray, order: np.ndarray) -> None:
    """The reference: copy the clips in that order into one existing batch."""
    for row, index in enumerate(order):
        target[row % len(target)] = source[index]


def clip_epoch(batches: Iterable[dict[str, torch.Tensor]]) -> int:
    """An epoch as in training: each batch is split into 11 past and 11 future frames. Returns the number of clips."""
    return sum(len(batch["frames"][:, :PAST_FRAMES]) + len(batch["frames"][:, PAST_FRAMES:]) for batch in batches)


def decode_with_torchvision(folder: Path) -> torch.Tensor:
    """(22, 3, H, W) uint8 by torchvision's own PNG decoder."""
    return torch.stack([decode_image(str(folder / f"image_{t}.png")) for t in range(CLIP_FRAMES)])


def one_by_one(clips: ClipDataset | np.ndarray, order: np.ndarray) -> None:
    """Read each clip and discard it."""
    for index in order:
        np.array(clips[index]) if isinstance(clips, np.ndarray) else clips[index]


def measure(cache: SplitCache, folders: list[Path], *, repeats: int) -> dict[str, float]:
    """Row of the table -> milliseconds a clip, the best of `repeats` rounds after one that warms the page cache."""
    n_clips, clips = len(cache), ClipDataset(cache, masks=False)
    order = np.random.default_rng(0).permutation(n_clips)
    source = np.array(cache.frames)  # in memory
    target = np.empty_like(source[:BATCH_SIZE])
    loader = DataLoader(clips, batch_size=BATCH_SIZE, shuffle=True, collate_fn=collate)
    decoded_folders = folders[: max(2, n_clips // 16)]  # decoding is slow
    videos = list_videos(cache.root, cache.split)[: len(decoded_folders)]
    actions: dict[str, tuple[int, Callable[[], object]]] = {
        "memory copy, into an existing batch": (n_clips, lambda: copy_epoch(source, target, order)),
        "memory copy, clip by clip, into new memory": (n_clips, lambda: one_by_one(source, order)),
        "cache, clip by clip": (n_clips, lambda: one_by_one(clips, order)),
        f"cache, shuffled epoch in batches of {BATCH_SIZE}": (n_clips, lambda: clip_epoch(loader)),
        "PNG by Pillow, checked (fills the cache)": (len(decoded_folders), lambda: [read_frames(v) for v in videos]),
        "PNG by torchvision": (len(decoded_folders), lambda: [decode_with_torchvision(f) for f in decoded_folders]),
    }
    best = dict.fromkeys(actions, float("inf"))
    for round_ in range(repeats + 1):
        for name, (count, action) in actions.items():
            start = time.perf_counter()
            action()
            if round_:
                best[name] = min(best[name], 1000 * (time.perf_counter() - start) / count)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="data set in the course layout (default: synthetic clips)")
    parser.add_argument("--split", default="unlabeled")
    parser.add_argument("--videos", type=int, default=64, help="clips to make when there is no --root")
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # torchvision announces that its decoders move to another package
    warnings.filterwarnings(
        "ignore", message="The image decoding and encoding capabilities", category=DeprecationWarning
    )
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.root or Path(folder)
        if arguments.root is None:
            make_data(root, arguments.videos)
        cache = open_split(root, arguments.split)
        folders = [video.folder for video in list_videos(root, arguments.split)]
        rows = measure(cache, folders, repeats=arguments.repeats)
    clip_bytes = cache.frames[0].nbytes
    print(f"{len(cache)} clips of {clip_bytes / 1e6:.2f} MB, {cache.frames.shape[1:]} uint8, one thread")
    copy_ms = next(iter(rows.values()))
    print(f"{'':48}{'ms a clip':>10}{'GB/s':>8}{'of memory copy':>16}")
    for name, ms in rows.items():
        print(f"{name:48}{ms:10.3f}{clip_bytes / ms / 1e6:8.2f}{copy_ms / ms:15.0%}")


if __name__ == "__main__":
    main()
