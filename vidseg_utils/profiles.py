"""The sizes at which everything runs: `smoke` (proof), `cpu` (a laptop), `cpu_full` (the same in full frames), `gpu`.

One table, so that a notebook, the command line and a test mean the same by a profile's name.
"""

import os
from dataclasses import dataclass, field, fields, replace
from typing import Any


def _sizes(smoke: Any, cpu: Any, gpu: Any) -> Any:
    """One line of the table."""
    return field(metadata={"smoke": smoke, "cpu": cpu, "gpu": gpu})


@dataclass(frozen=True)
class Profile:
    """Every size, as smoke, cpu and gpu have it. Change single ones with `get_profile(name, unet_epochs=3)`."""

    name: str
    # videos of each split
    train: int = _sizes(4, 300, 1_000)
    val: int = _sizes(3, 100, 1_000)
    unlabeled: int = _sizes(2, 100, 13_000)
    hidden: int = _sizes(2, 20, 2_000)
    # working size of a frame, pixels; on disk it is always 160 x 240
    height: int = _sizes(40, 80, 160)
    width: int = _sizes(60, 120, 240)
    # U-Net
    unet_base_channels: int = _sizes(8, 16, 64)
    # "flat" scores 49 classes apart, as published; "factored" adds up shape, material and colour
    unet_head: str = _sizes("factored", "factored", "flat")
    unet_epochs: int = _sizes(1, 20, 30)
    unet_batch_size: int = _sizes(8, 16, 32)
    unet_frames_every: int = _sizes(4, 2, 1)  # of each training video every n-th frame
    unet_learning_rate: float = _sizes(1e-3, 8e-3, 1e-3)
    # see data.transforms.build_augmentation
    unet_augmentation: tuple[str, ...] = _sizes(
        ("hflip", "object_crop"), ("hflip", "object_crop"), ("hflip", "vflip", "crop", "rotate")
    )
    # SimVP
    simvp_hid_s: int = _sizes(8, 16, 64)
    simvp_hid_t: int = _sizes(16, 128, 256)
    simvp_n_s: int = _sizes(2, 4, 4)
    simvp_n_t: int = _sizes(2, 4, 8)
    simvp_residual: bool = _sizes(True, True, False)  # predict the change since frame 10; False as published
    simvp_epochs: int = _sizes(1, 3, 25)
    simvp_batch_size: int = _sizes(2, 4, 4)  # clips; 8 of 160x240 do not fit in 16 GB
    simvp_learning_rate: float = _sizes(1e-3, 2e-3, 1e-3)
    # interaction network of learned object dynamics
    interaction_epochs: int = _sizes(2, 30, 30)
    # recurrent U-Net
    recurrent_size: str = _sizes("small_shallow", "small_deep", "original")  # small_shallow, small_deep or original
    recurrent_head: str = _sizes("factored", "factored", "flat")  # as U-Net's
    recurrent_length: int = _sizes(3, 5, 5)  # frames of a training sequence
    recurrent_val_length: int = _sizes(4, 12, 12)
    recurrent_frame_epochs: int = _sizes(1, 14, 100)  # on single frames, before
    recurrent_frame_windows: int = _sizes(1, 8, 1)  # of each clip in such an epoch
    recurrent_epochs: int = _sizes(1, 5, 100)  # those on sequences
    recurrent_batch_size: int = _sizes(2, 8, 4)  # sequences
    recurrent_accumulation: int = _sizes(1, 1, 4)  # batches a step
    recurrent_frame_learning_rate: float = _sizes(1e-3, 8e-3, 3e-4)  # on single frames
    recurrent_learning_rate: float = _sizes(1e-3, 1e-3, 3e-4)  # on sequences
    recurrent_scheduler: str = _sizes("onecycle", "onecycle", "plateau")
    recurrent_augmentation: tuple[str, ...] = _sizes(
        ("hflip", "object_crop"), ("hflip", "object_crop"), ("hflip", "crop")
    )
    cityscapes_height: int = _sizes(64, 128, 512)  # working height of its frames, which are twice as wide
    # SimVP on masks, object by object; the published representations of masks take the sizes of SimVP above
    mask_configuration: str = _sizes("2_2_4_8_1", "2_3_8_64_1", "2_8_64_256_8")  # N_S_N_T_hid_S_hid_T_groups
    mask_cell: int = _sizes(2, 4, 4)  # pixels of the working size; single objects are forecast on a map of such cells
    # the published representations are forecast at 1/shrink of the working size, 1 as published
    mask_shrink: int = _sizes(2, 4, 1)
    mask_epochs: int = _sizes(1, 8, 25)
    mask_batch_size: int = _sizes(2, 2, 8)  # clips
    mask_learning_rate: float = _sizes(1e-3, 2e-3, 1e-3)
    # ConvLSTM reconstructor
    convlstm_base_channels: int = _sizes(4, 8, 64)
    convlstm_hidden_channels: int = _sizes(8, 32, 256)
    convlstm_residual: bool = _sizes(True, True, False)  # as SimVP's
    convlstm_epochs: int = _sizes(1, 12, 25)
    convlstm_batch_size: int = _sizes(2, 2, 8)
    convlstm_learning_rate: float = _sizes(1e-3, 1e-3, 1e-4)
    # semi-supervised SimVP; its network has SimVP's sizes
    semi_segmenter: str = _sizes("unet", "unet", "deeplabv3")  # "unet" or "deeplabv3", as published
    semi_epochs: int = _sizes(1, 3, 25)  # of stage 3; stages 4 and 5 take a third as many
    semi_learning_rate: float = _sizes(1e-3, 2e-3, 1e-3)
    # machine
    precision: str = _sizes("no", "no", "bf16")  # "no" (float32), "bf16" or "fp16"
    workers: int = _sizes(0, 0, 4)  # loader processes; 0 loads in the main one
    seed: int = 0

    @property
    def split_sizes(self) -> dict[str, int]:
        """Number of videos of each split."""
        return {"train": self.train, "val": self.val, "unlabeled": self.unlabeled, "hidden": self.hidden}


PROFILES = {
    name: Profile(name, **{size.name: size.metadata[name] for size in fields(Profile) if size.metadata})
    for name in ("smoke", "cpu", "gpu")
}
PROFILES["cpu_full"] = replace(  # the videos of cpu at the course's size of frames; its U-Net can start from cpu's
    PROFILES["cpu"], name="cpu_full", height=160, width=240, unet_epochs=8, unet_learning_rate=4e-3, mask_cell=8
)


def get_profile(name: str = "auto", **overrides: int | str) -> Profile:
    """The profile of that name; "auto" reads $VIDSEG_PROFILE and falls back to cpu. Overrides replace single sizes.

    Raises ValueError for an unknown profile or size, with the choices.
    """
    if name == "auto":
        name = os.environ.get("VIDSEG_PROFILE") or "cpu"
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; choose from {sorted(PROFILES)}")
    profile = PROFILES[name]
    if unknown := sorted(set(overrides) - set(profile.__dataclass_fields__)):
        raise ValueError(f"unknown size {unknown[0]!r}; a profile has {sorted(profile.__dataclass_fields__)}")
    return replace(profile, **overrides)
