"""Generate videos and write them.

A video depends only on the seed of its set and its own number, so it does not matter which process makes it or when.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vidseg_utils.data.cache.writer import CacheRow
from vidseg_utils.data.layout import (
    ANNOTATION_FILE,
    GENERATED_FILE,
    HIDDEN_TRUTH,
    LABELLED,
    MASK_FILE,
    n_frames,
    write_video,
)
from vidseg_utils.data.mask_file import write_mask_file
from vidseg_utils.data.resize import nearest_scale
from vidseg_utils.paths import atomic_write, read_json
from vidseg_utils.progress import ProgressBar
from vidseg_utils.renderer import render_masks, render_video
from vidseg_utils.simulator import PhysicsSettings, settings_of_record, simulate_video
from vidseg_utils.task import CLIP_VIDEO_FRAMES, PAST_FRAMES
from vidseg_utils.world import COURSE_LABELS, EXACT_LABELS, LabelOffset, Trajectory, write_annotation

MORE_VIDEOS_START = 1_000_000  # first number of videos that are in no split
# frames (22, 3, 160, 240) and masks (22, 160, 240), both uint8, and the true poses
GeneratedVideo = tuple[np.ndarray, np.ndarray, Trajectory]


@dataclass(frozen=True)
class VideoJob:
    """One video to make."""

    root: Path
    split: str
    number: int
    seed: int
    physics: PhysicsSettings
    label_offset: LabelOffset = COURSE_LABELS

    @property
    def folder(self) -> Path:
        """Folder of its images."""
        return self.root / self.split / f"video_{self.number}"

    @property
    def hidden_truth(self) -> Path:
        """Folder for the masks and poses of a hidden video."""
        return self.root / HIDDEN_TRUTH / self.folder.name

    def is_complete(self) -> bool:
        """True if all its files exist. Folders are written atomically, but somebody may have deleted a file."""
        expected = {f"image_{t}.png" for t in range(n_frames(self.split))}
        if self.split in LABELLED:
            expected |= {MASK_FILE, ANNOTATION_FILE}
        has_truth = self.split != "hidden" or {MASK_FILE, ANNOTATION_FILE} <= file_names(self.hidden_truth)
        return has_truth and expected <= file_names(self.folder)


def file_names(folder: Path) -> set[str]:
    """Names of the entries of `folder`; empty if there is no such folder."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def make_video(
    seed: int,
    number: int,
    *,
    settings: PhysicsSettings | None = None,
    label_offset: LabelOffset = COURSE_LABELS,
) -> GeneratedVideo:
    """Video `number` of the set `seed`: see GeneratedVideo."""
    trajectory = simulate_video(seed, number, settings=settings)
    noise_seed = int(np.random.SeedSequence([seed, number, 1]).generate_state(1)[0])
    clip = trajectory.select_frames(CLIP_VIDEO_FRAMES)
    frames, masks = render_video(clip, noise_seed=noise_seed, label_offset=label_offset)
    return frames, masks, trajectory


def more_masks(
    root: Path, n_videos: int, *, height: int, width: int, progress: bool = True
) -> Iterator[UInt8[np.ndarray, "22 height width"]]:
    """The masks of so many more videos of a generated set: of its world and with its labels, but in none of its splits.

    Only masks are drawn, by this process, so that a training needs no `if __name__ == "__main__":`
    Raises FileNotFoundError for a set that was not generated.
    """
    made = read_json(root / GENERATED_FILE)
    settings = settings_of_record(made["physics"])
    offset = LabelOffset(**made.get("label_offset", asdict(EXACT_LABELS)))
    numbers = range(MORE_VIDEOS_START, MORE_VIDEOS_START + n_videos)
    for number in ProgressBar(numbers, desc="drawing masks", unit="video", disable=not progress):
        clip = simulate_video(made["seed"], number, settings=settings).select_frames(CLIP_VIDEO_FRAMES)
        yield nearest_scale(render_masks(clip, offset=offset), height=height, width=width)


def make_split_video(job: VideoJob) -> tuple[np.ndarray, np.ndarray | None, Trajectory | None]:
    """The frames, masks and poses that a video of the split has. The truth of a hidden video is written apart."""
    frames, masks, trajectory = make_video(job.seed, job.number, settings=job.physics, label_offset=job.label_offset)
    if job.split in LABELLED:
        return frames, masks, trajectory
    if job.split == "hidden":
        with atomic_write(job.hidden_truth) as temporary:
            temporary.mkdir()
            write_mask_file(temporary / MASK_FILE, masks)
            write_annotation(temporary / ANNOTATION_FILE, trajectory, number=job.number)
        frames = frames[:PAST_FRAMES]
    return frames, None, None


def write_folder(job: VideoJob) -> None:
    """Make a video and write its folder, unless another machine has done so meanwhile."""
    if not job.is_complete():
        frames, masks, trajectory = make_split_video(job)
        write_video(job.folder, frames, masks, annotation=trajectory)


def fill_row(job_and_row: tuple[VideoJob, CacheRow]) -> None:
    """Make a video and write it into its row of the cache."""
    job, row = job_and_row
    frames, masks, trajectory = make_split_video(job)
    row.write(job.number, frames, masks, annotation=trajectory)
