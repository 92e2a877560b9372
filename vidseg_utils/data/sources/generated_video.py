"""Generate videos and write them.

A video depends only on the seed of its set and its own number, so it does not matter which process makes it or when.
"""

from collections.abc import Iterator, Sequence
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
from vidseg_utils.renderer import add_noise, render_masks, render_videos
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


def make_videos(
    seed: int,
    numbers: Sequence[int],
    *,
    settings: PhysicsSettings | None = None,
    label_offset: LabelOffset = COURSE_LABELS,
    device: str = "cpu",
) -> list[GeneratedVideo]:
    """Videos of the set `seed`. Their rays are cast together; each is the same as if it were made alone."""
    trajectories = [simulate_video(seed, number, settings=settings) for number in numbers]
    noise_seeds = [int(np.random.SeedSequence([seed, number, 1]).generate_state(1)[0]) for number in numbers]
    clips = [trajectory.select_frames(CLIP_VIDEO_FRAMES) for trajectory in trajectories]
    rendered = render_videos(clips, label_offset=label_offset, device=device)
    return [
        (add_noise(frames, noise_seed), masks, trajectory)
        for (frames, masks), noise_seed, trajectory in zip(rendered, noise_seeds, trajectories, strict=True)
    ]


def make_video(
    seed: int,
    number: int,
    *,
    settings: PhysicsSettings | None = None,
    label_offset: LabelOffset = COURSE_LABELS,
    device: str = "cpu",
) -> GeneratedVideo:
    """Video `number` of the set `seed`: see GeneratedVideo."""
    return make_videos(seed, [number], settings=settings, label_offset=label_offset, device=device)[0]


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


def make_split_videos(
    jobs: Sequence[VideoJob],
) -> Iterator[tuple[np.ndarray, np.ndarray | None, Trajectory | None]]:
    """The frames, masks and poses that videos of the split have. The truth of a hidden video is written apart.

    jobs: of one set and one device
    """
    first = jobs[0]
    settings = {"settings": first.physics, "label_offset": first.label_offset, "device": first.device}
    videos = make_videos(first.seed, [job.number for job in jobs], **settings)
    for job, (frames, masks, trajectory) in zip(jobs, videos, strict=True):
        if job.split in LABELLED:
            yield frames, masks, trajectory
            continue
        if job.split == "hidden":
            with atomic_write(job.hidden_truth) as temporary:
                temporary.mkdir()
                write_mask_file(temporary / MASK_FILE, masks)
                write_annotation(temporary / ANNOTATION_FILE, trajectory, number=job.number)
            frames = frames[:PAST_FRAMES]
        yield frames, None, None


def write_videos(jobs: Sequence[VideoJob]) -> None:
    """Make videos of one set, and write the folder of each, unless another machine has done so meanwhile."""
    if missing := [job for job in jobs if not job.is_complete()]:
        for job, (frames, masks, trajectory) in zip(missing, make_split_videos(missing), strict=True):
            write_video(job.folder, frames, masks, annotation=trajectory)


def fill_rows(jobs_and_rows: Sequence[tuple[VideoJob, CacheRow]]) -> None:
    """Make videos of one set, and write each into its row of the cache."""
    videos = make_split_videos([job for job, _ in jobs_and_rows])
    for (job, row), (frames, masks, trajectory) in zip(jobs_and_rows, videos, strict=True):
        row.write(job.number, frames, masks, annotation=trajectory)
