"""One video from start to disk.

A video depends on its world's seed and its own number alone, so it does not matter which process makes it or when.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidseg_utils.data.layout import ANNOTATION, LABELLED, MASKS, TRUTH, n_frames, write_video
from vidseg_utils.data.mask_file import write_mask_file
from vidseg_utils.paths import atomic_write
from vidseg_utils.renderer.batch import render_video
from vidseg_utils.simulator.physics import simulate_video
from vidseg_utils.simulator.settings import PhysicsSettings
from vidseg_utils.task import CLIP_VIDEO_FRAMES, PAST_FRAMES
from vidseg_utils.world.trajectory import Trajectory, write_annotation


@dataclass(frozen=True)
class Job:
    """One video to make."""

    root: Path
    split: str
    number: int
    seed: int
    physics: PhysicsSettings
    device: str = "cpu"  # that casts the rays

    @property
    def folder(self) -> Path:
        """Where its images go."""
        return self.root / self.split / f"video_{self.number}"

    @property
    def truth(self) -> Path:
        """Where the truth of a hidden video goes."""
        return self.root / TRUTH / self.folder.name

    def has_truth(self) -> bool:
        """Whether no truth has to be kept aside any more."""
        return self.split != "hidden" or {MASKS, ANNOTATION} <= names_in(self.truth)

    def has_files(self) -> bool:
        """Whether all of its files are there. A folder appears whole, but somebody may have deleted a file."""
        wanted = {f"image_{t}.png" for t in range(n_frames(self.split))}
        if self.split in LABELLED:
            wanted |= {MASKS, ANNOTATION}
        return wanted <= names_in(self.folder)


def names_in(folder: Path) -> set[str]:
    """Of the files in `folder`; none where there is no such folder."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def make_video(
    seed: int, number: int, *, settings: PhysicsSettings | None = None, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray, Trajectory]:
    """Video `number` of the world `seed`: frames (22, 3, 160, 240), masks (22, 160, 240), both uint8, and the truth."""
    trajectory = simulate_video(seed, number, settings=settings)
    noise_seed = int(np.random.SeedSequence([seed, number, 1]).generate_state(1)[0])
    frames, masks = render_video(trajectory.select_frames(CLIP_VIDEO_FRAMES), noise_seed=noise_seed, device=device)
    return frames, masks, trajectory


def make_split_video(job: Job) -> tuple[np.ndarray, np.ndarray | None, Trajectory | None]:
    """The frames, masks and truth that the job's split may show; what a hidden video hides is written aside."""
    frames, masks, trajectory = make_video(job.seed, job.number, settings=job.physics, device=job.device)
    if job.split in LABELLED:
        return frames, masks, trajectory
    if job.split == "hidden":
        with atomic_write(job.truth) as temporary:
            temporary.mkdir()
            write_mask_file(temporary / MASKS, masks)
            write_annotation(temporary / ANNOTATION, trajectory, number=job.number)
        frames = frames[:PAST_FRAMES]
    return frames, None, None


def write_split_video(job: Job) -> None:
    """Make the job's video and write its folder."""
    frames, masks, trajectory = make_split_video(job)
    write_video(job.folder, frames, masks, annotation=trajectory)
