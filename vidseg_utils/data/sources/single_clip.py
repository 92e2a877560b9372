"""The frames of one video, to forecast it: from a video file, or from a folder video_N in the course layout."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.error import FFmpegError

from vidseg_utils.data.layout import MASK_FILE, Video, read_frames, read_masks
from vidseg_utils.data.sources.clevrer_video import decode_video
from vidseg_utils.task import CLIP_FRAMES, FRAME_STEP, PAST_FRAMES


@dataclass(frozen=True)
class Clip:
    """Eleven given frames, and as many of those after them as the video has and the forecast needs."""

    name: str
    frames: np.ndarray  # (T, 3, 160, 240) uint8, T at least 11
    masks: np.ndarray | None  # (T, 160, 240) uint8 true masks, where the video has some


def load_clip(path: Path, *, start: int, horizon: int) -> Clip:
    """The clip of a video file with 25 frames a second, or of a folder of the course.

    start: the first given frame: a video frame of a file, an image of a folder; horizon: frames ahead
    Raises FileNotFoundError or ValueError, in one line, for a video that cannot be used.
    """
    if start < 0:
        raise ValueError(f"the first frame is {start}; it must be 0 or more")
    if path.is_dir():
        return _load_folder(path, start=start, horizon=horizon)
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; give a video file or a folder video_N of the course")
    numbers = range(start, start + FRAME_STEP * (PAST_FRAMES + horizon), FRAME_STEP)
    try:
        return Clip(path.stem, decode_video(path, numbers, needed=PAST_FRAMES), masks=None)
    except FFmpegError as error:
        raise ValueError(f"{path.name} cannot be read as a video: {error.strerror}") from None


def _load_folder(path: Path, *, start: int, horizon: int) -> Clip:
    if not (path / "image_0.png").exists() and (videos := sorted(path.glob("video_*"))):
        raise ValueError(f"{path} is no video but holds some; give one of them, such as {videos[0]}")
    number = re.search(r"[0-9]*$", path.resolve().name)
    only_past = not (path / f"image_{CLIP_FRAMES - 1}.png").exists()
    video = Video(int(number[0] or 0) if number else 0, path, split="hidden" if only_past else "train")
    frames = read_frames(video)
    if len(frames) < start + PAST_FRAMES:
        raise ValueError(
            f"{path} has {len(frames)} frames, of which eleven are given: the first can be 0 to "
            f"{len(frames) - PAST_FRAMES}, not {start}"
        )
    masks = read_masks(video) if (path / MASK_FILE).exists() and not only_past else None
    used = slice(start, start + PAST_FRAMES + horizon)
    return Clip(path.resolve().name, frames[used], None if masks is None else masks[used])
