"""How much `benchmarks/gpu.py` measures: at full size, or so little that any machine runs it in a minute."""

from dataclasses import dataclass
from typing import Any

SMALL_UNET = {  # 1.9 M parameters; trained like this on 1,000 videos it reached a Jaccard index of 0.96
    "unet.base_channels": 16,
    "unet.head": "factored",
    "unet.epochs": 6,
    "unet.batch_size": 64,
    "unet.learning_rate": 8e-3,
    "unet.augmentation": ("hflip", "object_crop"),
}
SMOKE_SIZES = {"unet.base_channels": 4, "unet.batch_size": 4, "unet.frames_every": 11, "unet.epochs": 1}


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    many: tuple[int, int]  # videos in train and val: the set of the small U-Net, and of the evaluation
    few: tuple[int, int]  # those that large networks train on
    step_options: dict[str, tuple[str, ...]]  # name of a network -> options of training_step.py
    profile: str  # of the trainings
    sizes: dict[str, Any]  # of the profile, replaced in all trainings
    frame_sizes: tuple[tuple[int, int], ...]  # of the live segmentation
    repeats: int  # frames that are timed live


FULL = Scale(
    many=(1000, 400),
    few=(256, 32),
    step_options={
        "unet": ("--published", "--batch-size", "16"),
        "simvp": ("--published", "--batch-size", "16"),
        "mask_simvp": ("--published", "--batch-size", "16"),
        "small unet": (  # on the windows that "object_crop" cuts: so small that starting its work takes the time
            *("--height", "48", "--width", "64", "--batch-size", "64", "--base-channels", "16", "--head", "factored"),
        ),
    },
    profile="gpu",
    sizes={"unlabeled": 0, "hidden": 0, "workers": 14},
    frame_sizes=((160, 240), (512, 1024)),
    repeats=100,
)
SMOKE = Scale(
    many=(3, 2),
    few=(2, 2),
    step_options={
        "unet": ("--height", "32", "--width", "48", "--base-channels", "4", "--batch-size", "1", "--steps", "1"),
        "simvp": ("--height", "32", "--width", "48", "--hid-s", "4", "--hid-t", "8", "--n-s", "2", "--steps", "1"),
    },
    profile="smoke",
    sizes={"unlabeled": 0, "hidden": 0, "height": 40, "width": 60, **SMOKE_SIZES},
    frame_sizes=((32, 48),),
    repeats=2,
)
