"""A program that trains a network without dropout and augmentation, once to the end and once with an interruption.

test_processes.py runs it in one process and, by `accelerate launch`, in two. Argument: the folder to write to.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from tests.helpers import NoisyStripes, toy_step, toy_validate
from vidseg_utils.training.loop import FitConfig, fit

EPOCHS, BATCHES = 3, 3  # 11 samples in batches of 4, 4 and 3, so the shares of two processes differ


class Interruption(Exception):
    """In place of a kill: all processes stop at the same step."""


def train(run: Path, *, steps: int | None = None) -> None:
    """Train into `run`. steps: interrupt before the next one"""
    torch.manual_seed(7)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    calls = []

    def step(model, batch):
        if len(calls) == steps:
            raise Interruption
        calls.append(batch)
        return toy_step(model, batch)

    config = FitConfig(
        epochs=EPOCHS, batch_size=4, learning_rate=0.02, monitor="accuracy", mode="max", accumulation_steps=2,
        clip_norm=1.0,
    )  # fmt: skip
    data = NoisyStripes(11, False), NoisyStripes(6, False)
    fit(model, *data, step=step, validate=toy_validate, config=config, run=run, description={})


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    train(folder / "uninterrupted")
    try:
        train(folder / "resumed", steps=BATCHES + 1)
    except Interruption:
        train(folder / "resumed")
