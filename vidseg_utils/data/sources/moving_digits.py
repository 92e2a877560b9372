"""Moving digits: two handwritten digits that bounce in a square of 64 pixels, a small second task for translators.

After Moving MNIST (Srivastava et al., "Unsupervised Learning of Video Representations using LSTMs", ICML 2015), with
the digits of 8 x 8 pixels that come with scikit-learn in place of MNIST's. Scores are therefore not those of papers.
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from vidseg_utils.checks import check_choice, check_positive

SIZE, DIGIT_SIZE = 64, 28  # pixels, as in the original
N_FRAMES, N_PAST = 20, 10
N_DIGITS = 2
SPEED = 3.6  # pixels a frame; the direction is random
N_TEST_DIGITS = 360  # of 1797: the last ones are seen only in the test videos
SEEDS = {"train": 0, "test": 1}


class MovingDigits(Dataset):
    """Videos made when they are asked for; the same index always gives the same video.

    split: "train" or "test", whose videos show other handwritten digits
    """

    def __init__(self, split: str, n_videos: int):
        check_choice("split", split, SEEDS)
        check_positive(n_videos=n_videos)
        self.split, self.n_videos = split, n_videos

    def __len__(self) -> int:
        return self.n_videos

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """{"frames": (20, 1, 64, 64) uint8}; the first ten are the past."""
        if not 0 <= index < self.n_videos:
            raise IndexError(f"video {index} of {self.n_videos}")
        rng = np.random.default_rng([SEEDS[self.split], index])
        digits = _digits()[:-N_TEST_DIGITS] if self.split == "train" else _digits()[-N_TEST_DIGITS:]
        frames = np.zeros((N_FRAMES, SIZE, SIZE), dtype=np.uint8)
        for digit in digits[rng.choice(len(digits), N_DIGITS, replace=False)]:
            for frame, (row, column) in zip(frames, bouncing_path(rng), strict=True):
                window = frame[row : row + DIGIT_SIZE, column : column + DIGIT_SIZE]
                np.maximum(window, digit, out=window)
        return {"frames": torch.from_numpy(frames[:, None])}


@cache
def _digits() -> UInt8[np.ndarray, "N 28 28"]:
    pixels, _ = load_digits(return_X_y=True)  # (1797, 64), 0 to 16
    images = torch.from_numpy(np.asarray(pixels).reshape(-1, 1, 8, 8)).float() / 16
    larger = F.interpolate(images, size=(DIGIT_SIZE, DIGIT_SIZE), mode="bilinear", antialias=False)
    return (larger[:, 0] * 255).round().byte().numpy()


def bouncing_path(rng: np.random.Generator) -> UInt8[np.ndarray, "T 2"]:
    """Row and column of a digit's upper left corner in each frame: straight on, and back at the edges."""
    room = SIZE - DIGIT_SIZE
    angle = rng.uniform(0, 2 * np.pi)
    velocity = SPEED * np.array([np.sin(angle), np.cos(angle)])
    straight = rng.uniform(0, room, size=2) + velocity * np.arange(N_FRAMES)[:, None]
    folded = np.abs((straight + room) % (2 * room) - room)  # a triangle wave
    return folded.round().astype(np.uint8)


def split_frames(batch: dict[str, Tensor]) -> tuple[Float[Tensor, "B 10 1 64 64"], Float[Tensor, "B 10 1 64 64"]]:
    """Past and future frames of a batch, in [0, 1]."""
    frames = batch["frames"].float() / 255
    return frames[:, :N_PAST], frames[:, N_PAST:]
