"""Load one CLEVRER video: its frames, scaled as the course's are, and masks ray cast from the annotated poses."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from einops import rearrange
from PIL import Image

from vidseg_utils.renderer.masks import render_masks
from vidseg_utils.task import CLIP_VIDEO_FRAMES, HEIGHT, VIDEO_RATE, WIDTH
from vidseg_utils.world import COURSE_LABELS, LabelOffset, read_annotation

SCALING = "bicubic"  # antialiased: it gives imported frames the sharpness of the course's
MAX_VIDEO_PIXELS = 1280 * 1920  # CLEVRER's videos have 320 * 480


@dataclass(frozen=True)
class ClevrerVideo:
    """The files of one CLEVRER video. It keeps its number when imported."""

    number: int
    video_path: Path  # video_NUMBER.mp4
    annotation_path: Path | None  # annotation_NUMBER.json


def load_clevrer_video(
    video: ClevrerVideo, *, labelled: bool, offset: LabelOffset = COURSE_LABELS
) -> tuple[np.ndarray, np.ndarray | None] | str:
    """Frames (22, 3, 160, 240) uint8 and, if `labelled`, masks (22, 160, 240) uint8; for a bad file the reason."""
    try:
        masks = None
        if labelled:
            assert video.annotation_path is not None
            trajectory = read_annotation(video.annotation_path)
            if len(trajectory.positions) <= CLIP_VIDEO_FRAMES[-1]:
                n_needed = CLIP_VIDEO_FRAMES[-1] + 1
                return f"{video.annotation_path.name} has {len(trajectory.positions)} frames; needs {n_needed}"
            clip = trajectory.select_frames(CLIP_VIDEO_FRAMES)
            masks = np.asarray(render_masks(clip, height=HEIGHT, width=WIDTH, offset=offset))
        return decode_video(video.video_path), masks
    except (ValueError, OSError, FFmpegError) as error:
        return " ".join(str(error).split())


def decode_video(path: Path, numbers: Sequence[int] = CLIP_VIDEO_FRAMES, *, needed: int | None = None) -> np.ndarray:
    """(T, 3, 160, 240) uint8: the video frames of those numbers, in rising order; by default the 22 of a clip.

    needed: how many of them the video must have, by default all; T is smaller where the video ends earlier
    Raises ValueError or FFmpegError for a damaged video, and ValueError for another size, frame rate or length.
    """
    frames, needed = [], len(numbers) if needed is None else needed
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError(f"{path.name} has no pictures")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise ValueError(f"{path.name} has pictures in an unknown format")
        _check_video_size(stream.height, stream.width, path)
        if stream.average_rate and abs(stream.average_rate - VIDEO_RATE) > 0.5:
            raise ValueError(f"{path.name} has {float(stream.average_rate):.3g} frames a second; expected {VIDEO_RATE}")
        stream.codec_context.options = {"max_pixels": str(MAX_VIDEO_PIXELS)}  # the size may change within the video
        for number, frame in enumerate(container.decode(stream)):
            if number in numbers:
                _check_video_size(frame.height, frame.width, path)
                picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
                frames.append(np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)))
            if len(frames) == len(numbers):
                break
    if len(frames) < needed:
        wanted = f"{len(frames)} of {needed} are there, every sixth up to {numbers[needed - 1]}"
        raise ValueError(f"{path.name} has too few frames: {wanted}")
    return rearrange(frames, "t h w c -> t c h w")


def _check_video_size(height: int, width: int, path: Path) -> None:
    if width * HEIGHT != height * WIDTH or width < WIDTH or height * width > MAX_VIDEO_PIXELS:
        raise ValueError(f"{path.name} is {height}x{width} (height x width); expected 320x480 or 160x240")
