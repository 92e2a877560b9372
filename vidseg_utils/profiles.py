"""The sizes at which everything runs: `smoke` (proof), `cpu` (a laptop), `cpu_full` (the same in full frames), `gpu`.

One table, so that a notebook, the command line and a test mean the same by a profile's name.
"""

import os
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Profile:
    """Every size of one profile. Change single ones with `get_profile(name, unet_epochs=3)`."""

    name: str
    # videos of each split
    train: int
    val: int
    unlabeled: int
    hidden: int
    # working size of a frame, pixels; on disk it is always 160 x 240
    height: int
    width: int
    # U-Net
    unet_base_channels: int
    unet_head: str  # "flat" scores 49 classes apart, as published; "factored" adds up shape, material and colour
    unet_epochs: int
    unet_batch_size: int
    unet_frames_every: int  # of each training video every n-th frame
    unet_learning_rate: float
    unet_augmentation: tuple[str, ...]  # see data.transforms.build_augmentation
    # SimVP
    simvp_hid_s: int
    simvp_hid_t: int
    simvp_n_s: int
    simvp_n_t: int
    simvp_residual: bool  # predict the change since frame 10; False as published
    simvp_epochs: int
    simvp_batch_size: int
    simvp_learning_rate: float
    # interaction network of learned object dynamics
    interaction_epochs: int
    # recurrent U-Net
    recurrent_size: str  # small_shallow, small_deep or original
    recurrent_head: str  # as U-Net's
    recurrent_length: int  # frames of a training sequence
    recurrent_val_length: int
    recurrent_frame_epochs: int  # on single frames, before
    recurrent_frame_windows: int  # of each clip in such an epoch
    recurrent_epochs: int  # those on sequences
    recurrent_batch_size: int  # sequences
    recurrent_accumulation: int  # batches a step
    recurrent_frame_learning_rate: float  # on single frames
    recurrent_learning_rate: float  # on sequences
    recurrent_scheduler: str
    recurrent_augmentation: tuple[str, ...]
    cityscapes_height: int  # working height of its frames, which are twice as wide
    # SimVP on masks, object by object; the published media of masks take the sizes of SimVP above
    mask_configuration: str  # N_S_N_T_hid_S_hid_T_groups
    mask_cell: int  # pixels of the working size; single objects are forecast on a map of such cells
    mask_shrink: int  # the published media are forecast at 1/shrink of the working size, 1 as published
    mask_epochs: int
    mask_batch_size: int  # clips
    mask_learning_rate: float
    # ConvLSTM reconstructor
    convlstm_base_channels: int
    convlstm_hidden_channels: int
    convlstm_residual: bool  # as SimVP's
    convlstm_epochs: int
    convlstm_batch_size: int
    convlstm_learning_rate: float
    # semi-supervised SimVP; its network has SimVP's sizes
    semi_segmenter: str  # "unet" or "deeplabv3", as published
    semi_epochs: int  # of stage 3; stages 4 and 5 take a third as many
    semi_learning_rate: float
    # machine
    precision: str  # "no" (float32), "bf16" or "fp16"
    workers: int  # loader processes; 0 loads in the main one
    seed: int = 0

    @property
    def split_sizes(self) -> dict[str, int]:
        """Number of videos of each split."""
        return {"train": self.train, "val": self.val, "unlabeled": self.unlabeled, "hidden": self.hidden}


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="smoke",
            train=4,
            val=3,
            unlabeled=2,
            hidden=2,
            height=40,
            width=60,
            unet_base_channels=8,
            unet_head="factored",
            unet_epochs=1,
            unet_batch_size=8,
            unet_frames_every=4,
            unet_learning_rate=1e-3,
            unet_augmentation=("hflip", "object_crop"),
            simvp_hid_s=8,
            simvp_hid_t=16,
            simvp_n_s=2,
            simvp_n_t=2,
            simvp_residual=True,
            simvp_epochs=1,
            simvp_batch_size=2,
            simvp_learning_rate=1e-3,
            interaction_epochs=2,
            recurrent_size="small_shallow",
            recurrent_head="factored",
            recurrent_length=3,
            recurrent_val_length=4,
            recurrent_frame_epochs=1,
            recurrent_frame_windows=1,
            recurrent_epochs=1,
            recurrent_batch_size=2,
            recurrent_accumulation=1,
            recurrent_frame_learning_rate=1e-3,
            recurrent_learning_rate=1e-3,
            recurrent_scheduler="onecycle",
            recurrent_augmentation=("hflip", "object_crop"),
            cityscapes_height=64,
            mask_configuration="2_2_4_8_1",
            mask_cell=2,
            mask_shrink=2,
            mask_epochs=1,
            mask_batch_size=2,
            mask_learning_rate=1e-3,
            convlstm_base_channels=4,
            convlstm_hidden_channels=8,
            convlstm_residual=True,
            convlstm_epochs=1,
            convlstm_batch_size=2,
            convlstm_learning_rate=1e-3,
            semi_segmenter="unet",
            semi_epochs=1,
            semi_learning_rate=1e-3,
            precision="no",
            workers=0,
        ),
        Profile(
            name="cpu",
            train=300,
            val=100,
            unlabeled=100,
            hidden=20,
            height=80,
            width=120,
            unet_base_channels=16,
            unet_head="factored",
            unet_epochs=20,
            unet_batch_size=16,
            unet_frames_every=2,
            unet_learning_rate=8e-3,
            unet_augmentation=("hflip", "object_crop"),
            simvp_hid_s=16,
            simvp_hid_t=128,
            simvp_n_s=4,
            simvp_n_t=4,
            simvp_residual=True,
            simvp_epochs=3,
            simvp_batch_size=4,
            simvp_learning_rate=2e-3,
            interaction_epochs=30,
            recurrent_size="small_deep",
            recurrent_head="factored",
            recurrent_length=5,
            recurrent_val_length=12,
            recurrent_frame_epochs=14,
            recurrent_frame_windows=8,
            recurrent_epochs=8,
            recurrent_batch_size=8,
            recurrent_accumulation=1,
            recurrent_frame_learning_rate=8e-3,
            recurrent_learning_rate=1e-3,
            recurrent_scheduler="onecycle",
            recurrent_augmentation=("hflip", "object_crop"),
            cityscapes_height=128,
            mask_configuration="2_3_8_64_1",
            mask_cell=4,
            mask_shrink=4,
            mask_epochs=8,
            mask_batch_size=2,
            mask_learning_rate=2e-3,
            convlstm_base_channels=8,
            convlstm_hidden_channels=32,
            convlstm_residual=True,
            convlstm_epochs=12,
            convlstm_batch_size=2,
            convlstm_learning_rate=1e-3,
            semi_segmenter="unet",
            semi_epochs=3,
            semi_learning_rate=2e-3,
            precision="no",
            workers=0,
        ),
        Profile(
            name="gpu",
            train=1000,
            val=1000,
            unlabeled=13000,
            hidden=2000,
            height=160,
            width=240,
            unet_base_channels=64,
            unet_head="flat",
            unet_epochs=30,
            unet_batch_size=32,
            unet_frames_every=1,
            unet_learning_rate=1e-3,
            unet_augmentation=("hflip", "vflip", "crop", "rotate"),
            simvp_hid_s=64,
            simvp_hid_t=256,
            simvp_n_s=4,
            simvp_n_t=8,
            simvp_residual=False,
            simvp_epochs=25,
            simvp_batch_size=8,
            simvp_learning_rate=1e-3,
            interaction_epochs=30,
            recurrent_size="original",
            recurrent_head="flat",
            recurrent_length=5,
            recurrent_val_length=12,
            recurrent_frame_epochs=100,
            recurrent_frame_windows=1,
            recurrent_epochs=100,
            recurrent_batch_size=4,
            recurrent_accumulation=4,
            recurrent_frame_learning_rate=3e-4,
            recurrent_learning_rate=3e-4,
            recurrent_scheduler="plateau",
            recurrent_augmentation=("hflip", "crop"),
            cityscapes_height=512,
            mask_configuration="2_8_64_256_8",
            mask_cell=4,
            mask_shrink=1,
            mask_epochs=25,
            mask_batch_size=8,
            mask_learning_rate=1e-3,
            convlstm_base_channels=64,
            convlstm_hidden_channels=256,
            convlstm_residual=False,
            convlstm_epochs=25,
            convlstm_batch_size=8,
            convlstm_learning_rate=1e-4,
            semi_segmenter="deeplabv3",
            semi_epochs=25,
            semi_learning_rate=1e-3,
            precision="bf16",
            workers=4,
        ),
    )
}
PROFILES["cpu_full"] = replace(  # the videos of cpu at the course's size of frames; its U-Net can start from cpu's
    PROFILES["cpu"], name="cpu_full", height=160, width=240, unet_epochs=8, unet_learning_rate=4e-3
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
