"""Compare U-Net's two heads by Jaccard index on validation frames, for few and many labelled videos.

    python benchmarks/labelled_videos.py                          # 10, 100 and 300 videos: 10 minutes on two cores
    python benchmarks/labelled_videos.py --videos 10 1000 --profile gpu
    python benchmarks/labelled_videos.py --videos 1000 --root data/many    # another data set

"flat" has one output per class. "factored" adds outputs for shape, material and colour, so a red cube also teaches it
the colour of a red sphere. Every network is trained for the same number of steps, with the batch size and augmentation
of the profile.
"""

import argparse

import torch
from torch.utils.data import DataLoader, RandomSampler, Subset
from tqdm.auto import tqdm

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data import FrameDataset, build_augmentation, collate, generate, to_float
from vidseg_utils.models import build_model
from vidseg_utils.systems.unet_segmenter import VAL_FRAME_STEP, UNetSizes, score_segmenter
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.training.loaders import seed_everything
from vidseg_utils.training.losses import build_loss


def trained_jaccard(workspace: Workspace, *, head: str, videos: int, steps: int) -> float:
    """Train a U-Net on the frames of the first `videos` videos; returns its Jaccard index on validation frames."""
    sizes = UNetSizes.for_profile(workspace.profile)
    seed_everything(workspace.profile.training_seed)
    frames = FrameDataset(
        workspace.split("train"),
        transform=build_augmentation(*sizes.augmentation),
        every=sizes.frames_every,
    )
    subset = Subset(frames, range(videos * frames.frames_per_video))
    order = RandomSampler(subset, replacement=True, num_samples=steps * sizes.batch_size)
    model = build_model("unet", n_classes=N_CLASSES, base_channels=sizes.base_channels, head=head)
    model.to(workspace.device, memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(model.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, sizes.learning_rate, steps, pct_start=0.1)
    criterion = build_loss("cross_entropy")
    loader = DataLoader(subset, batch_size=sizes.batch_size, sampler=order, collate_fn=collate)
    for batch in tqdm(loader, desc=f"{head}, {videos} videos", leave=False):
        logits = model(to_float(batch["frame"].to(workspace.device)))
        criterion(logits, batch["mask"].to(workspace.device).long()).backward()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
    model.eval()
    val = FrameDataset(workspace.split("val"), every=VAL_FRAME_STEP)
    score = score_segmenter(model, DataLoader(val, batch_size=16, collate_fn=collate), workspace.device)
    return score["jaccard"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, nargs="+", default=[10, 100, 300], help="default 10 100 300")
    parser.add_argument("--steps", type=int, default=1500, help="optimiser steps of every training; default 1500")
    parser.add_argument("--profile", default="cpu", help="default cpu")
    parser.add_argument("--root", help="data set; default: that of the profile")
    options = parser.parse_args()
    workspace = Workspace.for_profile(options.profile, root=options.root)
    if options.root is None:
        generate(workspace.root, **workspace.profile.split_sizes, seed=workspace.profile.seed)
    available = len(workspace.split("train"))
    if max(options.videos) > available:
        parser.error(f"there are {available} training videos in {workspace.root}, not {max(options.videos)}")
    print(f"{'labelled videos':>15} {'flat':>8} {'factored':>9}")
    for videos in options.videos:
        flat, factored = (
            trained_jaccard(workspace, head=head, videos=videos, steps=options.steps) for head in ("flat", "factored")
        )
        print(f"{videos:15,} {flat:8.3f} {factored:9.3f}", flush=True)


if __name__ == "__main__":
    main()
