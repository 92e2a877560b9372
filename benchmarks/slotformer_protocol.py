"""SlotFormer's protocol as a second score: 6 frames in, 10 frames out, mean IoU of foreground objects at 64x64.

All systems are scored that are trained at the profile and forecast every frame; the others are named.

    python benchmarks/slotformer_protocol.py --profile cpu
"""

import argparse

import torch

from vidseg_utils.evaluation.slotformer_protocol import (
    PUBLISHED_FOREGROUND_MIOU,
    can_forecast_every_frame,
    score_as_slotformer,
)
from vidseg_utils.systems import SYSTEMS, Workspace, build_system

SHOWN = (1, 4, 7, 10)  # horizons in frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="auto", help="whose data and runs")
    parser.add_argument("--videos", type=int, help="validation videos, at most [default: all]")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    workspace = Workspace.for_profile(arguments.profile)
    split = workspace.split("val")
    print("foreground mIoU".ljust(28), "given".ljust(11), "mean ", *(f"{n:>6d}" for n in SHOWN))
    for name in SYSTEMS:
        try:
            system = build_system(name, workspace=workspace)
        except ValueError as error:
            print(f"{name:28s} {error}")
            continue
        if not can_forecast_every_frame(system):
            print(f"{name:28s} reads exactly 11 frames")
            continue
        for true_masks in (False, True):
            if (true_masks and not system.accepts_masks) or (not true_masks and system.needs_masks):
                continue
            scores = score_as_slotformer(
                system,
                split,
                device=workspace.device,
                true_masks=true_masks,
                videos=arguments.videos,
                progress=False,
            )
            given = "true masks" if true_masks else "frames"
            print(f"{name:28s} {given:11s} {scores.mean():.3f}", *(f"{scores[n - 1]:6.3f}" for n in SHOWN), flush=True)
    for name, score in PUBLISHED_FOREGROUND_MIOU.items():
        print(f"{name:28s} {'frames':11s} {score:.3f}  published, of other videos")


if __name__ == "__main__":
    main()
