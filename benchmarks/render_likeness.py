"""How close are our pictures to CLEVRER's? Renders annotated real videos again and compares the frames.

    python benchmarks/render_likeness.py VIDEO ANNOTATION [VIDEO ANNOTATION …] [--background background.png]

Prints the PSNR of video frames 0, 6, …, 126 at 240x160. For comparison it prints that of the empty ground (the picture
given, or our own). `--figure FILE` also writes real frame, rendered frame and four times their difference side by side.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from vidseg_utils.data.sources.clevrer_video import decode_video
from vidseg_utils.renderer import render_video
from vidseg_utils.renderer.ground import build_ground
from vidseg_utils.task import CLIP_VIDEO_FRAMES, HEIGHT, WIDTH
from vidseg_utils.world import read_annotation

SHOWN_FRAMES = (0, 5, 10, 15, 21)  # frames of the clip in the figure


def psnr(frames: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(T,) PSNR of each frame in decibel; both (T, 3, H, W) or broadcastable, 0..255."""
    return 10 * np.log10(255**2 / ((frames.astype(float) - real) ** 2).mean(axis=(1, 2, 3)))


def read_background(path: Path | None) -> np.ndarray:
    """(3, 160, 240) the empty scene: a picture of twice that size averaged down, or our own ground."""
    if path is None:
        return build_ground(HEIGHT, WIDTH).picture.numpy().reshape(3, HEIGHT, WIDTH)
    picture = np.asarray(Image.open(path).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BOX))
    return picture.transpose(2, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="pairs of a video and its annotation")
    parser.add_argument("--background", type=Path, help="picture of the empty scene")
    parser.add_argument("--figure", type=Path, help="write a comparison here")
    arguments = parser.parse_args()
    if len(arguments.files) % 2:
        parser.error("give each VIDEO with its ANNOTATION")
    background, rendered, empty, rows = read_background(arguments.background), [], [], []
    print(f"{'':24}{'rendered, mean':>16}{'worst frame':>14}{'empty scene':>14}   dB PSNR")
    for video, annotation in zip(arguments.files[::2], arguments.files[1::2], strict=True):
        real = decode_video(video)
        frames, _ = render_video(read_annotation(annotation).select_frames(CLIP_VIDEO_FRAMES))
        rendered.append(psnr(frames, real))
        empty.append(psnr(background[None], real))
        print(f"{video.name:24}{rendered[-1].mean():16.2f}{rendered[-1].min():14.2f}{empty[-1].mean():14.2f}")
        difference = np.clip(128 + 4 * (real.astype(int) - frames), 0, 255).astype(np.uint8)
        rows += [np.concatenate([real[t], frames[t], difference[t]], axis=2) for t in SHOWN_FRAMES]
    rendered, empty = np.concatenate(rendered), np.concatenate(empty)
    print(f"{'all':24}{rendered.mean():16.2f}{rendered.min():14.2f}{empty.mean():14.2f}")
    if arguments.figure:
        Image.fromarray(np.concatenate(rows, axis=1).transpose(1, 2, 0)).save(arguments.figure)


if __name__ == "__main__":
    main()
