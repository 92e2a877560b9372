"""How close are our pictures to CLEVRER's? Renders annotated real videos again and compares the frames.

    python benchmarks/render_likeness.py VIDEO ANNOTATION [VIDEO ANNOTATION …] [--background background.png]

Prints the mean PSNR of video frames 0, 6, …, 126 at 240x160, and the PSNR of all pixels that show an object, also by
shape and material. For comparison it prints the PSNR of the empty ground (the picture given, or our own).
`--figure FILE` also writes real frame, rendered frame and four times their difference side by side.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from vidseg_utils.classes import MATERIALS, SHAPES, class_attributes
from vidseg_utils.data.sources.clevrer_video import decode_video
from vidseg_utils.renderer import render_video
from vidseg_utils.renderer.ground import build_ground
from vidseg_utils.task import CLIP_VIDEO_FRAMES, HEIGHT, WIDTH
from vidseg_utils.world import read_annotation

SHOWN_FRAMES = (0, 5, 10, 15, 21)  # frames of the clip in the figure


def psnr(squared_error: np.ndarray) -> np.ndarray:
    """PSNR in decibel of mean squared errors of levels 0..255."""
    return 10 * np.log10(255**2 / squared_error)


def squared_errors(frames: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(T, H, W) squared error of each pixel, the mean over its channels. Both (T, 3, H, W) or broadcastable, 0..255."""
    return ((frames.astype(float) - real) ** 2).mean(axis=1)


def read_background(path: Path | None) -> np.ndarray:
    """(3, 160, 240) the empty scene: a picture of twice that size averaged down, or our own ground."""
    if path is None:
        return build_ground(HEIGHT, WIDTH).picture
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
    background, rows = read_background(arguments.background), []
    errors, empty_errors, masks = [], [], []  # of each video, (T, H, W)
    columns = ("rendered, mean", "worst frame", "object pixels", "empty scene")
    print(f"{'':24}" + "".join(f"{column:>16}" for column in columns) + "   dB PSNR")
    for video, annotation in zip(arguments.files[::2], arguments.files[1::2], strict=True):
        real = decode_video(video)
        frames, mask = render_video(read_annotation(annotation).select_frames(CLIP_VIDEO_FRAMES))
        errors.append(squared_errors(frames, real))
        empty_errors.append(squared_errors(background[None], real))
        masks.append(mask)
        print_row(video.name, errors[-1], empty_errors[-1], mask)
        difference = np.clip(128 + 4 * (real.astype(int) - frames), 0, 255).astype(np.uint8)
        rows += [np.concatenate([real[t], frames[t], difference[t]], axis=2) for t in SHOWN_FRAMES]
    errors, empty_errors, masks = (np.concatenate(arrays) for arrays in (errors, empty_errors, masks))
    print_row("all", errors, empty_errors, masks)
    print_by_kind(errors, masks)
    if arguments.figure:
        Image.fromarray(np.concatenate(rows, axis=1).transpose(1, 2, 0)).save(arguments.figure)


def print_row(name: str, errors: np.ndarray, empty_errors: np.ndarray, masks: np.ndarray) -> None:
    """Print the PSNR of frames and of their object pixels; all arrays are (T, H, W)."""
    rendered, empty = (psnr(array.mean(axis=(1, 2))) for array in (errors, empty_errors))
    values = rendered.mean(), rendered.min(), psnr(errors[masks > 0].mean()), empty.mean()
    print(f"{name:24}" + "".join(f"{value:16.2f}" for value in values))


def print_by_kind(errors: np.ndarray, masks: np.ndarray) -> None:
    """Print the PSNR of the pixels of each shape and material; both arrays are (T, H, W)."""
    print("\nobject pixels by kind, dB PSNR and pixels")
    kinds = [class_attributes(id_)[:2] if id_ else None for id_ in range(masks.max() + 1)]
    for material in MATERIALS:
        for shape in SHAPES:
            of_kind = np.array([kind == (shape, material) for kind in kinds])[masks]
            if of_kind.any():
                print(f"{material + ' ' + shape:24}{psnr(errors[of_kind].mean()):16.2f}{of_kind.sum():16d}")


if __name__ == "__main__":
    main()
