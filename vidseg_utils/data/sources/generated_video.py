"""Generate one video and write it.

A video depends only on the seed of its set and its own number, so it does not matter which process makes it or when.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidseg_utils.data.layout import ANNOTATION_FILE, HIDDEN_TRUTH, LABELLED, MASK_FILE, n_frames, write_video
from vidseg_utils.data.mask_file import write_mask_file
from vidseg_utils.paths import atomic_write
from vidseg_utils.renderer import render_video
from vidseg_utils.simulator import PhysicsSettings, simulate_video
from vidseg_utils.task import CLIP_VIDEO_FRAMES, PAST_FRAMES
from vidseg_utils.world import COURSE_LABELS, LabelOffset, Trajectory, write_annotation


@dataclass(frozen=True)
class VideoJob:
    """One video to make."""

    root: Path
    split: str
    number: int
    seed: int
    physics: PhysicsSettings
    device: str  # for ray casting
    label_offset: LabelOffset = COURSE_LABELS

    @property
    def folder(self) -> Path:
        """Folder of its images."""
        return self.root / self.split / f"video_{self.number}"

    @property
    def hidden_truth(self) -> Path:
        """Folder for the masks and poses of a hidden video."""
        return self.root / HIDDEN_TRUTH / self.folder.name

    def has_hidden_truth(self) -> bool:
        """True unless the truth of a hidden video is missing."""
        return self.split != "hidden" or {MASK_FILE, ANNOTATION_FILE} <= file_names(self.hidden_truth)

    def has_files(self) -> bool:
        """True if all its files exist. Folders are written atomically, but somebody may have deleted a file."""
        expected = {f"image_{t}.png" for t in range(n_frames(self.split))}
        if self.split in LABELLED:
            expected |= {MASK_FILE, ANNOTATION_FILE}
        return expected <= file_names(self.folder)


def file_names(folder: Path) -> set[str]:
    """Names of the entries of `folder`; empty if there is no such folder."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def make_video(
    seed: int,
    number: int,
    *,
    settings: PhysicsSettings | None = None,
    label_offset: LabelOffset = COURSE_LABELS,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray, Trajectory]:
    """Video `number` of the set `seed`: frames (22, 3, 160, 240), masks (22, 160, 240), both uint8, and true poses."""
    trajectory = simulate_video(seed, number, settings=settings)
    noise_seed = int(np.random.SeedSequence([seed, number, 1]).generate_state(1)[0])
    clip = trajectory.select_frames(CLIP_VIDEO_FRAMES)
    frames, masks = render_video(clip, noise_seed=noise_seed, label_offset=label_offset, device=device)
    return frames, masks, trajectory


def make_split_video(job: VideoJob) -> tuple[np.ndarray, np.ndarray | None, Trajectory | None]:
    """The frames, masks and poses that videos of the split have. The truth of a hidden video is written apart."""
    settings = {"settings": job.physics, "label_offset": job.label_offset, "device": job.device}
    frames, masks, trajectory = make_video(job.seed, job.number, **settings)
    if job.split in LABELLED:
        return frames, masks, trajectory
    if job.split == "hidden":
        with atomic_write(job.hidden_truth) as temporary:
            temporary.mkdir()
            write_mask_file(temporary / MASK_FILE, masks)
            write_annotation(temporary / ANNOTATION_FILE, trajectory, number=job.number)
        frames = frames[:PAST_FRAMES]
    return frames, None, None


def write_split_video(job: VideoJob) -> None:
    """Make the video and write its folder."""
    frames, masks, trajectory = make_split_video(job)
    write_video(job.folder, frames, masks, annotation=trajectory)
